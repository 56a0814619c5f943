#include "tests/fs/io_faults.h"

#include <fcntl.h>
#include <sqlite3.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <condition_variable>
#include <cstdarg>
#include <cstdio>
#include <filesystem>
#include <initializer_list>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <utility>

namespace btfc::fs {
namespace {

std::atomic<bool> g_armed = false;
std::atomic<unsigned> g_calls = 0;
std::atomic<unsigned> g_nth = 0;
std::atomic<int> g_error = 0;
std::atomic<bool> g_unreadable = false;
std::atomic<unsigned> g_lost_syncs = 0;
std::atomic<unsigned> g_lost_writes = 0;
std::atomic<bool> g_losing = false;  // an fdatasync has failed, and none succeeded since
std::atomic<std::uint64_t> g_saved_bytes = 0;
std::mutex g_looks_mutex;
std::map<std::string, unsigned> g_looks;  // guarded by g_looks_mutex; by the folder's name
std::mutex g_held_mutex;                  // guards what follows
std::condition_variable g_held_changed;
std::string g_held;  // a path; none: empty
std::thread::id g_holder;
unsigned g_awaiting = 0;

void WaitIfHeld(const char* path) {
  std::unique_lock lock(g_held_mutex);
  if (g_held != path || std::this_thread::get_id() == g_holder) return;
  ++g_awaiting;
  g_held_changed.wait(lock, [path] { return g_held != path; });
  --g_awaiting;
}

// Whether this call is the one; errno is set.
bool Fails() {
  if (!g_armed || ++g_calls != g_nth) return false;
  errno = g_error;
  return true;
}

}  // namespace

IoFaults::IoFaults(unsigned nth, int error) {
  g_calls = 0;
  g_nth = nth;
  g_error = error;
  g_armed = true;
}

IoFaults::~IoFaults() { g_armed = false; }

unsigned IoFaults::Calls() { return g_calls; }

unsigned LooksAtRoomOf(const char* folder) {
  const std::lock_guard lock(g_looks_mutex);
  return g_looks[folder];
}

LostSyncs::LostSyncs(unsigned syncs, unsigned writes) {
  g_losing = false;
  g_saved_bytes = 0;
  g_lost_writes = writes;
  g_lost_syncs = syncs;
}
LostSyncs::~LostSyncs() {
  g_lost_syncs = 0;
  g_losing = false;
}
std::uint64_t LostSyncs::SavedBytes() { return g_saved_bytes; }

UnreadableDisk::UnreadableDisk() { g_unreadable = true; }
UnreadableDisk::~UnreadableDisk() { g_unreadable = false; }

HeldFile::HeldFile(const std::filesystem::path& path) {
  const std::lock_guard lock(g_held_mutex);
  g_held = path;
  g_holder = std::this_thread::get_id();
}

HeldFile::~HeldFile() {
  {
    const std::lock_guard lock(g_held_mutex);
    g_held.clear();
  }
  g_held_changed.notify_all();
}

bool HeldFile::Awaited() const {
  const std::lock_guard lock(g_held_mutex);
  return g_awaiting > 0;
}

namespace {

// Whether the disk loses what this fdatasync is about; errno is set.
bool LosesSync() {
  if (g_lost_syncs == 0) {
    g_losing = false;
    return false;
  }
  --g_lost_syncs;
  g_losing = true;
  g_saved_bytes = 0;
  errno = EIO;
  return true;
}

// The same of a write.
bool LosesWrite() {
  if (!g_losing || g_lost_writes == 0) return false;
  --g_lost_writes;
  errno = EIO;
  return true;
}

void CountSaved(ssize_t written) {
  if (g_losing && written > 0) g_saved_bytes += static_cast<std::uint64_t>(written);
}

ssize_t ReadAt(int fd, void* bytes, size_t size, off_t offset) {
  if (g_unreadable) {
    errno = EIO;
    return -1;
  }
  return ::syscall(SYS_pread64, fd, bytes, size, offset);
}

}  // namespace

}  // namespace btfc::fs

using btfc::fs::CountSaved;
using btfc::fs::Fails;
using btfc::fs::LosesSync;
using btfc::fs::LosesWrite;
using btfc::fs::ReadAt;
using btfc::fs::WaitIfHeld;

// NOLINTBEGIN(bugprone-reserved-identifier): the linker's names
#define BTFC_WRAP(name, parameters, arguments) \
  int __real_##name parameters;                \
  int __wrap_##name parameters { return Fails() ? -1 : __real_##name arguments; }

