// Mounting and unmounting: mount(2) where we may, fusermount3 where we may not.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "index/result.h"

namespace btfc::fs {

struct MountRequest {
  std::filesystem::path path;
  std::string source;                // as it stands in /proc/mounts
  std::vector<std::string> options;  // ro, nosuid, noatime ...; for the kernel
  bool read_only = false;
  bool allow_other = false;
};

// What mount(2) gets: option names become flags, the rest is handed on as text.
struct KernelMountOptions {
  unsigned long flags = 0;  // MS_*
  std::string data;         // comma separated, starts with default_permissions
  std::string for_helper;   // the same for fusermount3 -o, without what it does not know
};
KernelMountOptions ParseKernelOptions(const MountRequest& request);

// Closes what the descriptor leads to, but not its number: it leads to /dev/null from now on.
void LeadNowhere(int descriptor);

// Takes away the mount that a killed daemon left on this path: one of ours that answers ENOTCONN.
// Fails with ENOTCONN if it is not ours.
Result<void> DetachDead(const std::filesystem::path& path);

// A mounted filesystem and its /dev/fuse descriptor. All calls from any thread.
class MountPoint {
 public:
  // Mounts. `why` says a failure in one sentence. A dead mount of ours that a killed daemon left
  // on this path is detached first.
  static Result<std::unique_ptr<MountPoint>> Attach(const MountRequest& request, std::string* why);
  ~MountPoint();
  MountPoint(const MountPoint&) = delete;
  MountPoint& operator=(const MountPoint&) = delete;

  int device() const { return device_; }
  const std::filesystem::path& path() const { return path_; }
  bool attached() const;

  enum class Detached : std::uint8_t { kWhole, kLazily, kNot };
  // Unmounts; if somebody uses it, only takes it out of the tree (kLazily). Waits for the
  // workers, which must be answering. From any thread but a worker's.
  Detached Detach();
  // Ends the connection, whoever still uses the filesystem: they get ENOTCONN. The descriptor
  // stays a valid one that leads nowhere, for threads that are about to answer.
  void Disconnect();

 private:
  MountPoint(std::filesystem::path path, int device, bool by_helper);

  const std::filesystem::path path_;
  const int device_;
  const bool by_helper_;
  const std::uint64_t mount_id_;
};

}  // namespace btfc::fs
