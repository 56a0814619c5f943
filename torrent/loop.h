// A thread that runs tasks one after another, now or later. Internal to torrent/.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <functional>
#include <map>
#include <mutex>
#include <thread>
#include <vector>

namespace btfc::torrent {

class Loop {
 public:
  using Task = std::function<void()>;
  using Clock = std::chrono::steady_clock;

  explicit Loop(const char* name);  // at most 15 characters
  ~Loop();
  Loop(const Loop&) = delete;
  Loop& operator=(const Loop&) = delete;

  // From any thread. After Stop tasks are dropped.
  void Post(Task task);
  void PostAfter(std::chrono::milliseconds delay, Task task);
  // Waits for the task that is running and drops the others. From any thread but the loop's own.
  void Stop();

 private:
  void Run();

  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<Task> tasks_;
  std::multimap<Clock::time_point, Task> timers_;
  std::atomic<bool> stopping_ = false;
  std::thread thread_;
};

}  // namespace btfc::torrent
