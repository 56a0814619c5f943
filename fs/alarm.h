// One thread for what happens later: deadlines, retries, and files that somebody closed.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <thread>
#include <unordered_map>

#include "fs/fd.h"

namespace btfc::fs {

// Callbacks run on the alarm's thread with no lock held; they must be short. All calls from any
// thread.
class Alarm {
 public:
  using Clock = std::chrono::steady_clock;
  using Id = std::uint64_t;  // never 0, never used twice

  static Result<std::unique_ptr<Alarm>> Start();
  ~Alarm();
  // Afterwards no callback runs any more.
  void Stop();

  Id At(Clock::time_point when, std::function<void()> callback);
  Id After(std::chrono::nanoseconds delay, std::function<void()> callback) {
    return At(Clock::now() + delay, std::move(callback));
  }
  // False if the callback has run, or is just running.
  bool Cancel(Id id);
  // Once, when a descriptor or mapping of the open file `fd`, which could write to it, is gone.
  // Whoever asks looks at the file once more afterwards: it may have been the last one before.
  Result<void> OnceClosed(int fd, std::function<void()> callback);

 private:
  struct Entry {
    Id id;
    std::function<void()> callback;
  };

  Alarm(Fd wake, Fd notify);
  void Run();
  void Wake();
  void RunDue();
  void ReadEvents();

  // Constant after construction.
  const Fd wake_;
  const Fd notify_;

  std::mutex mutex_;  // guards what follows
  std::multimap<Clock::time_point, Entry> due_;
  std::unordered_map<Id, Clock::time_point> times_;
  std::unordered_multimap<int, std::function<void()>> watches_;
  Id next_ = 1;
  bool stopping_ = false;

  std::thread thread_;
};

}  // namespace btfc::fs
