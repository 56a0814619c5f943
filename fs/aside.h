// Threads for operations that may take long on the disk, so that the workers stay free.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace btfc::fs {

// Runs tasks in the order they came, several at once. Starts a thread when all are busy, up to
// the limit. All calls from any thread.
class Aside {
 public:
  explicit Aside(std::size_t threads_max) : threads_max_(threads_max) {}
  ~Aside() { Stop(); }
  Aside(const Aside&) = delete;
  Aside& operator=(const Aside&) = delete;

  // After Stop it runs at once, on the calling thread.
  void Run(std::function<void()> task);
  // Finishes what was queued and ends the threads.
  void Stop();

 private:
  void Work();

  const std::size_t threads_max_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::function<void()>> tasks_;  // guarded by mutex_
  std::vector<std::thread> threads_;         // guarded by mutex_
  std::size_t idle_ = 0;                     // guarded by mutex_
  bool stopping_ = false;                    // guarded by mutex_
};

}  // namespace btfc::fs
