#include "fs/alarm.h"

#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

namespace btfc::fs {

Alarm::Alarm(Fd wake, Fd notify) : wake_(std::move(wake)), notify_(std::move(notify)) {}

Result<std::unique_ptr<Alarm>> Alarm::Start() {
  Fd wake(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!wake) return LastError();
  Fd notify(::inotify_init1(IN_CLOEXEC | IN_NONBLOCK));
  if (!notify) return LastError();
  std::unique_ptr<Alarm> alarm(new Alarm(std::move(wake), std::move(notify)));
  alarm->thread_ = std::thread([raw = alarm.get()] { raw->Run(); });
  return alarm;
}

Alarm::~Alarm() { Stop(); }

void Alarm::Stop() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  Wake();
  if (thread_.joinable()) thread_.join();
}

void Alarm::Wake() { ::eventfd_write(wake_.get(), 1); }

Alarm::Id Alarm::At(Clock::time_point when, std::function<void()> callback) {
  Id id = 0;
  bool first = false;
  {
    const std::lock_guard lock(mutex_);
    id = next_++;
    const auto entry = due_.emplace(when, Entry{id, std::move(callback)});
    times_.emplace(id, when);
    first = entry == due_.begin();
  }
  if (first) Wake();
  return id;
}

bool Alarm::Cancel(Id id) {
  std::function<void()> dropped;  // its captures may go only without the lock
  const std::lock_guard lock(mutex_);
  const auto time = times_.find(id);
  if (time == times_.end()) return false;
  auto [begin, end] = due_.equal_range(time->second);
  const auto entry = std::find_if(begin, end, [&](const auto& at) { return at.second.id == id; });
  dropped = std::move(entry->second.callback);
  due_.erase(entry);
  times_.erase(time);
  return true;
}

Result<void> Alarm::OnceClosed(int fd, std::function<void()> callback) {
  const auto path = "/proc/self/fd/" + std::to_string(fd);
  const std::lock_guard lock(mutex_);
  const int watch =
      ::inotify_add_watch(notify_.get(), path.c_str(), IN_CLOSE_WRITE | IN_MASK_ADD | IN_ONESHOT);
  if (watch < 0) return LastError();
  watches_.emplace(watch, std::move(callback));
  return Ok();
}

void Alarm::Run() {
  ::pthread_setname_np(::pthread_self(), "files-alarm");
  for (;;) {
    int timeout_ms = -1;
    timespec timeout{};
    {
      const std::lock_guard lock(mutex_);
      if (stopping_) return;
      if (!due_.empty()) {
        const auto left = std::max(due_.begin()->first - Clock::now(), Clock::duration::zero());
        timeout = TimespecOf(std::chrono::nanoseconds(left).count());
        timeout_ms = 0;
      }
    }
    std::array<pollfd, 2> polled{{{wake_.get(), POLLIN, 0}, {notify_.get(), POLLIN, 0}}};
    ::ppoll(polled.data(), polled.size(), timeout_ms < 0 ? nullptr : &timeout, nullptr);
    eventfd_t count = 0;
    if ((polled[0].revents & POLLIN) != 0) ::eventfd_read(wake_.get(), &count);
    if ((polled[1].revents & POLLIN) != 0) ReadEvents();
    RunDue();
  }
}

void Alarm::RunDue() {
  std::vector<std::function<void()>> callbacks;
  {
    const std::lock_guard lock(mutex_);
    const auto now = Clock::now();
    while (!stopping_ && !due_.empty() && due_.begin()->first <= now) {
      times_.erase(due_.begin()->second.id);
      callbacks.push_back(std::move(due_.begin()->second.callback));
      due_.erase(due_.begin());
    }
  }
  for (const auto& callback : callbacks) callback();
}

void Alarm::ReadEvents() {
  alignas(inotify_event) std::array<char, 4096> buffer;
  std::vector<std::function<void()>> callbacks;
  for (;;) {
    const auto got = ::read(notify_.get(), buffer.data(), buffer.size());
    if (got <= 0) break;
    const std::lock_guard lock(mutex_);
    for (std::size_t at = 0; at < static_cast<std::size_t>(got);) {
      inotify_event event{};
      std::memcpy(&event, buffer.data() + at, sizeof event);
      at += sizeof event + event.len;
      auto [begin, end] = watches_.equal_range(event.wd);
      for (auto watch = begin; watch != end; ++watch) callbacks.push_back(std::move(watch->second));
      watches_.erase(begin, end);
    }
  }
  for (const auto& callback : callbacks) callback();
}

}  // namespace btfc::fs
