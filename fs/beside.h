// Short jobs that nobody waits for.
#pragma once

#include <deque>
#include <functional>
#include <mutex>

#include "fs/workers.h"

namespace btfc::fs {

// One worker does them one after the other, on another CPU than who posts them: that wakes a thread
// for many, not for each. Other short jobs come in between. Any thread.
class Beside {
 public:
  explicit Beside(Workers& workers) : workers_(workers) {}
  // False if there are too many: then whoever has more of them does them himself.
  bool Post(std::function<void()> job);

 private:
  void Wake();
  void Work();

  Workers& workers_;
  std::mutex mutex_;
  std::deque<std::function<void()>> jobs_;  // guarded by mutex_; the first is being done
};

}  // namespace btfc::fs
