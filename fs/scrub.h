// Reads every object of the store again, slowly, and has those that are damaged or missing fetched
// anew from other hosts.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "fs/content_source.h"
#include "fs/object_store.h"
#include "index/catalogue.h"

namespace btfc::fs {

struct ScrubOptions {
  std::uint64_t bytes_per_second = std::uint64_t{8} << 20U;  // in the background; 0: no limit
  std::chrono::seconds first_pass{3600};                     // after the start
  std::chrono::seconds between{std::chrono::hours(24 * 30)};
  // A file without a row that is younger may be about to get one.
  std::chrono::seconds stray_age{3600};
  // While it answers true no stray is removed: another index than the present one needs them.
  std::function<bool()> keep_strays;
};

// What a pass found, or has found so far.
struct ScrubReport {
  bool running = false;
  std::uint64_t objects = 0;  // looked at
  std::uint64_t bytes = 0;
  std::uint64_t damaged = 0;     // bytes that are not what their name says
  std::uint64_t missing = 0;     // no file, though the catalogue says so
  std::uint64_t unreadable = 0;  // the disk answers with an error
  std::uint64_t strays = 0;      // files that no row needs, removed
  std::int64_t ended_ns = 0;     // when the last whole pass ended, wall clock; 0: none yet
};

// A content that was found damaged or missing and has not come back.
struct LostContent {
  index::ContentId id;
  std::vector<std::string> paths;  // of files that have it now, some of them
};

// A thread of its own does the reading; all calls from any thread. A damaged object never counts
// as a change of a file: the catalogue only learns that its bytes are not here.
class Scrub {
 public:
  // `lost`: the object's bytes are not here any more; pages and descriptors of it are not to be
  // trusted, and it is wanted from the swarm. Called on the scrub's thread.
  Scrub(index::Catalogue& catalogue, ObjectStore& store, ContentSource& source,
        const ScrubOptions& options, std::function<void(const index::ContentId&)> lost);
  ~Scrub();  // ends the thread, in the middle of a file if need be
  Scrub(const Scrub&) = delete;
  Scrub& operator=(const Scrub&) = delete;

  // A pass at full speed, now (btfc verify). One that runs already goes on at full speed.
  void Verify();
  ScrubReport Report() const;
  std::vector<LostContent> Lost();

 private:
  enum class Verdict { kGood, kDamaged, kMissing, kUnreadable, kLeft };

  void Run();
  void Pass();
  void CheckOne(const index::ContentId& id);
  Verdict Look(const index::ContentId& id);
  void TakeOut(const index::ContentId& id, Verdict verdict);
  void RemoveStrays();
  void LookAtStray(const std::filesystem::path& file);
  bool WaitForPace(std::uint64_t bytes);
  bool Stopping() const;
  std::vector<std::string> PathsOf(const index::ContentId& id);

  index::Catalogue& catalogue_;
  ObjectStore& store_;
  ContentSource& source_;
  const ScrubOptions options_;
  const std::function<void(const index::ContentId&)> lost_;

  mutable std::mutex mutex_;  // guards what follows
  std::condition_variable changed_;
  bool stopping_ = false;
  bool asked_ = false;  // by Verify
  bool fast_ = false;
  ScrubReport report_;
  std::map<index::ContentId, std::vector<std::string>> gone_;

  std::thread thread_;  // last: it uses the others
};

}  // namespace btfc::fs
