// Calls that can be ended before what they reach.
#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>

namespace btfc::mount_helper {

// The catalogue tells of changes on threads of its own, too, which end with it: after all that they
// are told to. Any thread.
class Listening {
 public:
  template <class Call>
  void Pass(const Call& call) {
    {
      const std::lock_guard lock(mutex_);
      if (over_) return;
      ++inside_;
    }
    const auto leave = [this](void*) {
      const std::lock_guard lock(mutex_);
      if (--inside_ == 0) changed_.notify_all();
    };
    const std::unique_ptr<void, decltype(leave)> left(this, leave);  // also if it throws
    call();
  }
  // No call is under way any more, and none comes.
  void End() {
    std::unique_lock lock(mutex_);
    over_ = true;
    changed_.wait(lock, [this] { return inside_ == 0; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool over_ = false;
  unsigned inside_ = 0;
};

}  // namespace btfc::mount_helper
