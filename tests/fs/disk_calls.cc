// The system calls of the whole program: done, and written down if a file below the log's root is
// meant. What the C library calls within itself does not come here.
#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdarg>
#include <cstdio>

#include "tests/fs/disk_recorder.h"

namespace {

using btfc::fs::DiskLog;
using btfc::fs::DiskRecorder;
using Event = DiskLog::Event;
using What = DiskLog::Event::What;

// Runs `call`, which answers as system calls do, and then `record` if it worked.
template <class Call, class Record>
auto Recorded(const Call& call, const Record& record) -> decltype(call()) {
  if (!DiskRecorder::watching) return call();
  DiskRecorder& recorder = DiskRecorder::Get();
  const std::lock_guard lock(recorder.mutex);
  if (!DiskRecorder::watching) return call();
  const auto answer = call();
  if (answer < 0) return answer;
  const int error = errno;
  record(recorder);
  errno = error;
  return answer;
}

int Raw(long answer) { return static_cast<int>(answer); }

int Open(int folder, const char* path, int flags, mode_t mode) {
  struct stat before {};
  bool absent = false;
  return Recorded(
      [&] {
        absent = DiskRecorder::watching && (flags & O_CREAT) != 0 && ::lstat(path, &before) != 0;
        return Raw(::syscall(SYS_openat, folder, path, flags, mode));
      },
      [&](DiskRecorder& recorder) {
        const auto name = recorder.Below(path);
        struct stat st {};
        if (!name || ::stat(path, &st) != 0 || !S_ISREG(st.st_mode)) return;
        Event event;
        event.path = *name;
        event.mtime = st.st_mtim;
        if (absent) {
          event.file = recorder.files[{st.st_dev, st.st_ino}] = recorder.next++;
          return recorder.Add(std::move(event));
        }
        const auto file = recorder.FileOf(st);
        if ((flags & O_TRUNC) == 0 || !file) return;
        event.what = What::kSize;
        event.file = *file;
        recorder.Add(std::move(event));
      });
}

ssize_t Pwrite(int fd, const void* bytes, size_t size, off_t offset) {
  return Recorded([&] { return ::syscall(SYS_pwrite64, fd, bytes, size, offset); },
                  [&](DiskRecorder& recorder) {
                    auto event = recorder.EventOf(fd, What::kWrite);
                    if (!event) return;
                    event->offset = static_cast<std::uint64_t>(offset);
                    event->bytes.assign(static_cast<const char*>(bytes), size);
                    recorder.Add(std::move(*event));
                  });
}

int Truncate(int fd, off_t size) {
  return Recorded([&] { return Raw(::syscall(SYS_ftruncate, fd, size)); },
                  [&](DiskRecorder& recorder) { recorder.AddSize(fd); });
}

int Sync(int fd, bool data_only) {
  return Recorded([&] { return Raw(::syscall(data_only ? SYS_fdatasync : SYS_fsync, fd)); },
                  [&](DiskRecorder& recorder) {
                    struct stat st {};
                    if (::fstat(fd, &st) == 0 && S_ISDIR(st.st_mode)) {
                      Event event;
                      event.what = What::kFolderSync;
                      return recorder.Add(std::move(event));
                    }
                    auto event = recorder.EventOf(fd, data_only ? What::kDataSync : What::kSync);
                    if (event) recorder.Add(std::move(*event));
                  });
}

int Rename(const char* from, const char* to, unsigned flags) {
  return Recorded(
      [&] { return Raw(::syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, flags)); },
      [&](DiskRecorder& recorder) {
        const auto was = recorder.Below(from);
        const auto is = recorder.Below(to);
        if (!was || !is) return;
        Event event;
        event.what = (flags & RENAME_EXCHANGE) != 0 ? What::kExchange : What::kRename;
        event.path = *was;
        event.to = *is;
        recorder.Add(std::move(event));
      });
}

int Link(const char* from, const char* to, int flags) {
  return Recorded([&] { return Raw(::syscall(SYS_linkat, AT_FDCWD, from, AT_FDCWD, to, flags)); },
                  [&](DiskRecorder& recorder) {
                    struct stat st {};
                    const auto name = recorder.Below(to);
                    if (!name || ::lstat(to, &st) != 0) return;
                    const auto file = recorder.FileOf(st);
                    if (!file) return;
                    Event event;
                    event.what = What::kLink;
                    event.file = *file;
                    event.path = *name;
                    recorder.Add(std::move(event));
                  });
}

