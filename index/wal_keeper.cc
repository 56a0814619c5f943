#include "index/wal_keeper.h"

#include <fcntl.h>
#include <pthread.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <cerrno>

#include "index/fault_point.h"

namespace btfc::index {
namespace {

constexpr int kCheckpointPages = 4000;  // 16 MiB since the last one
constexpr int kReadersMs = 20;          // what writers wait for who still reads from the log

}  // namespace

Result<std::unique_ptr<WalKeeper>> WalKeeper::Start(const std::filesystem::path& database,
                                                    WriteGate& write_gate,
                                                    std::function<void()> end_group) {
  BOOST_OUTCOME_TRYA(connection, Database::Open(database, Database::Mode::kReadWrite));
  // A connection that has read nothing does not know that there is a log: it would take every
  // checkpoint for done, and the log would grow for ever.
  connection->Number("SELECT count(*) FROM sqlite_master");
  const std::string log = database.string() + "-wal";
  const int fd = open(log.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return Errno(errno);
  return std::unique_ptr<WalKeeper>(
      new WalKeeper(fd, std::move(connection), write_gate, std::move(end_group)));
}

WalKeeper::WalKeeper(int fd, std::unique_ptr<Database> database, WriteGate& write_gate,
                     std::function<void()> end_group)
    : fd_(fd),
      database_(std::move(database)),
      write_gate_(write_gate),
      end_group_(std::move(end_group)),
      thread_([this] { Run(); }) {}

WalKeeper::~WalKeeper() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  changed_.notify_all();
  thread_.join();
  close(fd_);
}

// A second fdatasync after a failed one may succeed without the data being there. So everything is
// moved into the database, which is synced in its turn, and the log starts over.
void WalKeeper::MoveAll() {
  const std::lock_guard gate(write_gate_);
  end_group_();
  const std::lock_guard database(database_mutex_);
  const int code = sqlite3_wal_checkpoint_v2(database_->handle(), nullptr,
                                             SQLITE_CHECKPOINT_TRUNCATE, nullptr, nullptr);
  if (code != SQLITE_OK) return;  // a reader is in its way, or the disk is what it was
  const std::lock_guard lock(mutex_);
  failure_ = 0;
  synced_ = asked_;
}

Result<void> WalKeeper::Sync() {
  std::unique_lock lock(mutex_);
  if (failure_ != 0) {
    lock.unlock();
    MoveAll();
    lock.lock();
  }
  const std::uint64_t mine = ++asked_;
  while (synced_ < mine && failure_ == 0) {
    if (syncing_) {
      changed_.wait(lock);
      continue;
    }
    // This call does it for everybody who has asked so far.
    syncing_ = true;
    const std::uint64_t all = asked_;
    lock.unlock();
    fault::Pass("index.sync");
    const int failure = fdatasync(fd_) == 0 ? 0 : errno;
    lock.lock();
    syncing_ = false;
    if (failure == 0) synced_ = all;
    failure_ = failure;
    changed_.notify_all();
  }
  if (failure_ != 0) return Errno(failure_);
  return Ok();
}

void WalKeeper::Grew(int pages) {
  {
    const std::lock_guard lock(mutex_);
    if (pages < moved_) moved_ = 0;  // it has started over
    pages_ = pages;
    if (pages_ - moved_ < kCheckpointPages) return;
  }
  changed_.notify_all();
}

void WalKeeper::Run() {
  ::pthread_setname_np(::pthread_self(), "index-log");
  std::unique_lock lock(mutex_);
  while (!stop_) {
    changed_.wait(lock, [this] { return stop_ || pages_ - moved_ >= kCheckpointPages; });
    if (stop_) return;
    const bool too_many = pages_ >= kTooManyPages;
    moved_ = pages_;
    lock.unlock();
    Checkpoint(false);
    // Most is done by now: writers wait only for the rest.
    if (too_many) Checkpoint(true);
    lock.lock();
  }
}

void WalKeeper::Checkpoint(bool keep_writers_out) {
  // A passive checkpoint disturbs nobody, but the log only starts over when nobody wrote meanwhile,
  // and nobody reads from it at the next write.
  std::unique_lock<WriteGate> gate(write_gate_, std::defer_lock);
  if (keep_writers_out) {
    gate.lock();
    end_group_();  // an open transaction would keep the log from starting over
  }
  fault::Pass("index.checkpoint");
  const std::lock_guard database(database_mutex_);
  const int mode = keep_writers_out ? SQLITE_CHECKPOINT_RESTART : SQLITE_CHECKPOINT_PASSIVE;
  sqlite3_busy_timeout(database_->handle(), kReadersMs);
  const int code = sqlite3_wal_checkpoint_v2(database_->handle(), nullptr, mode, nullptr, nullptr);
  sqlite3_busy_timeout(database_->handle(), Database::kBusyTimeoutMs);
  fault::Pass("index.moved");
  if (code != SQLITE_OK && (code & 0xff) != SQLITE_BUSY) {
    spdlog::warn("index: cannot move the log into the database: {}",
                 sqlite3_errmsg(database_->handle()));
  }
}

}  // namespace btfc::index
