// The mounted filesystem: the FUSE session, its nodes, and every operation of a name or attribute.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "fs/files.h"
#include "index/catalogue.h"

namespace btfc::fs {

enum class OwnerPolicy : std::uint8_t { kMap, kNumeric };

struct MountOptions {
  std::filesystem::path mount_point;
  std::string source;                       // the cluster's name, verbatim: fsname=
  std::vector<std::string> kernel_options;  // for mount(2) or fusermount3: ro, nosuid, noatime ...
  bool read_only = false;
  bool allow_other = false;
  OwnerPolicy owner = OwnerPolicy::kMap;
  std::filesystem::path cache;  // for statfs
  unsigned workers = 4;         // one reads, the others wait for what takes long
};

// Destroy it after Files::Stop: until then requests wait in Files.
class Mount {
 public:
  // Mounts; the kernel's requests are answered from Run on. `why` says a failure for a person.
  static Result<std::unique_ptr<Mount>> Make(const MountOptions& options,
                                             index::Catalogue& catalogue, Files& files,
                                             std::string* why);
  ~Mount();
  // Answers requests until the filesystem is unmounted or Unmount is called. `ready` is called
  // when the kernel's INIT was answered.
  void Run(const std::function<void()>& ready);
  // From a signal-handling thread or the control socket: detaches and lets Run return.
  void Unmount();
  bool passthrough() const;  // whether the kernel granted it

  // Catalogue::OnChange goes here. Queues the kernel's invalidations for a thread of their own.
  void Changed(const std::vector<index::Change>& changes);
  // Returns when the kernel has been told of all that Changed was given. From a thread that no
  // request waits for.
  void WaitTold();

 private:
  class Impl;
  explicit Mount(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace btfc::fs
