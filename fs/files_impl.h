// The inside of Files; see file_state.h for the state of one inode and the order of locks.
//
// files.cc         the tables, changes from elsewhere, the end
// files_io.cc      calls by an open file that never wait for another host
// files_open.cc    opens and truncations, and the ones that are parked
// files_work.cc    making a working file of what is there
// files_read.cc    reads, whole fetches, arrivals
// files_settle.cc  from the last writer's release until nothing can write to the file
// files_commit.cc  hashing it, the version in the catalogue
// files_recover.cc what a crash left
// collector.cc     working names that may go, objects that nobody needs
#pragma once

#include <atomic>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "fs/alarm.h"
#include "fs/beside.h"
#include "fs/collector.h"
#include "fs/commit_pace.h"
#include "fs/commit_rests.h"
#include "fs/file_state.h"
#include "fs/files.h"
#include "fs/object_table.h"
#include "fs/pending_calls.h"
#include "fs/spare_files.h"
#include "fs/workers.h"

namespace btfc::fs {

// What is to be done once the lock below it is let go: answers, calls of the ContentSource.
// Declare it before the lock.
class Later {
 public:
  Later() = default;
  Later(const Later&) = delete;
  Later& operator=(const Later&) = delete;
  ~Later() {
    for (const auto& step : steps_) step();
  }
  void Add(std::function<void()> step) { steps_.push_back(std::move(step)); }

 private:
  std::vector<std::function<void()>> steps_;
};

class Files::Impl {
 public:
  Impl(index::Catalogue& catalogue, ObjectStore& store, ContentSource& source,
       const FilesOptions& options, std::unique_ptr<Alarm> alarm);
  ~Impl();

  // The calls of Files.
  void SetBacking(Backing* backing) { backing_ = backing; }
  Result<void> Recover();
  void Stop();
  Ticket Open(index::Ino ino, int flags, Done<Opened> done);
  Result<Opened> Create(index::Ino ino, int flags);
  Ticket Read(Handle handle, std::uint64_t offset, std::size_t length, Done<std::string> done);
  Ticket ReadContent(const index::ContentId& content, std::uint64_t offset, std::size_t length,
                     Done<std::string> done);
  Result<std::size_t> Write(Handle handle, std::uint64_t offset, std::string_view bytes);
  Result<void> Flush(Handle handle);
  Result<void> Fsync(Handle handle, bool data_only);
  void Release(Handle handle);
  Ticket Truncate(index::Ino ino, std::optional<Handle> handle, std::uint64_t size,
                  Done<void> done);
  Result<void> Allocate(Handle handle, int mode, std::uint64_t offset, std::uint64_t length);
  Result<std::uint64_t> Seek(Handle handle, std::uint64_t offset, int whence);
  Result<std::size_t> CopyRange(Handle in, std::uint64_t in_offset, Handle out,
                                std::uint64_t out_offset, std::size_t length);
  void Cancel(Ticket ticket) { pending_.Cancel(ticket, Errno(EINTR)); }
  std::uint64_t Commits() const { return commits_; }
  std::optional<LiveStat> Stat(index::Ino ino);
  std::optional<std::uint64_t> BlocksOf(const index::Content& content) const;
  std::optional<LiveStat> StatOfOpen(Handle handle);
  bool Busy(index::Ino ino);
  bool Doubtful(const index::ContentId& id) const;
  Result<bool> SetTimes(index::Ino ino, std::optional<std::int64_t> atime_ns,
                        std::optional<std::int64_t> mtime_ns);
  void Unlinked(index::Ino ino);
  void Forgotten(index::Ino ino);
  std::optional<bool> ContentChanged(index::Ino ino, std::function<void(bool)> answer);
  void Lost(const index::ContentId& id);
  void Arrived(const index::ContentId& id);
  Status GetStatus() const;
  std::vector<Writing> ListWriting() const;

 private:
  using State = std::shared_ptr<FileState>;
  enum class Step { kGo, kWait };

