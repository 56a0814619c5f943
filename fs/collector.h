// What may wait until the disk is idle: names of working files, and objects that nobody needs.
#pragma once

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <unordered_map>

#include "fs/content_source.h"
#include "fs/object_store.h"
#include "fs/object_table.h"
#include "index/catalogue.h"

namespace btfc::fs {

// A committed file keeps its working name until its bytes and its row have reached the disk: what
// a power cut leaves is then either the version or the working file. A thread of its own; all
// calls from any thread.
class Collector {
 public:
  Collector(index::Catalogue& catalogue, ObjectStore& store, ObjectTable& objects,
            ContentSource& source, std::chrono::milliseconds interval);
  ~Collector();
  // Objects are looked for from now on (not before recovery).
  void Start();
  // Lets the names go that wait, then ends the thread.
  void Stop();

  // The working name of `ino`, whose file was committed, may go when it is safe.
  void LetGo(index::Ino ino);
  // The name will be used again, or is gone. True if it was there and waited.
  bool Forget(index::Ino ino);
  bool Waits(index::Ino ino) const;

 private:
  void Run();
  void LetNamesGo();
  void CollectObjects();
  bool Collect(const index::ContentId& id);
  void WithdrawAndWait(const index::ContentId& id);

  index::Catalogue& catalogue_;
  ObjectStore& store_;
  ObjectTable& objects_;
  ContentSource& source_;
  const std::chrono::milliseconds interval_;

  mutable std::mutex mutex_;  // guards what follows
  std::condition_variable changed_;
  std::unordered_map<index::Ino, std::uint64_t> names_;  // and when they came
  std::uint64_t next_ = 1;
  bool started_ = false;
  bool stopping_ = false;

  std::thread thread_;
};

}  // namespace btfc::fs
