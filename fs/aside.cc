#include "fs/aside.h"

#include <spdlog/spdlog.h>

#include <exception>

namespace btfc::fs {

void Aside::Stop() {
  std::vector<std::thread> threads;
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    threads.swap(threads_);
  }
  changed_.notify_all();
  for (std::thread& thread : threads) thread.join();
}

void Aside::Run(std::function<void()> task) {
  std::unique_lock lock(mutex_);
  if (stopping_) {
    lock.unlock();
    return task();
  }
  tasks_.push_back(std::move(task));
  if (idle_ < tasks_.size() && threads_.size() < threads_max_) {
    threads_.emplace_back([this] { Work(); });
  }
  changed_.notify_one();
}

void Aside::Work() {
  std::unique_lock lock(mutex_);
  for (;;) {
    ++idle_;
    changed_.wait(lock, [this] { return stopping_ || !tasks_.empty(); });
    --idle_;
    if (tasks_.empty()) return;
    std::function<void()> task = std::move(tasks_.front());
    tasks_.pop_front();
    lock.unlock();
    try {
      task();
    } catch (const std::exception& problem) {
      spdlog::error("an operation failed: {}", problem.what());
    }
    task = nullptr;
    lock.lock();
  }
}

}  // namespace btfc::fs
