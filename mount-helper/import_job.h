// Files that were in the folder before the mount covered it.
#pragma once

#include <atomic>
#include <condition_variable>
#include <filesystem>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "fs/fd.h"
#include "fs/import.h"
#include "fs/mount.h"
#include "fs/object_store.h"
#include "index/catalogue.h"
#include "mount-helper/import_record.h"
#include "mount-helper/options.h"
#include "torrent/swarm.h"

namespace btfc::mount_helper {

// Takes in what lies below the mount: at a cluster's first mount by itself (import=), later when
// asked. Works on a thread of its own; all calls from any thread.
class ImportJob {
 public:
  // Marks the cache, before its index is made, as one whose first import is still to be done; an
  // interrupted import goes on at the next mount.
  static void NotePending(const std::filesystem::path& cache);

  // `mount` is told of the names that appear.
  ImportJob(const MountRequest& request, fs::Fd below, index::Catalogue& catalogue,
            fs::ObjectStore& store, const torrent::Swarm& swarm, fs::Mount& mount);
  ~ImportJob();  // cancels
  ImportJob(const ImportJob&) = delete;
  ImportJob& operator=(const ImportJob&) = delete;

  // The first import if it is pending, else a word if something new lies there. `ready` is
  // called when the person who mounts need not wait any longer: at once, or on a terminal after
  // the import, with progress through `say` meanwhile.
  void Start(std::function<void(const std::string&)> say, std::function<void()> ready);
  // `btfc import`. EBUSY while one runs.
  Result<void> Again();

  // One line for `btfc status`; empty if there is nothing to say.
  std::string Describe() const;
  // What the last import could not take in; the first few.
  std::vector<fs::ImportProgress::Failure> Failures() const;

 private:
  void Launch(std::function<void()> work);
  void LookForNews();
  void TakeUp();
  void WaitForIndex();
  fs::ImportOptions Options() const;
  void LeaveAll();
  void ImportNew(const std::function<void(const std::string&)>& say);
  Result<fs::ImportProgress> Import(ImportRecord& record, const ImportRecord::News& news,
                                    const std::function<void(const std::string&)>& say);
  void WaitForPeers();
  bool Cancelled();
  void Describe(std::string text);

  const MountRequest& request_;
  const fs::Fd below_;
  index::Catalogue& catalogue_;
  fs::ObjectStore& store_;
  const torrent::Swarm& swarm_;
  fs::Mount& mount_;

  mutable std::mutex mutex_;
  std::condition_variable cancel_;
  bool cancelled_ = false;                             // guarded by mutex_
  bool running_ = false;                               // guarded by mutex_
  std::string description_;                            // guarded by mutex_
  std::vector<fs::ImportProgress::Failure> failures_;  // guarded by mutex_
  std::thread thread_;
};

}  // namespace btfc::mount_helper
