// What may wait until the disk is idle: names of working files, and objects that nobody needs.
#pragma once

#include <sys/stat.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "fs/content_source.h"
#include "fs/object_store.h"
#include "fs/object_table.h"
#include "fs/version_keeper.h"
#include "index/catalogue.h"

namespace btfc::fs {

// A committed file keeps its working name until its bytes and its row have reached the disk: what
// a power cut leaves is then either the version or the working file. A thread of its own; all
// calls from any thread.
class Collector {
 public:
  using OpenInodes = std::function<std::unordered_set<index::Ino>()>;
  Collector(index::Catalogue& catalogue, ObjectStore& store, ObjectTable& objects,
            ContentSource& source, std::chrono::milliseconds interval,
            const VersionPolicy& versions = {}, OpenInodes open = {});
  ~Collector();
  // Nothing goes before this: not while a crash is still being recovered from.
  void Start();
  // Ends the thread; with `finish` the names that wait go first.
  void Stop(bool finish);

  // The working name of `ino`, whose file was committed, may go when it is safe. `synced`: an
  // application asked for its bytes to be on the disk.
  void LetGo(index::Ino ino, bool synced);
  // The name is wanted for another file: what bears it now waits under a name beside it.
  void SetAside(index::Ino ino);
  // The file has no name left. Bytes that an application had synced are kept until the removal is
  // on the disk as well: after a power cut the file may be there again.
  void Removed(index::Ino ino);
  // The file changes, or is dropped: what its names stand for is not wanted any more. The name
  // work/INO itself is gone afterwards, too.
  void Forget(index::Ino ino);
  // A file went, or was replaced. On a nearly full disk its room is wanted soon.
  void FileGone();
  // How many of the names that wait are names of this file, which has one more in the store.
  unsigned NamesOf(index::Ino ino, const struct stat& file) const;

 private:
  struct Name {
    std::uint64_t since = 0;
    std::vector<std::filesystem::path> aside;
    bool plain = false;  // work/INO
    bool synced = false;
    bool operator==(const Name&) const = default;
  };

  using Clock = std::chrono::steady_clock;
  void Run();
  bool Stopping() const;
  void Unlink(index::Ino ino, const Name& name) const;
  void WaitForGone(std::unique_lock<std::mutex>& lock, Clock::time_point look,
                   Clock::time_point until);
  void LetNamesGo();
  void CollectObjects();
  bool Collect(const index::ContentId& id);
  void WithdrawAndWait(const index::ContentId& id);

  index::Catalogue& catalogue_;
  ObjectStore& store_;
  ObjectTable& objects_;
  ContentSource& source_;
  const std::chrono::milliseconds interval_;
  const VersionPolicy versions_;
  const OpenInodes open_;

  mutable std::mutex mutex_;  // guards what follows
  std::condition_variable changed_;
  std::unordered_map<index::Ino, Name> names_;
  std::uint64_t next_ = 1;
  bool started_ = false;
  std::atomic<bool> gone_ = false;  // something went since the last collection
  bool stopping_ = false;
  bool finish_ = false;

  std::thread thread_;
};

}  // namespace btfc::fs
