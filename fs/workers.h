// The threads on which files are hashed, copied and committed.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace btfc::fs {

// Jobs run in the order they were posted, on any of the threads. Long jobs (hashing or copying a
// big file) never take all threads, so that a short one does not wait for them.
class Workers {
 public:
  explicit Workers(unsigned long_jobs);
  ~Workers();
  // Runs what was posted, then ends the threads. Jobs posted later are dropped.
  void Stop();

  enum class Length { kShort, kLong };
  void Post(Length length, std::function<void()> job);

 private:
  void Run();

  const unsigned long_jobs_max_;
  std::mutex mutex_;  // guards what follows
  std::condition_variable changed_;
  std::deque<std::function<void()>> short_jobs_, long_jobs_;
  unsigned long_jobs_running_ = 0;
  bool stopping_ = false;

  std::vector<std::thread> threads_;
};

}  // namespace btfc::fs