  // How the working file of an object comes about.
  struct Conversion {
    std::unique_ptr<ObjectUse> object;
    std::int64_t mtime_ns = 0;
    bool ours = false;   // nothing outside the store knows the object's file
    bool take = false;   // it is the object's own file
    bool keep = false;   // the object stays in the store
    bool quick = false;  // no long copy
  };

  // --- tables (files.cc)
  std::unordered_set<index::Ino> OpenInodes() const;
  State StateOf(index::Ino ino);  // made if there is none
  State FindState(index::Ino ino) const;
  // Locked, and still in the table.
  std::pair<State, std::unique_lock<std::mutex>> LockedState(index::Ino ino);
  std::pair<State, std::unique_lock<std::mutex>> FindLockedState(index::Ino ino);
  std::optional<OpenHandle> Find(Handle handle) const;
  void Drop(const State& state);
  void MaybeDrop(const State& state, Later& later);
  void EndMode(FileState& state, Later& later);
  void ReleaseAll();
  void EndBusy(const State& state, Later& later);
  bool PagesKept(index::Ino ino, const index::ContentId& content) const;
  Result<std::shared_ptr<const Fd>> Writable(FileState& state);

  // --- opens (files_open.cc); all with the state's lock held
  void TryOpen(const State& state, const std::shared_ptr<OpenCall>& call, Later& later);
  Result<Step> Attempt(const State& state, const OpenCall& call, Later& later);
  void Park(const State& state, const std::shared_ptr<OpenCall>& call);
  void Grant(const State& state, const std::shared_ptr<OpenCall>& call, Later& later);
  void Fail(const std::shared_ptr<OpenCall>& call, std::error_code why, Later& later);
  void RunParked(const State& state, Later& later);
  void FailParkedWrites(const State& state, std::error_code why, Later& later);
  Opened AddHandle(const State& state, bool writer);
  KernelMode ChooseMode(FileState& state);
  Result<void> Load(const State& state, Later& later);
  Result<void> LoadObject(const State& state, const index::Content& content, Later& later);
  Ticket OpenInternally(index::Ino ino, int flags, std::function<void(Result<State>)> ready);
  void CloseInternally(const State& state);

  // --- working files (files_work.cc)
  Result<Step> BeginWriting(const State& state, bool truncate, Later& later);
  Result<void> NewWorkFile(const State& state, bool truncate, Later& later);
  Result<std::shared_ptr<const Fd>> MakeWorkFile(index::Ino ino, std::string_view bytes,
                                                 std::optional<std::int64_t> mtime_ns);
  Result<Step> ResumeWriting(FileState& state, bool truncate);
  Result<Step> ReuseWorkFile(FileState& state, bool truncate);
  Result<void> TruncateWorkFile(FileState& state);
  Result<void> EnterWriting(FileState& state, std::optional<index::ContentId> base);
  bool NamedOutside(index::Ino ino, const struct stat& object) const;
  void StartConversion(const State& state, Later& later);
  Result<std::shared_ptr<const Fd>> MakeWorkFile(const FileState& state, Conversion& plan);
  void Convert(const State& state, const std::shared_ptr<Conversion>& plan);
  Result<void> CopyToWork(const FileState& state, const Conversion& plan, bool durable);
  Result<void> TakeObject(const FileState& state, Conversion& plan);
  Result<void> ExchangeObject(const FileState& state, Conversion& plan);

  // --- bytes of other hosts (files_read.cc)
  Ticket ReadAbsent(const State& state, std::uint64_t offset, std::size_t length,
                    Done<std::string> done, std::unique_lock<std::mutex> lock);
  void FinishAbsentRead(const State& state, const index::ContentId& content,
                        const std::shared_ptr<ReadCall>& call, const Result<void>& fetched);
  void GiveUp(ReadCall& call);
  Result<std::string> ReadFetched(const index::ContentId& content, std::uint64_t offset,
                                  std::size_t length) const;
  void RestartReads(const State& state, Later& later);
  void StartFetch(const State& state, Later& later);
  void StopFetch(FileState& state, Later& later);
  void FetchEnded(const State& state, const std::shared_ptr<ReadCall>& fetch,
                  const Result<void>& fetched);
  void WatchFetch(const State& state);
  std::uint64_t FetchedBlocks(const index::ContentId& content) const;
  void NoteWaiting(const State& state);
  void Strand(const State& state);
  void MoveOn(const State& state, Later& later);
  void TakeArrived(const State& state, Later& later);

