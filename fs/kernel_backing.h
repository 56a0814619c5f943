// FUSE passthrough: files that the kernel reads and writes without the daemon.
#pragma once

#include <filesystem>
#include <functional>
#include <utility>

#include "fs/files.h"

namespace btfc::fs {

// Backing ids of one /dev/fuse descriptor, which must outlive this. All calls from any thread.
class KernelBacking : public Backing {
 public:
  KernelBacking(int device, std::function<void(index::Ino)> times_moved)
      : device_(device), times_moved_(std::move(times_moved)) {}
  Result<int> Register(int fd) override;
  void Unregister(int backing_id) override;
  void TimesMoved(index::Ino ino) override { times_moved_(ino); }

  // Whether files in `folder` can back others: tries it with a nameless file. Not without
  // CAP_SYS_ADMIN (EPERM), nor on a stacked filesystem (ELOOP).
  Result<void> Probe(const std::filesystem::path& folder);

 private:
  const int device_;
  const std::function<void(index::Ino)> times_moved_;
};

}  // namespace btfc::fs
