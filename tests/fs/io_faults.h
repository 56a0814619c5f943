// Makes one system call of the filesystem or the index fail. The calls of fs/ and index/ come here
// by the linker's --wrap, those of SQLite by its table of system calls, and every fsync by this
// program's own; the code under test knows nothing of it.
#pragma once

#include <filesystem>

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

// How often anybody asked how much room there is on the disk of a folder that is called so.
unsigned LooksAtRoomOf(const char* folder);

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
