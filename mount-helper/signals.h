// SIGTERM, SIGINT and SIGHUP as an orderly unmount.
#pragma once

#include <functional>
#include <thread>

#include "fs/fd.h"

namespace btfc::mount_helper {

class SignalThread {
 public:
  // Blocks the signals in the calling thread and all that it starts later; ignores SIGPIPE, and
  // SIGIO, which breaking a file lease sends. On the first thread, before any other.
  static void BlockSignals();

  // `on_signal` is called on a thread of its own, each time one of the signals comes.
  explicit SignalThread(std::function<void()> on_signal);
  ~SignalThread();
  SignalThread(const SignalThread&) = delete;
  SignalThread& operator=(const SignalThread&) = delete;

 private:
  void Run();

  std::function<void()> on_signal_;
  fs::Fd signals_, wake_read_, wake_write_;
  std::thread thread_;
};

}  // namespace btfc::mount_helper
