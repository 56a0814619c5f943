// The btfc mounts of this host, as the kernel lists them.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace btfc::mount_helper {

struct MountedFolder {
  std::string source;  // the cluster's name
  std::filesystem::path mount_point;
};

// Reads /proc/self/mounts. Any thread.
std::vector<MountedFolder> ListMounts();

// The btfc mount that holds `path` (absolute), if any; the innermost.
std::optional<MountedFolder> MountOf(const std::filesystem::path& path);

// Without symlinks, as /proc/mounts has it; as it is if it cannot be resolved (a dead mount).
std::filesystem::path WithoutSymlinks(const std::filesystem::path& mount_point);
bool IsMounted(const std::filesystem::path& mount_point);

}  // namespace btfc::mount_helper
