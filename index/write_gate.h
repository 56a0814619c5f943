// The lock that makes writers take turns, and lets readers join them while a group of local
// operations is open, that only the writing connection can see.
#pragma once

#include <atomic>
#include <condition_variable>
#include <mutex>

namespace btfc::index {

// Any thread. A lock in the sense of std::unique_lock.
class WriteGate {
 public:
  void lock() {
    std::unique_lock lock(mutex_);
    free_.wait(lock, [this] { return !held_; });
    held_ = true;
  }
  void unlock() {
    {
      const std::lock_guard lock(mutex_);
      held_ = false;
    }
    free_.notify_one();
  }
  // For a reader: holds the gate if a group is open, else does nothing and says so. Waits for a
  // local operation, never for what takes long: that closes the group first.
  bool LockIfOpen() {
    if (!open_) return false;
    std::unique_lock lock(mutex_);
    free_.wait(lock, [this] { return !held_ || !open_; });
    if (!open_) return false;
    held_ = true;
    return true;
  }
  // By the holder: whether there are operations that other connections do not see yet.
  void SetOpen(bool open) {
    const std::lock_guard lock(mutex_);
    open_ = open;
    if (!open) free_.notify_all();
  }
  bool open() const { return open_; }

 private:
  std::mutex mutex_;
  std::condition_variable free_;
  bool held_ = false;
  std::atomic<bool> open_{false};
};

}  // namespace btfc::index
