// When a file that has become quiet is committed.
#pragma once

#include <array>
#include <chrono>
#include <mutex>
#include <optional>

#include "index/catalogue.h"

namespace btfc::fs {

// A file that is closed now and then is elsewhere the soonest if the thread that heard of it
// commits it. Of many that are closed one after the other, whoever closes them would wait for each:
// they are committed beside. And one that is opened and closed again and again, as a log is by a
// shell script, gets a version now and then, not each time. Any thread.
class CommitPace {
 public:
  using Clock = std::chrono::steady_clock;

  enum class When { kNow, kBeside, kLater };
  struct Decision {
    When when = When::kNow;
    Clock::duration rest{};  // kLater
  };
  // `ino` was closed.
  Decision Next(index::Ino ino, Clock::time_point now);
  // Its rest is over, and it is committed.
  void Rested(index::Ino ino);

 private:
  struct Repeated {
    index::Ino ino = 0;
    unsigned times = 0;
    Clock::time_point last;
    std::optional<Clock::time_point> due;  // the end of the rest
  };

  std::mutex mutex_;  // guards what follows
  Clock::time_point last_;
  std::array<Repeated, 64> repeated_;  // by the inode's number; the last one of each place
};

}  // namespace btfc::fs
