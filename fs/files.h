// The data side of the filesystem: open files, their working files, commits, reads that wait.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "fs/content_source.h"
#include "fs/object_store.h"
#include "fs/version_keeper.h"
#include "index/catalogue.h"

namespace btfc::fs {

// How the kernel handles an open file; fixed by the first open of an inode until its last release
// (mixing them is EIO, except that direct goes with anything).
enum class KernelMode : std::uint8_t { kPassthrough, kCached, kDirect };

// The FUSE passthrough ioctls; plugged in by the mount. Absent when the mount may not use them.
class Backing {
 public:
  virtual ~Backing() = default;
  virtual Result<int> Register(int fd) = 0;  // fd opened O_RDONLY; answers the backing id
  virtual void Unregister(int backing_id) = 0;
  // A mapping may have written to the file after its last writer closed it: its times moved and
  // the kernel does not know. Any thread, no lock held.
  virtual void TimesMoved(index::Ino /*ino*/) {}
};

using Handle = std::uint64_t;

struct Opened {
  Handle handle = 0;
  KernelMode mode = KernelMode::kCached;
  int backing_id = 0;       // kPassthrough
  bool keep_cache = false;  // kCached: pages of an earlier open are still right
};

// Size, blocks and times of a file whose bytes are being written here.
struct LiveStat {
  std::uint64_t size = 0;    // bytes
  std::uint64_t blocks = 0;  // of 512 bytes
  std::int64_t mtime_ns = 0;
  std::int64_t ctime_ns = 0;
};

struct FilesOptions {
  std::chrono::milliseconds read_timeout{60000};
  std::chrono::milliseconds collect_interval{60000};  // between looks for objects nobody needs
  std::chrono::milliseconds stop_timeout{30000};      // what Stop waits for commits
  std::chrono::milliseconds commit_retry{1000};       // after a full disk or the like; then longer
  unsigned commit_workers = 2;
  unsigned hash_threads = std::max(1U, std::thread::hardware_concurrency());  // of one big file
  bool read_only = false;
  VersionPolicy versions;
};

// A call that may have to wait for bytes from other hosts answers through `done`: at once on the
// calling thread when nothing is missing, else later on another thread (a waiting open, while a big
// file is copied, too). Cancel makes a waiting call answer EINTR. No call blocks on a peer. All
// calls from any thread, with no lock held that `done` takes.
//
// Start ignores SIGIO for the whole process: leases on working files are broken by it.
//
// Order: Stat before Catalogue::Get. The other way round a commit in between shows neither the
// working file's size nor the new version's.
//
// A file in its life (DESIGN 6): the states are FileState's phases in file_state.h.
class Files {
 public:
  template <class T>
  using Done = std::function<void(Result<T>)>;
  using Ticket = std::uint64_t;  // 0: was answered already

  static Result<std::unique_ptr<Files>> Start(index::Catalogue& catalogue, ObjectStore& store,
                                              ContentSource& source, const FilesOptions& options);
  ~Files();
  // Called once when the mount knows whether passthrough works; nullptr: it does not.
  void SetBacking(Backing* backing);
  // Commits what was left dirty by a crash. Before the mount answers.
  Result<void> Recover();
  // After the end of the mount: handles count as released, as the kernel may have had no time to
  // say so. Commits everything that nobody can write to any more, within stop_timeout, then ends
  // the threads.
  void Stop();

