// Where the system calls of a program find the log that is being written (disk_log.h).
#pragma once

#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "tests/fs/disk_log.h"

namespace btfc::fs {

// Any thread, under its mutex. A call and its record are one step: what comes first in the
// log was done first.
struct DiskRecorder {
  using Event = DiskLog::Event;
  using What = DiskLog::Event::What;
  using Key = std::pair<dev_t, ino_t>;

  std::mutex mutex;
  DiskLog* log = nullptr;
  std::map<Key, std::uint64_t> files;  // those that have a name, or had one when they were opened
  std::uint64_t next = 1;

  static DiskRecorder& Get() {
    static DiskRecorder recorder;
    return recorder;
  }
  static inline std::atomic<bool> watching = false;

  void Add(Event event) { log->events_.push_back(std::move(event)); }
  std::optional<std::string> Below(const char* path) const {
    const std::string& root = log->root_.native();
    const std::string_view text(path);
    if (!text.starts_with(root) || text.size() <= root.size() || text[root.size()] != '/')
      return {};
    return std::string(text.substr(root.size() + 1));
  }
  std::optional<std::uint64_t> FileOf(const struct stat& st) const {
    const auto found = files.find({st.st_dev, st.st_ino});
    if (found == files.end() || !S_ISREG(st.st_mode)) return {};
    return found->second;
  }
  // Of a file that is watched.
  std::optional<Event> EventOf(int fd, What what) const {
    struct stat st {};
    if (::fstat(fd, &st) != 0) return {};
    const auto file = FileOf(st);
    if (!file) return {};
    Event event;
    event.what = what;
    event.file = *file;
    event.mtime = st.st_mtim;
    return event;
  }
  void AddSize(int fd) {
    struct stat st {};
    auto event = EventOf(fd, What::kSize);
    if (!event || ::fstat(fd, &st) != 0) return;
    event->offset = static_cast<std::uint64_t>(st.st_size);
    Add(std::move(*event));
  }
  // What the kernel has put there, in the file as it is now.
  void AddRange(int fd, std::uint64_t offset, std::uint64_t length) {
    auto event = EventOf(fd, What::kWrite);
    if (!event) return;
    event->offset = offset;
    event->bytes.resize(length);
    const auto name = "/proc/self/fd/" + std::to_string(fd);
    const auto reading =
        static_cast<int>(::syscall(SYS_openat, AT_FDCWD, name.c_str(), O_RDONLY | O_CLOEXEC, 0));
    std::size_t have = 0;
    while (reading >= 0 && have < length) {
      const auto got = ::pread(reading, event->bytes.data() + have, length - have,
                               static_cast<off_t>(offset + have));
      if (got <= 0) break;
      have += static_cast<std::size_t>(got);
    }
    if (reading >= 0) ::close(reading);
    event->bytes.resize(have);
    Add(std::move(*event));
  }
};

}  // namespace btfc::fs