extern "C" {

BTFC_WRAP(rename, (const char* from, const char* to), (from, to))
BTFC_WRAP(renameat2, (int a, const char* from, int b, const char* to, unsigned flags),
          (a, from, b, to, flags))
BTFC_WRAP(link, (const char* from, const char* to), (from, to))
BTFC_WRAP(unlink, (const char* path), (path))
BTFC_WRAP(ftruncate, (int fd, off_t size), (fd, size))
BTFC_WRAP(chmod, (const char* path, mode_t mode), (path, mode))
BTFC_WRAP(fchmod, (int fd, mode_t mode), (fd, mode))
BTFC_WRAP(fallocate, (int fd, int mode, off_t offset, off_t size), (fd, mode, offset, size))
BTFC_WRAP(futimens, (int fd, const timespec times[2]), (fd, times))

int __real_posix_fallocate(int fd, off_t offset, off_t size);
int __wrap_posix_fallocate(int fd, off_t offset, off_t size) {  // answers the error itself
  return Fails() ? errno : __real_posix_fallocate(fd, offset, size);
}

int __real_statvfs(const char* path, struct statvfs* disk);
int __wrap_statvfs(const char* path, struct statvfs* disk) {
  {
    const std::lock_guard lock(btfc::fs::g_looks_mutex);
    ++btfc::fs::g_looks[std::filesystem::path(path).filename()];
  }
  return __real_statvfs(path, disk);
}

ssize_t __real_pwrite(int fd, const void* bytes, size_t size, off_t offset);
ssize_t __wrap_pwrite(int fd, const void* bytes, size_t size, off_t offset) {
  if (Fails() || LosesWrite()) return -1;
  const ssize_t written = __real_pwrite(fd, bytes, size, offset);
  CountSaved(written);
  return written;
}

ssize_t __real_copy_file_range(int in, loff_t* from, int out, loff_t* to, size_t size,
                               unsigned flags);
ssize_t __wrap_copy_file_range(int in, loff_t* from, int out, loff_t* to, size_t size,
                               unsigned flags) {
  return Fails() ? -1 : __real_copy_file_range(in, from, out, to, size, flags);
}

int __real_open(const char* path, int flags, ...);
int __wrap_open(const char* path, int flags, ...) {
  va_list rest;
  va_start(rest, flags);
  // NOLINTNEXTLINE(clang-analyzer-valist.Uninitialized): va_start has initialized it
  const mode_t mode = (flags & O_CREAT) != 0 ? va_arg(rest, mode_t) : 0;
  va_end(rest);
  WaitIfHeld(path);
  return Fails() ? -1 : __real_open(path, flags, mode);
}

// SQLite's, too: its library finds these before the C library's.
int fsync(int fd) { return Fails() ? -1 : static_cast<int>(::syscall(SYS_fsync, fd)); }
ssize_t pread(int fd, void* bytes, size_t size, off_t offset) {
  return ReadAt(fd, bytes, size, offset);
}
ssize_t pread64(int fd, void* bytes, size_t size, off64_t offset) {
  return ReadAt(fd, bytes, size, offset);
}
int fdatasync(int fd) {
  return Fails() || LosesSync() ? -1 : static_cast<int>(::syscall(SYS_fdatasync, fd));
}

}  // extern "C"
// NOLINTEND(bugprone-reserved-identifier)

namespace btfc::fs {
namespace {

// What SQLite called before.
struct Former {
  int (*open)(const char*, int, int) = nullptr;
  ssize_t (*pwrite)(int, const void*, size_t, off_t) = nullptr;
  int (*ftruncate)(int, off_t) = nullptr;
};
Former g_former;

int SqliteOpen(const char* path, int flags, int mode) {
  return Fails() ? -1 : g_former.open(path, flags, mode);
}
ssize_t SqlitePwrite(int fd, const void* bytes, size_t size, off_t offset) {
  return Fails() ? -1 : g_former.pwrite(fd, bytes, size, offset);
}
int SqliteFtruncate(int fd, off_t size) { return Fails() ? -1 : g_former.ftruncate(fd, size); }

template <class Function>
void Replace(sqlite3_vfs* vfs, const char* name, Function& former, Function replacement) {
  const auto current = vfs->xGetSystemCall(vfs, name);
  if (current == nullptr) return;
  former = reinterpret_cast<Function>(current);
  vfs->xSetSystemCall(vfs, name, reinterpret_cast<sqlite3_syscall_ptr>(replacement));
}

}  // namespace

void WatchSqlite() {
  static const bool kDone = [] {
    sqlite3_vfs* const vfs = sqlite3_vfs_find(nullptr);
    Replace(vfs, "open", g_former.open, &SqliteOpen);
    Replace(vfs, "pwrite", g_former.pwrite, &SqlitePwrite);
    Replace(vfs, "pwrite64", g_former.pwrite, &SqlitePwrite);
    Replace(vfs, "ftruncate", g_former.ftruncate, &SqliteFtruncate);
    return true;
  }();
  (void)kDone;
}

}  // namespace btfc::fs
