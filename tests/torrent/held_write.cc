#include "held_write.h"

#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <string>
#include <string_view>

namespace btfc::torrent {
namespace {

std::mutex current_mutex;
HeldWrite* current = nullptr;  // guarded by current_mutex; gone after those that write

HeldWrite* Current() {
  const std::lock_guard lock(current_mutex);
  return current;
}

void SetCurrent(HeldWrite* held) {
  const std::lock_guard lock(current_mutex);
  current = held;
}

bool IsPartialFile(int fd) {
  std::array<char, 512> path{};
  const std::string link = "/proc/self/fd/" + std::to_string(fd);
  const ssize_t size = ::readlink(link.c_str(), path.data(), path.size());
  return size > 0 &&
         std::string_view(path.data(), static_cast<std::size_t>(size)).ends_with(".part");
}

}  // namespace

HeldWrite::HeldWrite(std::uint64_t after_bytes) : after_bytes_(after_bytes) { SetCurrent(this); }

HeldWrite::~HeldWrite() { SetCurrent(nullptr); }

void HeldWrite::Refuse(int error) {
  const std::lock_guard lock(mutex_);
  error_ = error;
  changed_.notify_all();
}

bool HeldWrite::refused() const {
  const std::lock_guard lock(mutex_);
  return stage_ == Stage::kDone;
}

int HeldWrite::Pass(std::size_t bytes) {
  std::unique_lock lock(mutex_);
  passed_bytes_ += bytes;
  if (stage_ != Stage::kAwaited || passed_bytes_ <= after_bytes_) return 0;
  stage_ = Stage::kHeld;
  changed_.wait(lock, [this] { return error_ != 0; });
  stage_ = Stage::kDone;
  return error_;
}

}  // namespace btfc::torrent

// What libtorrent calls.
extern "C" ssize_t pwrite64(int fd, const void* bytes, std::size_t size, off64_t offset) {
  btfc::torrent::HeldWrite* const held = btfc::torrent::Current();
  if (held != nullptr && btfc::torrent::IsPartialFile(fd)) {
    if (const int error = held->Pass(size); error != 0) {
      errno = error;
      return -1;
    }
  }
  return ::syscall(SYS_pwrite64, fd, bytes, size, offset);
}
