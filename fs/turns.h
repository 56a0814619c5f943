// Which of a session's workers reads the kernel's requests.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <mutex>

namespace btfc::fs {

// One worker reads, and answers itself what it has read: to wake another thread for it would cost
// more than most requests do. Before one that takes longer it gives the turn away; and another
// worker takes it if a request takes longer than was thought. All calls but End from workers.
class Turns {
 public:
  // What its holder knows of the turn.
  using Turn = std::uint64_t;

  // Waits for the turn; false: it has ended.
  bool Take(Turn* turn);
  // A request was read, and is going to be answered.
  void Begin(Turn* turn);
  // It was answered. False if another worker has got the turn meanwhile.
  bool Done(Turn* turn);
  // By whoever answers a request: it is going to take long, so another worker reads on. Nothing
  // happens if the calling thread has no turn.
  static void GiveAway();
  // All workers get out of Take. From any thread.
  void End();

 private:
  // Until the turn is free, or all has ended: takes it from a worker that has been at one request
  // for too long. With the lock.
  void Watch(std::unique_lock<std::mutex>& lock);
  // Makes the turn free, if it still is the one that `word` says. With the lock.
  bool PassOn(Turn word);

  // Twice the number of requests and turns so far, + 1 while a request is being answered. Who has
  // the turn knows its value; when somebody else changes it, the turn is lost to him. While no
  // request is being answered only he changes it.
  std::atomic<Turn> word_{0};
  // A waiting worker looks at the word now and then. It ends when nothing happens, and has to be
  // told when something does.
  std::atomic<bool> watched_{false};

  std::mutex mutex_;               // guards what follows
  std::condition_variable next_;   // for those who wait only
  std::condition_variable watch_;  // for the one who watches
  bool free_ = true;
  bool watching_ = false;
  int waiting_ = 0;  // beside the one who watches
  bool ended_ = false;
};

}  // namespace btfc::fs
