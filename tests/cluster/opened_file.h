// A descriptor of a file below a mount, closed at its end.
#pragma once

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <string>
#include <utility>

namespace btfc::cluster {

// Calls that wait, for a file that is copied for instance, may be interrupted: by a signal, or by a
// freezer that stops the machine for a while.
class OpenedFile {
 public:
  OpenedFile(const std::string& path, int flags)
      : fd_(static_cast<int>(TEMP_FAILURE_RETRY(::open(path.c_str(), flags | O_CLOEXEC, 0644)))) {}
  OpenedFile(const OpenedFile&) = delete;
  OpenedFile& operator=(const OpenedFile&) = delete;
  ~OpenedFile() { Close(); }
  int fd() const { return fd_; }
  int Close() { return fd_ < 0 ? 0 : ::close(std::exchange(fd_, -1)); }

 private:
  int fd_;
};

}  // namespace btfc::cluster
