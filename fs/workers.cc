#include "fs/workers.h"

#include <pthread.h>

#include <algorithm>
#include <utility>

namespace btfc::fs {

Workers::Workers(unsigned long_jobs) : long_jobs_max_(std::max(long_jobs, 1U)) {
  for (unsigned i = 0; i < long_jobs_max_ + 1; ++i) threads_.emplace_back([this] { Run(); });
}

Workers::~Workers() { Stop(); }

void Workers::Stop() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  for (auto& thread : threads_) {
    if (thread.joinable()) thread.join();
  }
}

void Workers::Post(Length length, std::function<void()> job) {
  {
    const std::lock_guard lock(mutex_);
    if (stopping_) return;
    (length == Length::kShort ? short_jobs_ : long_jobs_).push_back(std::move(job));
  }
  changed_.notify_one();
}

void Workers::Run() {
  ::pthread_setname_np(::pthread_self(), "files-work");
  std::unique_lock lock(mutex_);
  for (;;) {
    const bool may_take_long = long_jobs_running_ < long_jobs_max_ && !long_jobs_.empty();
    if (short_jobs_.empty() && !may_take_long) {
      if (stopping_ && long_jobs_.empty()) return;
      changed_.wait(lock);
      continue;
    }
    const bool is_long = short_jobs_.empty();
    auto& jobs = is_long ? long_jobs_ : short_jobs_;
    auto job = std::move(jobs.front());
    jobs.pop_front();
    if (is_long) ++long_jobs_running_;
    lock.unlock();
    job();
    job = nullptr;  // its captures may be the last of something; not under the lock
    lock.lock();
    if (is_long) {
      --long_jobs_running_;
      changed_.notify_all();
    }
  }
}

}  // namespace btfc::fs