  // --- until a file is quiet (files_settle.cc)
  void Settle(const State& state, Later& later);
  void TryLease(const State& state, Later& later);
  void LeaseRefused(const State& state);
  bool Rests(const State& state, const struct stat& now);
  void RetrySettling(const State& state, bool by_watch);
  std::function<void()> RetryLater(const State& state, bool by_watch);

  // --- commits (files_commit.cc)
  bool Unchanged(const FileState& state, const struct stat& now) const;
  bool Differs(const FileState& state, const index::ContentId& id) const;
  void CommitQuiet(const State& state, std::uint64_t epoch);
  void CommitSmall(const State& state, const struct stat& now);
  std::optional<index::EarlierFile> Earlier(WriteBase base, int file,
                                            const std::function<bool()>& cancelled) const;
  void HashAndCommit(const State& state, std::uint64_t epoch);
  void Publish(const State& state, index::NewVersion version, bool changed);
  Result<void> Abandon(const FileState& state, const index::NewVersion& version);
  Result<std::unique_ptr<ObjectUse>> PublishObject(FileState& state,
                                                   const index::NewVersion& version);
  Result<std::unique_ptr<ObjectUse>> ReturnObject(FileState& state, const index::ContentId& id);
  void Committed(const State& state, const index::NewVersion& version,
                 std::unique_ptr<ObjectUse> own, bool changed, Later& later);
  void KeepBytes(FileState& state, const index::NewVersion& version);
  void CommitFailed(const State& state, std::error_code why, Later& later);
  // The working name goes, now or when what it stands for has reached the disk. `last`: the file,
  // if nobody needs it any more.
  void ReleaseWorkName(FileState& state, const std::shared_ptr<const Fd>& last);

  // --- recovery (files_recover.cc)
  struct Leftovers;
  Result<Leftovers> ReadWorkFolder();
  Result<void> UnshareWorkFiles(Leftovers& left);
  void RestorePlain(Leftovers& left);
  bool IsVersion(index::Ino ino, const std::function<bool(const index::VersionInfo&)>& is) const;
  bool HoldsVersion(index::Ino ino, const std::filesystem::path& path) const;
  Result<void> RecoverWorkFile(index::Ino ino, bool noted);
  Result<void> RecoverUnnoted(index::Ino ino);
  Result<void> RecoverWithoutWorkFile(index::Ino ino);
  void VerifyCommitted(const index::ContentId& id);
  void RecoverPresence();

  // --- constant after construction
  index::Catalogue& catalogue_;
  ObjectStore& store_;
  ContentSource& source_;
  const FilesOptions options_;
  const std::unique_ptr<Alarm> alarm_;

  std::atomic<Backing*> backing_{nullptr};
  std::atomic<std::uint64_t> commits_{0};
  std::atomic<bool> commits_fail_{false};
  std::atomic<bool> backing_refused_{false};
  std::atomic<bool> stopping_{false};  // waiting calls are not begun any more
  std::atomic<bool> abandon_{false};   // jobs end without doing their work
  PendingCalls pending_;
  ObjectTable objects_;
  SpareFiles spares_;
  Workers workers_;
  Beside beside_;  // commits of files that are closed one after the other
  Collector collector_;
  CommitRests rests_;
  CommitPace pace_;

  mutable std::mutex tables_mutex_;  // guards what follows; taken after any FileState's
  std::unordered_map<index::Ino, State> states_;
  std::unordered_map<Handle, OpenHandle> handles_;
  Handle next_handle_ = 1;
  std::multimap<index::ContentId, std::weak_ptr<FileState>> waiting_;
  // Superseded under readers that wait and have got nothing.
  std::vector<std::weak_ptr<FileState>> stranded_;
  // Inodes without a state of which the kernel may have right pages: a mark of their content.
  std::unordered_map<index::Ino, std::uint64_t> kept_pages_;
  std::set<index::ContentId> doubtful_;
};

}  // namespace btfc::fs
