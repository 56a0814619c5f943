// Tells the kernel that what it caches is no longer so.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

#include "fs/node_table.h"

namespace btfc::fs {

// One thread of its own sends the notices: the kernel may make them wait for an operation that
// one of our workers is to answer.
//
// A notice of what other hosts changed is sent twice, the second time a while later. An answer that
// was computed before the change may reach the kernel's caches after the first notice, for as long
// as the process that asked is not scheduled.
class Invalidator {
 public:
  struct Notice {
    enum class What : std::uint8_t {
      kEntry,       // (node, name): look it up again. Never detaches mounts below it
      kFolder,      // the folder's attributes and cached listing
      kAttributes,  // size, times, mode ...
      kContent,     // attributes and cached pages
    };
    What what = What::kEntry;
    NodeId node = 0;
    std::string name;
    bool repeated = true;  // set by Queue
  };

  Invalidator() = default;
  ~Invalidator() { Stop(); }
  Invalidator(const Invalidator&) = delete;
  Invalidator& operator=(const Invalidator&) = delete;

  // Queues; returns at once. Before Start the notices wait. Any thread.
  enum class Repeat : std::uint8_t { kNo, kYes };
  void Queue(std::vector<Notice> notices, Repeat repeat = Repeat::kYes);
  // False if no kContent notice of this node waits to be sent for the first time. Else `then` is
  // called when it was sent, on the invalidator's thread.
  bool WhenSent(NodeId node, std::function<void()> then);
  // Returns when all that is queued was sent for the first time; at once before Start and after
  // Stop. Not from a worker: the kernel may make a notice wait for one.
  void WaitSent();

  // `device` must stay open until Stop.
  void Start(int device);
  void Stop();  // callbacks that still wait are called

 private:
  using Clock = std::chrono::steady_clock;
  struct Again {
    Clock::time_point due;
    std::vector<Notice> notices;
  };
  struct Waiting {
    std::size_t notices = 0;
    std::vector<std::function<void()>> then;
  };

  void Work();
  void Send(const std::vector<Notice>& notices, bool again) const;
  void Sent(const std::vector<Notice>& notices);

  int device_ = -1;
  std::thread thread_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::condition_variable sent_;
  std::vector<Notice> queue_;                    // guarded by mutex_
  std::deque<Again> again_;                      // guarded by mutex_
  std::unordered_map<NodeId, Waiting> waiting_;  // guarded by mutex_
  std::uint64_t to_send_ = 0;                    // notices ever queued; guarded by mutex_
  std::uint64_t has_sent_ = 0;                   // of these; guarded by mutex_
  bool started_ = false;                         // guarded by mutex_
  bool stopping_ = false;                        // guarded by mutex_
};

}  // namespace btfc::fs
