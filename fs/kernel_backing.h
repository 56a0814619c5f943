// FUSE passthrough: files that the kernel reads and writes without the daemon.
#pragma once

#include <filesystem>

#include "fs/files.h"

namespace btfc::fs {

// Backing ids of one /dev/fuse descriptor, which must outlive this. All calls from any thread.
class KernelBacking : public Backing {
 public:
  explicit KernelBacking(int device) : device_(device) {}
  Result<int> Register(int fd) override;
  void Unregister(int backing_id) override;

  // Whether files in `folder` can back others: tries it with a nameless file. Not without
  // CAP_SYS_ADMIN (EPERM), nor on a stacked filesystem (ELOOP).
  Result<void> Probe(const std::filesystem::path& folder);

 private:
  const int device_;
};

}  // namespace btfc::fs
