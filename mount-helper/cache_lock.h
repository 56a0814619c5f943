// One daemon a cache: a lock that dies with its process.
#pragma once

#include <chrono>
#include <filesystem>
#include <string>
#include <variant>

#include "fs/fd.h"

namespace btfc::mount_helper {

class CacheLock {
 public:
  struct Refused {
    std::string message;
  };

  // Takes cache/lock for a mount at `mount_point`. A daemon that still answers at its mount point
  // refuses at once; one that is starting or stopping is waited for, `patience` at most.
  static std::variant<CacheLock, Refused> Take(const std::filesystem::path& cache,
                                               const std::filesystem::path& mount_point,
                                               std::chrono::milliseconds patience);

 private:
  explicit CacheLock(fs::Fd fd) : fd_(std::move(fd)) {}
  fs::Fd fd_;
};

}  // namespace btfc::mount_helper
