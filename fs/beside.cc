#include "fs/beside.h"

#include <sched.h>

#include <utility>

#include "index/cpu.h"

namespace btfc::fs {
namespace {

constexpr std::size_t kJobsMax = 256;
constexpr unsigned kAtOnce = 32;

}  // namespace

bool Beside::Post(std::function<void()> job) {
  const std::lock_guard lock(mutex_);
  if (jobs_.size() >= kJobsMax) return false;
  jobs_.push_back(std::move(job));
  if (jobs_.size() == 1) Wake();  // else somebody is at it
  return true;
}

void Beside::Wake() {
  workers_.Post(Workers::Length::kShort, [this, cpu = ::sched_getcpu()] {
    index::LeaveCpu(cpu);
    Work();
  });
}

void Beside::Work() {
  for (unsigned done = 0; done < kAtOnce; ++done) {
    std::function<void()>* job = nullptr;
    {
      const std::lock_guard lock(mutex_);
      job = &jobs_.front();  // stays where it is while others are added
    }
    (*job)();
    const std::lock_guard lock(mutex_);
    jobs_.pop_front();
    if (jobs_.empty()) return;
  }
  Wake();
}

}  // namespace btfc::fs
