#include "mount-helper/bridge.h"

#include <spdlog/spdlog.h>
#include <sys/statvfs.h>

#include <algorithm>
#include <utility>

#include "index/fault_point.h"

namespace btfc::mount_helper {
namespace {

constexpr std::size_t kBasesMax = 4;
constexpr std::uint64_t kLeftFreeMax = std::uint64_t{1} << 30U;  // bytes

}  // namespace

void Bridge::Connect(torrent::Swarm* swarm, fs::Files* files) {
  files_ = files;
  swarm_ = swarm;
}

void Bridge::Disconnect() {
  swarm_ = nullptr;
  files_ = nullptr;
}

std::uint64_t Bridge::Request(const index::ContentId& id, std::uint64_t offset,
                              std::uint64_t length, Done done) {
  torrent::Swarm* swarm = swarm_;
  return swarm == nullptr ? 0 : swarm->Read(id, offset, length, std::move(done));
}

void Bridge::Cancel(std::uint64_t request) {
  if (torrent::Swarm* swarm = swarm_; swarm != nullptr && request != 0) swarm->CancelRead(request);
}

void Bridge::Hashed(const index::ContentId& id, const std::vector<index::Hash>& pieces) {
  if (torrent::Swarm* swarm = swarm_; swarm != nullptr) swarm->Hashed(id, pieces);
}

std::optional<std::vector<index::Hash>> Bridge::PiecesOf(const index::ContentId& id) {
  torrent::Swarm* swarm = swarm_;
  return swarm == nullptr ? std::nullopt : swarm->PiecesOf(id);
}

void Bridge::Available(const index::ContentId& id) {
  if (torrent::Swarm* swarm = swarm_; swarm != nullptr) swarm->Available(id);
}

void Bridge::Withdraw(const index::ContentId& id, std::function<void()> done) {
  if (torrent::Swarm* swarm = swarm_; swarm != nullptr) {
    swarm->Withdraw(id, std::move(done));
  } else {
    done();
  }
}

std::optional<std::filesystem::path> Bridge::Find(const index::ContentId& id) {
  if (!store_.Has(id)) return std::nullopt;
  return store_.ObjectPath(id);
}

std::filesystem::path Bridge::PartialPath(const index::ContentId& id) {
  return store_.PartialPath(id);
}

std::vector<index::ContentId> Bridge::Bases(const index::ContentId& id) {
  const fs::Files* const files = files_;
  auto others = catalogue_.OtherVersions(id, kBasesMax);
  if (files == nullptr || !others) return {};
  std::erase_if(others.value(), [this, files](const auto& other) {
    return !store_.Has(other) || files->Doubtful(other);
  });
  return std::move(others).value();
}

std::vector<index::ContentId> Bridge::UnneededPartials() {
  std::vector<index::ContentId> unneeded;
  std::error_code ignored;
  const auto folder = store_.PartialPath({}).parent_path();
  for (const auto& entry : std::filesystem::directory_iterator(folder, ignored)) {
    const auto id = index::ParseContentName(entry.path().filename().native());
    if (!id) continue;
    // What only earlier versions have is fetched when somebody reads it, but not kept in part.
    if (!Needed(*id)) unneeded.push_back(*id);
  }
  return unneeded;
}

bool Bridge::Needed(const index::ContentId& id) {
  const auto missing = catalogue_.Missing(index::ContentId{id.root, id.size - 1}, 1);
  return !missing || (!missing.value().empty() && missing.value().front() == id);
}

// The mirror leaves the last of the disk to what is written here: 5 %, but no more than 1 GiB.
bool Bridge::HasRoom(std::uint64_t bytes) {
  struct statvfs disk {};
  if (::statvfs(store_.objects_folder().c_str(), &disk) != 0) return true;
  const std::uint64_t block = disk.f_frsize;
  const std::uint64_t left = std::min<std::uint64_t>(disk.f_blocks * block / 20, kLeftFreeMax);
  return disk.f_bavail * block >= bytes + left;
}

Result<void> Bridge::Arrived(const index::ContentId& id) {
  BOOST_OUTCOME_TRYV(store_.Adopt(id));
  fault::Pass("adopt.named");
  BOOST_OUTCOME_TRYV(catalogue_.SetPresent(id, true));
  fault::Pass("adopt.present");
  if (fs::Files* files = files_; files != nullptr) files->Arrived(id);
  return Ok();
}

Result<void> Bridge::Found(const index::ContentId& id) {
  {
    const std::lock_guard lock(store_.NameLock(id));
    if (!store_.Has(id)) return Errno(ENOENT);
    BOOST_OUTCOME_TRYA(known, catalogue_.IsPresent(id));
    if (!known) {
      BOOST_OUTCOME_TRYV(catalogue_.SetPresent(id, true));
    }
  }
  if (fs::Files* files = files_; files != nullptr) files->Arrived(id);
  return Ok();
}

std::optional<torrent::ObjectPort::Lack> Bridge::Missing() {
  const auto missing = catalogue_.CountMissing();
  if (!missing) return std::nullopt;
  return Lack{missing.value().objects, missing.value().bytes};
}

}  // namespace btfc::mount_helper
