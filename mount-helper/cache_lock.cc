#include "mount-helper/cache_lock.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/file.h>
#include <sys/inotify.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "mount-helper/mounts.h"

namespace btfc::mount_helper {
namespace {

using Clock = std::chrono::steady_clock;

// What the holder wrote: its mount point.
std::string Holder(int fd) {
  std::array<char, 4096> text{};
  const auto length = pread(fd, text.data(), text.size(), 0);
  return {text.data(), static_cast<std::size_t>(std::max<ssize_t>(length, 0))};
}

// The lock goes when its holder closes the file, which inotify tells; a second at most, because
// a mount point can come or go without that.
void WaitForClose(int notifier, Clock::duration left) {
  const auto milliseconds = std::chrono::duration_cast<std::chrono::milliseconds>(left).count();
  pollfd poll_for{notifier, POLLIN, 0};
  if (poll(&poll_for, 1, static_cast<int>(std::clamp<std::int64_t>(milliseconds, 0, 1000))) > 0) {
    std::array<char, 4096> events;
    [[maybe_unused]] const auto drained = read(notifier, events.data(), events.size());
  }
}

}  // namespace

std::variant<CacheLock, CacheLock::Refused> CacheLock::Take(
    const std::filesystem::path& cache, const std::filesystem::path& mount_point,
    std::chrono::milliseconds patience) {
  const auto file = cache / "lock";
  fs::Fd fd(open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (!fd) return Refused{fmt::format("cannot open {}: {}", file.string(), std::strerror(errno))};
  const fs::Fd notifier(inotify_init1(IN_CLOEXEC | IN_NONBLOCK));
  inotify_add_watch(notifier.get(), file.c_str(), IN_CLOSE_WRITE);
  const auto deadline = Clock::now() + patience;
  while (flock(fd.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK && errno != EINTR) {
      return Refused{fmt::format("cannot lock {}: {}", file.string(), std::strerror(errno))};
    }
    const auto holder = Holder(fd.get());
    if (!holder.empty() && IsMounted(holder)) {
      return Refused{fmt::format("the cache {} is in use: it is mounted at {} already",
                                 cache.string(), holder)};
    }
    const auto now = Clock::now();
    if (now >= deadline) {
      return Refused{fmt::format("the cache {} is in use by a daemon that does not end{}",
                                 cache.string(),
                                 holder.empty() ? "" : " (it served " + holder + ")")};
    }
    WaitForClose(notifier.get(), deadline - now);
  }
  const auto& text = mount_point.native();
  if (ftruncate(fd.get(), 0) != 0 ||
      pwrite(fd.get(), text.data(), text.size(), 0) != static_cast<ssize_t>(text.size())) {
    return Refused{fmt::format("cannot write {}: {}", file.string(), std::strerror(errno))};
  }
  return CacheLock(std::move(fd));
}

}  // namespace btfc::mount_helper
