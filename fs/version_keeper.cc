#include "fs/version_keeper.h"

#include <spdlog/spdlog.h>
#include <sys/statvfs.h>

#include <algorithm>

namespace btfc::fs {
namespace {

constexpr std::uint64_t kFreeShare = 20;  // a twentieth of the disk stays free of earlier versions
// To let go of something is a write of the index, which gives its reserve up for a removal: that
// room is no room for others.
constexpr std::uint64_t kIndexRoom = std::uint64_t{16} << 20U;
constexpr std::uint64_t kFastestDisk = std::uint64_t{4} << 20U;  // bytes in a millisecond

}  // namespace

index::VersionLimits LimitsOf(const VersionPolicy& policy, std::uint64_t kept,
                              std::uint64_t disk_size, std::uint64_t disk_free) {
  index::VersionLimits limits;
  limits.age_ns = policy.age_ns;
  limits.bytes = policy.bytes != 0 ? policy.bytes : disk_size / 100 * policy.percent;
  const std::uint64_t to_stay_free = disk_size / kFreeShare;
  if (disk_free < to_stay_free) {
    const std::uint64_t too_much = to_stay_free - disk_free;
    limits.bytes = std::min(limits.bytes, kept - std::min(kept, too_much));
  }
  return limits;
}

std::uint64_t RoomLeft(const std::filesystem::path& folder) {
  struct statvfs disk {};
  if (::statvfs(folder.c_str(), &disk) != 0) return kIndexRoom;  // nobody knows
  const std::uint64_t free = disk.f_bavail * disk.f_frsize;
  const std::uint64_t to_stay = disk.f_blocks * disk.f_frsize / kFreeShare + kIndexRoom;
  return free - std::min(free, to_stay);
}

std::chrono::milliseconds FilledNoSoonerThan(std::uint64_t room) {
  return std::chrono::milliseconds(room / kFastestDisk);
}

void PruneVersions(index::Catalogue& catalogue, const VersionPolicy& policy,
                   const std::filesystem::path& folder, const std::function<bool()>& stopped) {
  struct statvfs disk {};
  if (::statvfs(folder.c_str(), &disk) != 0) return;
  const auto kept = catalogue.KeptBytes();
  if (!kept) return;
  const auto pruned = catalogue.PruneVersions(
      LimitsOf(policy, kept.value(), disk.f_blocks * disk.f_frsize, disk.f_bavail * disk.f_frsize),
      stopped);
  if (!pruned) spdlog::warn("earlier versions stay: {}", pruned.error().message());
}

void CollectRows(index::Catalogue& catalogue, const VersionPolicy& policy,
                 const std::unordered_set<index::Ino>& open, const std::function<bool()>& stopped) {
  index::VersionLimits limits;
  limits.age_ns = policy.age_ns;
  limits.absence_ns = policy.absence_ns;
  const auto gone = catalogue.Collect(limits, open, stopped);
  if (!gone) spdlog::warn("rows of what was deleted stay: {}", gone.error().message());
}

}  // namespace btfc::fs
