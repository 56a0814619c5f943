// The lock that makes writers take turns, and lets readers join them while a group of local
// operations is open, that only the writing connection can see.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <thread>

namespace btfc::index {

// Any thread. A lock in the sense of std::unique_lock. Most hold it for less time than it takes to
// fall asleep and be woken: who waits looks for a while first.
class WriteGate {
 public:
  void lock() {
    for (int looks = 0;;) {
      std::uint32_t state = state_.load(std::memory_order_relaxed);
      if ((state & kHeld) != 0) {
        Wait(state, &looks);
      } else if (Take(state)) {
        return;
      }
    }
  }
  bool try_lock() {
    std::uint32_t state = state_.load(std::memory_order_relaxed);
    return (state & kHeld) == 0 && Take(state);
  }
  void unlock() {
    state_.fetch_and(~kHeld);
    WakeSleepers();
  }
  // For a reader: holds the gate if a group is open, else does nothing and says so. Waits for a
  // local operation, never for what takes long: that closes the group first.
  bool LockIfOpen() {
    for (int looks = 0;;) {
      std::uint32_t state = state_.load(std::memory_order_acquire);
      if ((state & kOpen) == 0) return false;
      if ((state & kHeld) != 0) {
        Wait(state, &looks);
      } else if (Take(state)) {
        return true;
      }
    }
  }
  // By the holder: whether there are operations that other connections do not see yet.
  void SetOpen(bool open) {
    if (open) {
      state_.fetch_or(kOpen, std::memory_order_release);
    } else {
      state_.fetch_and(~kOpen);
      WakeSleepers();
    }
  }
  // By who has many turns to take, between two of them: those who fell asleep over the last one go
  // first. Woken, they would be too late for a gate that is taken again at once.
  void GiveWay() const {
    for (int i = 0; i < kWaysMax && sleepers_ > 0; ++i) std::this_thread::sleep_for(kWay);
  }
  bool open() const { return (state_.load(std::memory_order_acquire) & kOpen) != 0; }

 private:
  static constexpr std::uint32_t kHeld = 1;
  static constexpr std::uint32_t kOpen = 2;
  static constexpr int kLooks = 600;  // some tens of microseconds
  // With writers all the time, the next turn comes after this.
  static constexpr int kWaysMax = 100;
  static constexpr std::chrono::microseconds kWay{50};

  bool Take(std::uint32_t& state) {
    return state_.compare_exchange_weak(state, state | kHeld, std::memory_order_acquire,
                                        std::memory_order_relaxed);
  }
  void Wait(std::uint32_t state, int* looks) {
    // On the only CPU nobody lets go of it while somebody looks.
    static const bool kAlone = std::thread::hardware_concurrency() < 2;
    if (++*looks < kLooks && !kAlone) {
#if defined(__x86_64__) || defined(__i386__)
      __builtin_ia32_pause();
#endif
      return;
    }
    ++sleepers_;
    state_.wait(state);
    --sleepers_;
    *looks = 0;  // or whoever asks again and again would always be first
  }
  // To wake costs a system call, whether anybody sleeps or not. Who counts himself after this
  // looked sees the new state, and does not fall asleep.
  void WakeSleepers() {
    if (sleepers_ > 0) state_.notify_all();
  }

  std::atomic<std::uint32_t> state_{0};
  std::atomic<int> sleepers_{0};
};

}  // namespace btfc::index
