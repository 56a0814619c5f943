// Makes one system call of the filesystem or the index fail. The calls of fs/ and index/ come here
// by the linker's --wrap, those of SQLite by its table of system calls, and every fsync by this
// program's own; the code under test knows nothing of it.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <filesystem>
#include <string>

namespace btfc::fs {

// One at a time. Counted are the calls of all threads that change the disk, or open something.
class IoFaults {
 public:
  // The `nth` call from now on (from 1) answers `error`, once; 0: none does.
  IoFaults(unsigned nth, int error);
  ~IoFaults();
  IoFaults(const IoFaults&) = delete;
  IoFaults& operator=(const IoFaults&) = delete;

  // Calls so far.
  static unsigned Calls();
};

// Counts the calls while a Story, made anew, Happen()s; then lets each of them fail with `error`,
// one in each further story, and that story Check()s what is left. `step`: only every so many-th
// call, others for each error. `calls_min`: fewer mean that they are not led through here.
template <class Story>
void EachCallFailsOnce(int error, unsigned calls_min, unsigned step = 1) {
  unsigned calls = 0;
  {
    Story story;
    const IoFaults none(0, 0);
    story.Happen();
    calls = IoFaults::Calls();
  }
  ASSERT_GE(calls, calls_min);
  for (unsigned nth = 1 + static_cast<unsigned>(error) % step; nth <= calls; nth += step) {
    SCOPED_TRACE("call " + std::to_string(nth) + " of " + std::to_string(calls));
    Story story;
    {
      const IoFaults fault(nth, error);
      story.Happen();
    }
    ASSERT_NO_FATAL_FAILURE(story.Check());
    if (testing::Test::HasFailure()) return;
  }
}

// How often anybody asked how much room there is on the disk of a folder that is called so.
unsigned LooksAtRoomOf(const char* folder);

// While it lives so many fdatasync() fail as Linux has it: once with EIO, and what was written
// before is lost, though the next one succeeds. One at a time.
class LostSyncs {
 public:
  // And as many pwrite() as well, from the first fdatasync() on.
  explicit LostSyncs(unsigned syncs, unsigned writes = 0);
  ~LostSyncs();
  LostSyncs(const LostSyncs&) = delete;
  LostSyncs& operator=(const LostSyncs&) = delete;

  // Bytes that were written between the last fdatasync() that failed and the first that succeeded
  // after it.
  static std::uint64_t SavedBytes();
};

// While it lives nothing that this program or SQLite asks for by pread() can be read.
class UnreadableDisk {
 public:
  UnreadableDisk();
  ~UnreadableDisk();
  UnreadableDisk(const UnreadableDisk&) = delete;
  UnreadableDisk& operator=(const UnreadableDisk&) = delete;
};

// While it lives nobody but the thread that made it can open this file: who tries waits. One at a
// time.
class HeldFile {
 public:
  explicit HeldFile(const std::filesystem::path& path);
  ~HeldFile();
  HeldFile(const HeldFile&) = delete;
  HeldFile& operator=(const HeldFile&) = delete;

  // Whether anybody waits.
  bool Awaited() const;
};

// From now on SQLite asks here, too. Before the first database is opened.
void WatchSqlite();

}  // namespace btfc::fs
