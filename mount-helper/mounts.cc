#include "mount-helper/mounts.h"

#include <mntent.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <memory>

namespace btfc::mount_helper {

std::vector<MountedFolder> ListMounts() {
  std::vector<MountedFolder> mounts;
  const std::unique_ptr<FILE, int (*)(FILE*)> table(setmntent("/proc/self/mounts", "r"), endmntent);
  if (!table) return mounts;
  mntent entry{};
  std::array<char, 16 * 1024> buffer{};
  while (getmntent_r(table.get(), &entry, buffer.data(), buffer.size()) != nullptr) {
    if (std::string_view(entry.mnt_type) == "fuse.btfc") {
      mounts.push_back({entry.mnt_fsname, entry.mnt_dir});
    }
  }
  return mounts;
}

std::optional<MountedFolder> MountOf(const std::filesystem::path& path) {
  std::optional<MountedFolder> best;
  for (auto& mount : ListMounts()) {
    const auto [end, rest] =
        std::mismatch(mount.mount_point.begin(), mount.mount_point.end(), path.begin(), path.end());
    if (end != mount.mount_point.end()) continue;
    if (!best || best->mount_point.native().size() <= mount.mount_point.native().size()) {
      best = std::move(mount);
    }
  }
  return best;
}

std::filesystem::path WithoutSymlinks(const std::filesystem::path& mount_point) {
  std::error_code error;
  auto whole = std::filesystem::canonical(mount_point, error);
  if (!error) return whole;
  const auto parent = std::filesystem::canonical(mount_point.parent_path(), error);
  return error ? mount_point : parent / mount_point.filename();
}

bool IsMounted(const std::filesystem::path& mount_point) {
  const auto mounts = ListMounts();
  return std::any_of(mounts.begin(), mounts.end(),
                     [&](const auto& mount) { return mount.mount_point == mount_point; });
}

}  // namespace btfc::mount_helper
