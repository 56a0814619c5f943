#include "fs/turns.h"

#include <chrono>

namespace btfc::fs {
namespace {

// A request that takes longer than this keeps others waiting no longer.
constexpr std::chrono::milliseconds kPatience{2};
// So many looks without a request in between, and the watch ends until there is one.
constexpr int kQuietLooks = 50;

// The turn that the calling thread answers a request in.
struct Held {
  Turns* turns = nullptr;
  Turns::Turn word = 0;
};
thread_local Held held;

constexpr bool Busy(Turns::Turn word) { return (word & 1U) != 0; }

}  // namespace

bool Turns::Take(Turn* turn) {
  std::unique_lock lock(mutex_);
  while (!ended_ && !free_) {
    if (!watching_) {
      Watch(lock);
    } else {
      ++waiting_;
      next_.wait(lock);
      --waiting_;
    }
  }
  if (ended_) return false;
  free_ = false;
  *turn = word_;
  if (!watching_ && waiting_ > 0) next_.notify_one();  // who watches from now on
  return true;
}

void Turns::Watch(std::unique_lock<std::mutex>& lock) {
  watching_ = true;
  watched_ = true;
  Turn seen = word_;
  for (int quiet = 0; !ended_ && !free_;) {
    if (quiet < kQuietLooks) {
      watch_.wait_for(lock, kPatience);
    } else {
      watched_ = false;
      // Who began a request before that did not tell.
      if (word_ == seen) watch_.wait(lock, [this] { return ended_ || free_ || watched_; });
      watched_ = true;
      quiet = 0;
    }
    const Turn now = word_;
    if (now == seen && Busy(now)) PassOn(now);
    quiet = now == seen ? quiet + 1 : 0;
    seen = now;
  }
  watching_ = false;
  watched_ = false;
}

void Turns::Begin(Turn* turn) {
  *turn += 1;
  word_ = *turn;
  held = {this, *turn};
  if (watched_) return;
  const std::lock_guard lock(mutex_);
  if (!watching_ || watched_) return;
  watched_ = true;
  watch_.notify_one();
}

bool Turns::Done(Turn* turn) {
  held = {};
  Turn expected = *turn;
  *turn += 1;
  return word_.compare_exchange_strong(expected, *turn);
}

bool Turns::PassOn(Turn word) {
  if (!word_.compare_exchange_strong(word, word + 1)) return false;
  free_ = true;
  return true;
}

void Turns::GiveAway() {
  if (held.turns == nullptr) return;
  Turns& turns = *held.turns;
  const Turn word = held.word;
  held = {};
  const std::lock_guard lock(turns.mutex_);
  if (!turns.PassOn(word)) return;
  (turns.waiting_ > 0 ? turns.next_ : turns.watch_).notify_one();
}

void Turns::End() {
  const std::lock_guard lock(mutex_);
  ended_ = true;
  next_.notify_all();
  watch_.notify_all();
}

}  // namespace btfc::fs
