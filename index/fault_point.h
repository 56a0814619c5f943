// Named moments at which a test wants to end the process. They work only where the tests are built,
// too (BTFC_TESTS); elsewhere a point is a call that does nothing.
//
// The environment variable BTFC_FAULT_POINT=NAME:N makes the N-th pass through NAME a SIGKILL. All
// names stand in the list below, so that a harness can visit each of them.
#pragma once

#include <array>
#include <cstddef>
#include <string_view>

namespace btfc::fault {

inline constexpr std::array<std::string_view, 45> kPoints{
    // The database.
    "index.open",        // the rows of a start, before they are committed
    "index.commit",      // a transaction is complete but not committed
    "index.committed",   // committed, nobody was told
    "journal.record",    // an operation is done, the journal does not have it
    "journal.kept",      // the journal has it, no transaction was committed
    "journal.repeat",    // a start does again what the journal has
    "group.commit",      // many operations, before their transaction is committed
    "group.committed",   // after it
    "index.apply",       // a delta has arrived whole, nothing of it was applied
    "index.checkpoint",  // before the log is moved into the database
    "index.moved",       // after it
    "index.sync",        // before the log is synced
    // A file begins to be written.
    "create.row",    // it has a row and no working file
    "create.file",   // it has a working file, the application no answer
    "write.noted",   // the note is there, the working file is not
    "write.begun",   // the working file is there, nothing was written
    "copy.noted",    // the same, of a copy of an object
    "copy.made",     // the copy is whole, without its name
    "copy.named",    // it has its name
    "take.absent",   // an object's own file: the catalogue says that the object is gone
    "take.noted",    // and that the file is dirty
    "take.taken",    // and the file has its new name
    "swap.copied",   // the copy is there that is to become the object
    "swap.swapped",  // it has become it
    "swap.named",    // and the former file has the working name
    "truncate.done",
    // A file is committed.
    "commit.begin",     // nothing can write any more
    "commit.hashed",    // its hash is known
    "commit.linked",    // the object has its name, but no row
    "commit.row",       // the row is there, the working name stays
    "commit.done",      // all told
    "commit.returned",  // an unchanged file is an object again, without a row that says so
    "names.synced",     // working names may go
    "names.gone",
    // Names.
    "rename.done",  // in the catalogue; the application has no answer
    "unlink.done",
    // An object arrives.
    "adopt.synced",   // its bytes are on the disk, without their name
    "adopt.named",    // it has its name, but no row
    "adopt.present",  // the row is there
    // A folder is taken in.
    "import.staged",  // files were copied, no row speaks of them
    "import.linked",  // an object has its name, but no row
    "import.done",    // and the row
    // A start after a crash.
    "recover.begin",
    "recover.file",  // one file of several was taken up
    "recover.end",
};

// A name of the list, checked by the compiler.
class Point {
 public:
  consteval Point(const char* name) : index_(Find(name)) {}  // NOLINT: a literal stands for it
  constexpr std::size_t index() const { return index_; }

 private:
  static consteval std::size_t Find(std::string_view name) {
    for (std::size_t i = 0; i < kPoints.size(); ++i) {
      if (kPoints[i] == name) return i;
    }
    throw "no such fault point";
  }
  std::size_t index_;
};

// Any thread.
void Pass(Point point);

}  // namespace btfc::fault
