// Calls that wait for something: each is answered exactly once, by whoever comes first.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>
#include <system_error>
#include <unordered_map>

#include "fs/alarm.h"

namespace btfc::fs {

// All calls from any thread, with no lock of fs held where `end` may run (Cancel, EndAll).
class PendingCalls {
 public:
  using Ticket = std::uint64_t;  // never 0, never used twice
  // Told when the call ends without what it waits for: EINTR after Cancel, EIO after the
  // deadline. Runs on the canceller's or the alarm's thread.
  using End = std::function<void(std::error_code)>;

  explicit PendingCalls(Alarm& alarm) : alarm_(alarm) {}

  Ticket Add(std::optional<std::chrono::milliseconds> timeout, End end);
  // True for one caller only: it answers the call, and `end` will not run.
  bool Take(Ticket ticket);
  // True if `end` ran.
  bool Cancel(Ticket ticket, std::error_code why);
  void EndAll(std::error_code why);
  std::uint64_t size() const;

 private:
  struct Call {
    End end;
    Alarm::Id alarm = 0;
  };
  std::optional<Call> Remove(Ticket ticket);

  Alarm& alarm_;
  mutable std::mutex mutex_;
  std::unordered_map<Ticket, Call> calls_;
  Ticket next_ = 1;
};

}  // namespace btfc::fs
