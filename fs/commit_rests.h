// How long a file that changes all the time waits for its next version.
#pragma once

#include <chrono>
#include <mutex>
#include <unordered_map>

#include "index/catalogue.h"

namespace btfc::fs {

// A version costs a pass over the file. The first ones are made at once; of a file that changes
// again and again, as a log or a disk image does, the later ones wait for a while that grows with
// what they cost. Any thread.
class CommitRests {
 public:
  using Clock = std::chrono::steady_clock;

  // A version was made, or found to be none, by so long a pass.
  void Made(index::Ino ino, Clock::duration cost, Clock::time_point now);
  // What is left of the wait; zero if there is none.
  Clock::duration Left(index::Ino ino, Clock::time_point now) const;

 private:
  struct Rest {
    Clock::time_point made;
    Clock::time_point until;
    unsigned times = 0;  // in a row
  };

  mutable std::mutex mutex_;
  std::unordered_map<index::Ino, Rest> rests_;  // guarded by mutex_
};

}  // namespace btfc::fs