int Unlink(const char* path) {
  return Recorded([&] { return Raw(::syscall(SYS_unlink, path)); },
                  [&](DiskRecorder& recorder) {
                    const auto name = recorder.Below(path);
                    if (!name) return;
                    Event event;
                    event.what = What::kUnlink;
                    event.path = *name;
                    recorder.Add(std::move(event));
                  });
}

int Allocate(int fd, int mode, off_t offset, off_t length) {
  return Recorded([&] { return Raw(::syscall(SYS_fallocate, fd, mode, offset, length)); },
                  [&](DiskRecorder& recorder) {
                    recorder.AddSize(fd);
                    if (mode != 0) {
                      recorder.AddRange(fd, static_cast<std::uint64_t>(offset),
                                        static_cast<std::uint64_t>(length));
                    }
                  });
}

}  // namespace

extern "C" {

// NOLINTBEGIN(cert-dcl50-cpp): as the C library has them
int open(const char* path, int flags, ...) {
  va_list rest;
  va_start(rest, flags);
  const mode_t mode = (flags & O_CREAT) != 0 ? va_arg(rest, mode_t) : 0;
  va_end(rest);
  return Open(AT_FDCWD, path, flags, mode);
}
int open64(const char* path, int flags, ...) {
  va_list rest;
  va_start(rest, flags);
  const mode_t mode = (flags & O_CREAT) != 0 ? va_arg(rest, mode_t) : 0;
  va_end(rest);
  return Open(AT_FDCWD, path, flags, mode);
}
int ioctl(int fd, unsigned long request, ...) noexcept {
  va_list rest;
  va_start(rest, request);
  void* const argument = va_arg(rest, void*);
  va_end(rest);
  return Recorded([&] { return Raw(::syscall(SYS_ioctl, fd, request, argument)); },
                  [&](DiskRecorder& recorder) {
                    struct stat st {};
                    if (request != FICLONE || ::fstat(fd, &st) != 0) return;
                    recorder.AddSize(fd);
                    recorder.AddRange(fd, 0, static_cast<std::uint64_t>(st.st_size));
                  });
}
// NOLINTEND(cert-dcl50-cpp)
ssize_t pwrite(int fd, const void* bytes, size_t size, off_t offset) {
  return Pwrite(fd, bytes, size, offset);
}
ssize_t pwrite64(int fd, const void* bytes, size_t size, off_t offset) {
  return Pwrite(fd, bytes, size, offset);
}
int ftruncate(int fd, off_t size) noexcept { return Truncate(fd, size); }
int ftruncate64(int fd, off_t size) noexcept { return Truncate(fd, size); }
int fsync(int fd) { return Sync(fd, false); }
int fdatasync(int fd) { return Sync(fd, true); }
int rename(const char* from, const char* to) noexcept { return Rename(from, to, 0); }
int renameat2(int, const char* from, int, const char* to, unsigned flags) noexcept {
  return Rename(from, to, flags);
}
int link(const char* from, const char* to) noexcept { return Link(from, to, 0); }
int linkat(int, const char* from, int, const char* to, int flags) noexcept {
  return Link(from, to, flags);
}
int unlink(const char* path) noexcept { return Unlink(path); }
int mkdir(const char* path, mode_t mode) noexcept {
  return Recorded([&] { return Raw(::syscall(SYS_mkdir, path, mode)); },
                  [&](DiskRecorder& recorder) {
                    const auto name = recorder.Below(path);
                    if (!name) return;
                    Event event;
                    event.what = What::kFolder;
                    event.path = *name;
                    recorder.Add(std::move(event));
                  });
}
int fallocate(int fd, int mode, off_t offset, off_t length) {
  return Allocate(fd, mode, offset, length);
}
int posix_fallocate(int fd, off_t offset, off_t length) {
  return Allocate(fd, 0, offset, length) == 0 ? 0 : errno;
}
int futimens(int fd, const timespec times[2]) noexcept {
  return Recorded([&] { return Raw(::syscall(SYS_utimensat, fd, nullptr, times, 0)); },
                  [&](DiskRecorder& recorder) {
                    auto event = recorder.EventOf(fd, What::kTimes);
                    if (event) recorder.Add(std::move(*event));
                  });
}
ssize_t copy_file_range(int in, loff_t* from, int out, loff_t* to, size_t size, unsigned flags) {
  const auto offset = to != nullptr ? static_cast<std::uint64_t>(*to) : 0;
  ssize_t copied = 0;
  return Recorded(
      [&] {
        copied = ::syscall(SYS_copy_file_range, in, from, out, to, size, flags);
        return copied;
      },
      [&](DiskRecorder& recorder) {
        recorder.AddRange(out, offset, static_cast<std::uint64_t>(copied));
      });
}

}  // extern "C"
