#include "torrent/loop.h"

#include <pthread.h>
#include <spdlog/spdlog.h>

#include <exception>
#include <utility>

namespace btfc::torrent {

Loop::Loop(const char* name) : thread_([this] { Run(); }) {
  ::pthread_setname_np(thread_.native_handle(), name);
}

Loop::~Loop() { Stop(); }

void Loop::Post(Task task) {
  const std::lock_guard lock(mutex_);
  if (stopping_) return;
  tasks_.push_back(std::move(task));
  if (tasks_.size() == 1) changed_.notify_one();
}

void Loop::PostAfter(std::chrono::milliseconds delay, Task task) {
  const std::lock_guard lock(mutex_);
  if (stopping_) return;
  const auto timer = timers_.emplace(Clock::now() + delay, std::move(task));
  if (timer == timers_.begin()) changed_.notify_one();
}

void Loop::Stop() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    changed_.notify_one();
  }
  if (thread_.joinable()) thread_.join();
  // Tasks may hold the last reference to something whose destructor posts: drop them unlocked.
  std::vector<Task> tasks;
  std::multimap<Clock::time_point, Task> timers;
  const std::lock_guard lock(mutex_);
  tasks.swap(tasks_);
  timers.swap(timers_);
}

void Loop::Run() {
  std::vector<Task> batch;
  std::unique_lock lock(mutex_);
  while (!stopping_) {
    const auto now = Clock::now();
    while (!timers_.empty() && timers_.begin()->first <= now) {
      tasks_.push_back(std::move(timers_.begin()->second));
      timers_.erase(timers_.begin());
    }
    if (tasks_.empty()) {
      if (timers_.empty()) {
        changed_.wait(lock);
      } else {
        changed_.wait_until(lock, timers_.begin()->first);
      }
      continue;
    }
    batch.swap(tasks_);
    lock.unlock();
    for (Task& task : batch) {
      if (stopping_) break;
      try {
        task();
      } catch (const std::exception& error) {
        spdlog::error("swarm: a task failed: {}", error.what());
      }
      task = nullptr;
    }
    batch.clear();
    lock.lock();
  }
}

}  // namespace btfc::torrent
