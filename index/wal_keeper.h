// The write-ahead log of the database: on its way to the disk when somebody must know that it is
// there, and back into the database file behind everybody's back.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>

#include "index/result.h"
#include "index/sqlite.h"
#include "index/write_gate.h"

namespace btfc::index {

// Any thread.
class WalKeeper {
 public:
  // 47 MiB: writers wait, so that the log starts over.
  static constexpr int kTooManyPages = 12 * 1000;
  // For SQLite: a log that grew longer, because readers or a busy machine kept it from starting
  // over, is cut to this when it does. Not to nothing: what is written over is synced sooner than
  // what is appended.
  static constexpr std::int64_t kBytesKept = kTooManyPages * std::int64_t{4096 + 24};

  // The database is in WAL mode already, and has been written to by this process. `end_group`
  // commits what is open, with the gate held.
  static Result<std::unique_ptr<WalKeeper>> Start(const std::filesystem::path& database,
                                                  WriteGate& write_gate,
                                                  std::function<void()> end_group);
  ~WalKeeper();

  // Transactions that were committed before the call are on the disk when it returns. Calls at the
  // same time share one fdatasync. After one that failed the next call moves the log into the
  // database first.
  Result<void> Sync();
  // After a commit: the log has so many pages.
  void Grew(int pages);

 private:
  WalKeeper(int fd, std::unique_ptr<Database> database, WriteGate& write_gate,
            std::function<void()> end_group);
  void Run();
  void Checkpoint(bool keep_writers_out);
  void MoveAll();

  const int fd_;  // of the log; SQLite takes no POSIX locks on it, so that it may be closed
  std::mutex database_mutex_;  // around calls that use the connection, inside the gate
  const std::unique_ptr<Database> database_;
  WriteGate& write_gate_;
  const std::function<void()> end_group_;

  std::mutex mutex_;
  std::condition_variable changed_;
  std::uint64_t asked_ = 0;   // number of the last call of Sync
  std::uint64_t synced_ = 0;  // calls up to this one are answered
  bool syncing_ = false;
  int failure_ = 0;  // errno of the fdatasync that failed: the log cannot be trusted
  int pages_ = 0;    // of the log
  int moved_ = 0;    // how many there were at the last checkpoint
  bool stop_ = false;
  std::thread thread_;
};

}  // namespace btfc::index
