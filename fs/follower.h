// A worker that stays with the thread it works for.
#pragma once

#include <sys/types.h>

namespace btfc::fs {

// One thread that asks for one thing after the other, and the worker that answers it, never run at
// the same time. On one CPU they hand over to each other; on two, one of these has to be woken from
// its sleep for every request and every answer. Of the thread that has the turn; no locks.
class Follower {
 public:
  // A request of this thread (fuse_in_header::pid; 0: nobody's) has come. Moves the calling thread
  // now and then, if there were many in a row.
  void Asked(pid_t asker);

 private:
  pid_t asker_ = 0;
  unsigned in_row_ = 0;
};

}  // namespace btfc::fs