  Ticket Open(index::Ino ino, int flags, Done<Opened> done);
  // A file that Catalogue::Make has just made; nobody else opened it before. mknod of a regular
  // file: Create, then Release, or nobody commits the empty file.
  Result<Opened> Create(index::Ino ino, int flags);
  Ticket Read(Handle handle, std::uint64_t offset, std::size_t length, Done<std::string> done);
  // Of an object, whether any file has it open or not: what an earlier version was.
  Ticket ReadContent(const index::ContentId& content, std::uint64_t offset, std::size_t length,
                     Done<std::string> done);
  Result<std::size_t> Write(Handle handle, std::uint64_t offset, std::string_view bytes);
  // Every close() of a descriptor. What it returns for survives kill -9: the bytes are in the
  // working file by then, and the note of BeginWrite in the database.
  Result<void> Flush(Handle handle);
  Result<void> Fsync(Handle handle, bool data_only);
  // Also of a handle whose open reply the kernel refused.
  void Release(Handle handle);
  // SETATTR of the size, with or without a handle.
  Ticket Truncate(index::Ino ino, std::optional<Handle> handle, std::uint64_t size,
                  Done<void> done);
  Result<void> Allocate(Handle handle, int mode, std::uint64_t offset, std::uint64_t length);
  Result<std::uint64_t> Seek(Handle handle, std::uint64_t offset, int whence);
  Result<std::size_t> CopyRange(Handle in, std::uint64_t in_offset, Handle out,
                                std::uint64_t out_offset, std::size_t length);
  // Fine if it was answered already, or never was a ticket.
  void Cancel(Ticket ticket);

  // Commits so far. If it is the same before a Catalogue::Lookup and after Stat, then no commit
  // came between the two.
  std::uint64_t Commits() const;
  // Nothing if the catalogue's figures are the right ones.
  std::optional<LiveStat> Stat(index::Ino ino);
  // What a committed content takes of the disk, in blocks of 512 bytes: fewer than its size says if
  // it has holes. Nothing if it is in the index, or not here.
  std::optional<std::uint64_t> BlocksOf(const index::Content& content) const;
  // Of the content that this handle has, which a newer one may have superseded.
  std::optional<LiveStat> StatOfOpen(Handle handle);
  // utimensat. True: done on the working file, and the next version gets the time. False: nothing
  // is being written here, Catalogue::SetAttributes is to be called. Waits while Busy.
  Result<bool> SetTimes(index::Ino ino, std::optional<std::int64_t> atime_ns,
                        std::optional<std::int64_t> mtime_ns);
  // True while SetTimes would have to wait for a copy or a commit of this file.
  bool Busy(index::Ino ino);
  // Whether an object of the store perhaps does not hold what its name says: after a crash until it
  // was read again, or because damage was found. Any thread.
  bool Doubtful(const index::ContentId& id) const;
  // The last name went away by an operation of this host: never commit it.
  void Unlinked(index::Ino ino);
  // The kernel forgot the inode, which has no name left.
  void Forgotten(index::Ino ino);

  // The catalogue got another content for this inode (a delta). True if the inode has open handles
  // that keep the old one: the mount gives the new content a new node. While the file is being
  // copied or committed here, which may take minutes, nothing: `later` gets the answer afterwards,
  // unless Stop comes before.
  std::optional<bool> ContentChanged(index::Ino ino, std::function<void(bool)> later);
  // An object's bytes turned out wrong, and it is not here any more: what the kernel keeps of it is
  // read again at the next open.
  void Lost(const index::ContentId& id);
  // An object arrived whole.
  void Arrived(const index::ContentId& id);

  struct Status {
    std::uint64_t writing = 0;  // files open for writing or not yet committed
    std::uint64_t waiting = 0;  // reads that wait for bytes
  };
  Status GetStatus() const;
  // A file that is open for writing, or whose last version is not committed yet.
  struct Writing {
    index::Ino ino = 0;
    std::int64_t since_ns = 0;  // wall clock
    bool open = false;          // somebody has it open for writing
    std::error_code failure;    // why it could not be committed; it is tried again
  };
  // The oldest first, at most `limit`.
  std::vector<Writing> ListWriting(std::size_t limit) const;
  // Those whose commit failed last time, all of them, the oldest first.
  std::vector<Writing> ListFailing() const;

 private:
  class Impl;
  explicit Files(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace btfc::fs
