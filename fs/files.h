// The data side of the filesystem: open files, their working files, commits, reads that wait.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "fs/content_source.h"
#include "fs/object_store.h"
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
  unsigned hash_threads = 2;
  bool read_only = false;
};

// A call that may have to wait for bytes from other hosts answers through `done`: at once on the
// calling thread when nothing is missing, else later on another thread. Cancel makes a waiting call
// answer EINTR. No call blocks on a peer. All calls from any thread.
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
  // Commits everything that is quiet, waits for the commits in flight, then ends the threads.
  void Stop();

  Ticket Open(index::Ino ino, int flags, Done<Opened> done);
  // A file that Catalogue::Make has just made.
  Result<Opened> Create(index::Ino ino, int flags);
  Ticket Read(Handle handle, std::uint64_t offset, std::size_t length, Done<std::string> done);
  Result<std::size_t> Write(Handle handle, std::uint64_t offset, std::string_view bytes);
  // Every close() of a descriptor. What it returns for survives kill -9.
  Result<void> Flush(Handle handle);
  Result<void> Fsync(Handle handle, bool data_only);
  void Release(Handle handle);
  // SETATTR of the size, with or without a handle.
  Ticket Truncate(index::Ino ino, std::optional<Handle> handle, std::uint64_t size,
                  Done<void> done);
  Result<void> Allocate(Handle handle, int mode, std::uint64_t offset, std::uint64_t length);
  Result<std::uint64_t> Seek(Handle handle, std::uint64_t offset, int whence);
  Result<std::size_t> CopyRange(Handle in, std::uint64_t in_offset, Handle out,
                                std::uint64_t out_offset, std::size_t length);
  void Cancel(Ticket ticket);

  // Nothing if the catalogue's figures are the right ones.
  std::optional<LiveStat> Stat(index::Ino ino);
  // utimensat on a file that is being written.
  Result<bool> SetTimes(index::Ino ino, std::optional<std::int64_t> atime_ns,
                        std::optional<std::int64_t> mtime_ns);
  // The last name went away by an operation of this host: never commit it.
  void Unlinked(index::Ino ino);
  // The kernel forgot the inode, which has no name left.
  void Forgotten(index::Ino ino);

  // The catalogue got another content for this inode (a delta). True if the inode has open handles
  // that keep the old one: the mount gives the new content a new node.
  bool ContentChanged(index::Ino ino);
  // An object arrived whole.
  void Arrived(const index::ContentId& id);

  struct Status {
    std::uint64_t writing = 0;     // files open for writing or not yet committed
    std::uint64_t waiting = 0;     // reads that wait for bytes
  };
  Status GetStatus() const;

 private:
  class Impl;
  explicit Files(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace btfc::fs
