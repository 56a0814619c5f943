// What is known of one inode while it has open handles or bytes that are not committed.
#pragma once

#include <sys/stat.h>

#include <atomic>
#include <condition_variable>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "fs/alarm.h"
#include "fs/fd.h"
#include "fs/files.h"
#include "fs/object_table.h"
#include "fs/pending_calls.h"
#include "fs/written_ranges.h"

namespace btfc::fs {

// The content's state. A file without a name is an orphan in any of them (FileState::orphan).
enum class Phase : std::uint8_t {
  kUnloaded,  // the catalogue was not asked yet
  kAbsent,    // an object that is not, or not wholly, here
  kInline,    // bytes from the index
  kClean,     // an object in the store, or a working file that holds what was committed
  kWriting,   // a working file with writers
  kSettling,  // no writer is counted, but a mapping may still write
  kHashing,   // nothing can write: being hashed and committed
};

// What the working file was when its bytes could begin to change.
struct WriteBase {
  std::optional<index::ContentId> content;  // nothing: the file has no version yet
  struct stat noted {};
  bool comparable = false;   // noted times tell whether anything was written since
  bool taken = false;        // the working file is the object's own file
  bool passthrough = false;  // a kernel handle may write past the daemon
  // What the daemon has written, if the working file began with the bytes of `content`.
  std::optional<WrittenRanges> written;
  bool synced = false;        // an application asked for the disk: the working name goes late
  bool unchanged = false;     // kClean: that write changed nothing
  bool unnoted = false;       // found after a crash, and the catalogue knew nothing of it
  bool note_durable = false;  // BeginWrite's note has reached the disk
  bool name_durable = false;  // and so has the working file's name
};

struct OpenCall;
struct ReadCall;

// `mutex` is taken before the object table's and before Impl's locks, never two of them at once.
// It is held over short catalogue calls and system calls on local files, never over copying,
// hashing, committing, callbacks, or calls of the ContentSource: for those `busy` is set, and who
// wants to change the phase waits in `parked` (or on `idle`, where the call is short).
// In the order of what belongs together: there are few of them.
struct FileState {  // NOLINT(clang-analyzer-optin.performance.Padding)
  explicit FileState(index::Ino number) : ino(number) {}

  const index::Ino ino;
  std::atomic<std::uint64_t> hash_epoch{0};  // a hashing job stops when it changes

  std::mutex mutex;  // guards what follows
  std::condition_variable idle;
  Phase phase = Phase::kUnloaded;
  bool busy = false;
  bool dropped = false;   // not in Impl's table any more; who finds it so looks again
  bool detached = false;  // superseded under its readers
  bool orphan = false;    // the last name went away here

  // --- bytes
  index::ContentId content;                  // kAbsent, kInline, kClean
  bool versionless = false;                  // kInline: empty, and never committed
  std::int64_t mtime_ns = 0;                 // of `content`
  std::shared_ptr<const std::string> bytes;  // kInline
  std::unique_ptr<ObjectUse> object;         // kClean from the store
  std::shared_ptr<const Fd> file;            // else: the working file, O_RDONLY
  std::shared_ptr<const Fd> writable;        // the working file, O_RDWR, opened when needed
  bool work_name = false;                    // `file` has the name work/INO
  WriteBase base;                            // kWriting, kSettling, kHashing
  std::uint64_t write_round = 0;             // counts what `base` was so far
  std::int64_t dirty_since_ns = 0;           // wall clock; 0: since a crash
  bool times_set = false;                    // SetTimes came while it was dirty
  // While a commit is under way: the ctime to show, whatever the commit does to the file.
  std::optional<std::int64_t> frozen_ctime_ns;
  unsigned lease_tries = 0;  // kSettling
  unsigned commit_tries = 0;
  std::error_code commit_failure;  // why the last commit failed; none: it did not
  bool watched = false;            // the alarm tells when a writer has closed it
  bool lease_waits = false;        // until a mapping goes; nobody knows when
  Alarm::Id lease_alarm = 0;

  // --- handles
  unsigned handles = 0;            // of the kernel
  unsigned writers = 0;            // handles that may write, and truncations in flight
  std::optional<KernelMode> mode;  // set while handles > 0
  int backing_id = 0;              // kPassthrough
  bool pages_good = false;         // what the kernel has cached of it is right

  // --- waiting
  std::list<std::shared_ptr<OpenCall>> parked;
  std::list<std::function<void(bool)>> changed;  // busy: who told of a change from elsewhere
  std::list<std::shared_ptr<ReadCall>> reads;    // kAbsent
  bool delivered = false;                        // kAbsent: somebody has read bytes of `content`
  std::shared_ptr<ReadCall> fetch;               // the whole object was asked for
  Alarm::Id fetch_alarm = 0;
  std::uint64_t fetched_blocks = 0;  // of the partial file, when last looked at

  bool Dirty() const {
    return phase == Phase::kWriting || phase == Phase::kSettling || phase == Phase::kHashing;
  }
  // The ctime that stat shows of the working file; 0: the catalogue's, as nothing has happened to
  // the file since it was made of the version's bytes, which moved its own.
  std::int64_t Ctime_ns(const struct stat& now) const;
  // The daemon is about to write to the working file.
  void NoteWrite(std::uint64_t offset, std::uint64_t length) {
    if (base.written) base.written->Add(offset, length);
  }
  void NoteCut(std::uint64_t size) {
    if (base.written) base.written->AddFrom(size);
  }
  // The open file that holds the bytes, if any.
  std::shared_ptr<const Fd> ReadableFile() const {
    if (file) return file;
    return object ? object->fd() : nullptr;
  }
};

// An open, or a truncation, that cannot be answered yet.
struct OpenCall {
  index::Ino ino = 0;
  int flags = 0;
  bool internal = false;     // counts as a writer but is no handle of the kernel
  Files::Done<Opened> done;  // of the kernel's
  std::function<void(Result<std::shared_ptr<FileState>>)> ready;  // of an internal one
  PendingCalls::Ticket ticket = 0;

  std::mutex mutex;  // guards what follows; taken after the state's
  std::weak_ptr<FileState> parked_in;

  bool writes() const { return (flags & O_ACCMODE) != O_RDONLY || (flags & O_TRUNC) != 0; }
};

// A read of bytes that are not here.
struct ReadCall {
  std::uint64_t offset = 0;
  std::size_t length = 0;
  Files::Done<std::string> done;
  PendingCalls::Ticket ticket = 0;
  // The ContentSource's number of the request; it is known only when Request has returned.
  std::mutex mutex;
  std::uint64_t request = 0;
  bool given_up = false;
};

struct OpenHandle {
  std::shared_ptr<FileState> state;
  bool writer = false;
};

}  // namespace btfc::fs
