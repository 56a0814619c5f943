// Groups of local operations: one transaction for many, and the journal that makes each of them
// survive the process until then.
#include <pthread.h>
#include <sched.h>
#include <spdlog/spdlog.h>
#include <sys/random.h>
#include <sys/statvfs.h>

#include "index/catalogue_impl.h"
#include "index/cpu.h"
#include "index/fault_point.h"

namespace btfc::index {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr unsigned kOperationsMax = 1000;  // in a group
// What others are to hear of is committed at once, but not more often than this.
constexpr milliseconds kRest{1};
// After a group of many, more are likely to come: bigger groups cost less, and while one is being
// committed everybody waits.
constexpr unsigned kMany = 24;
constexpr milliseconds kRestAfterMany{8};
constexpr int kRestFactor = 8;  // in times of what the last commit took
constexpr milliseconds kRestMax{20};
constexpr milliseconds kUnheardOf{20};  // what others do not hear of yet: a file without a content
// With less room than this, an operation must learn from its own commit that the disk is full.
constexpr std::uint64_t kRoom = std::uint64_t{64} << 20U;  // bytes

}  // namespace

// --- opening and ending, with the write gate

bool Catalogue::Impl::OpenGroup() {
  // A failed read may have made SQLite roll back by itself.
  if (group_ && sqlite3_get_autocommit(writer_->handle()) != 0 && !RestoreGroup()) return false;
  if (group_) return true;
  if (!journal_ || group_lost_) return false;
  if (!reserve_->held())
    return false;  // full, or at the user's quota, of which statvfs knows nothing
  struct statvfs disk {};
  if (::statvfs(options_.path.c_str(), &disk) != 0) return false;
  if (static_cast<std::uint64_t>(disk.f_bavail) * disk.f_frsize < kRoom) return false;
  group_known_ = KnownNow();
  BeginGroup();
  journal_->Begin(group_number_);
  return true;
}

void Catalogue::Impl::BeginGroup() {
  auto transaction = std::make_unique<Transaction>(*writer_, Transaction::Kind::kWrite);
  auto put = writer_->Prepare("INSERT OR REPLACE INTO meta (key, value) VALUES ('group', ?)");
  put << group_number_ + 1;
  put.Run();
  ++group_number_;
  group_ = std::move(transaction);
  group_operations_ = 0;
  group_publishes_ = false;
  write_gate_.SetOpen(true);
}

Result<void> Catalogue::Impl::EndGroup() {
  if (group_lost_) {
    BOOST_OUTCOME_TRYV(RestoreGroup());
  }
  if (!group_) return Ok();
  // A failed read may have made SQLite roll back by itself.
  if (sqlite3_get_autocommit(writer_->handle()) != 0) {
    BOOST_OUTCOME_TRYV(RestoreGroup());
  }
  for (bool last = false;;) {
    try {
      tables_->PutKnown(group_known_, KnownNow());
      fault::Pass("group.commit");
      group_->Commit();
      fault::Pass("group.committed");
      break;
    } catch (const StorageFailure& failure) {
      spdlog::error("index: {} operations cannot be committed: {}", group_operations_,
                    failure.what());
      const bool ends = last;
      last = !IsNoRoom(failure.code()) || !reserve_->Release();
      BOOST_OUTCOME_TRYV(RestoreGroup());
      if (ends) {
        group_.reset();
        write_gate_.SetOpen(false);
        group_lost_ = true;
        return failure.code();
      }
    }
  }
  group_.reset();
  Committed(group_known_);
  if (group_publishes_) publish_due_ = true;
  write_gate_.SetOpen(false);
  return Ok();
}

Result<void> Catalogue::Impl::RestoreGroup() {
  group_.reset();  // rolls back
  write_gate_.SetOpen(false);
  const auto repeated = RepeatGroup();
  group_lost_ = !repeated;
  if (repeated) return Ok();
  group_.reset();
  write_gate_.SetOpen(false);
  Reload();
  spdlog::error("index: what was answered since the last commit waits in the journal: {}",
                repeated.error().message());
  return repeated.error();
}

// From the last commit on. The transaction is open afterwards.
Result<void> Catalogue::Impl::RepeatGroup() {
  try {
    Reload();
    NumberGroups();
    group_number_ =
        static_cast<std::uint64_t>(writer_->Number("SELECT value FROM meta WHERE key = 'group'"));
    group_known_ = KnownNow();
    BOOST_OUTCOME_TRYA(records, journal_->Read(group_number_ + 1));
    BeginGroup();
    repeat_owner_ = std::this_thread::get_id();
    for (const std::string& record : records) {
      Decoder decoder(record);
      circumstances_ = {};
      decoder >> circumstances_;
      fault::Pass("journal.repeat");
      const auto repeated = repeat_(decoder.rest());
      if (!repeated) {
        spdlog::error("index: an operation of the journal fails now: {}",
                      repeated.error().message());
      }
      ++group_operations_;
    }
    repeat_owner_ = std::thread::id();
    return Ok();
  } catch (const StorageFailure& failure) {
    repeat_owner_ = std::thread::id();
    return failure.code();
  }
}

// The operation is done; from here on it may be answered.
Result<void> Catalogue::Impl::AfterOperation(const Session& session, const std::string& record) {
  Encoder encoder;
  encoder << circumstances_;
  fault::Pass("journal.record");
  const auto kept = journal_->Append(encoder.bytes() + record);
  fault::Pass("journal.kept");
  if (!kept) {
    BOOST_OUTCOME_TRYV(RestoreGroup());
    return kept.error();
  }
  group_known_ = session.known();
  group_publishes_ = group_publishes_ || session.wrote();
  if (++group_operations_ >= kOperationsMax) return EndGroup();
  AskForCommit(group_publishes_);
  return Ok();
}

// --- from outside

Result<void> Catalogue::Impl::TakeJournal(Catalogue& catalogue) {
  auto file = options_.path;
  file += ".ops";
  std::unique_lock<WriteGate> gate(write_gate_);
  repeat_ = [&catalogue](std::string_view record) { return Repeat(catalogue, record); };
  BOOST_OUTCOME_TRYA(journal, Journal::Open(file));
  journal_ = std::move(journal);
  const auto repeated = RepeatGroup();
  if (!repeated) {
    group_.reset();
    write_gate_.SetOpen(false);
    return repeated.error();
  }
  if (group_operations_ > 0) {
    spdlog::info("index: {} operations from the journal", group_operations_);
  }
  BOOST_OUTCOME_TRYV(EndGroup());
  gate.unlock();
  BOOST_OUTCOME_TRYV(DropLost());
  committer_ = std::thread([this] { CommitGroups(); });
  return Ok();
}

// A new database has nothing to do with a journal that lies about. (So the first number is random.)
void Catalogue::Impl::NumberGroups() {
  std::uint32_t number = 0;
  while (::getrandom(&number, sizeof number, 0) != sizeof number) {
  }
  auto put = writer_->Prepare("INSERT OR IGNORE INTO meta (key, value) VALUES ('group', ?)");
  put << number;
  put.Run();
}

// What a crash left of files that were never published and have no name left. Those that were
// being written stay until fs has dropped their working files.
Result<void> Catalogue::Impl::DropLost() {
  return Write([this](Session& session) -> Result<void> {
    std::vector<Ino> lost;
    auto find = writer_->Prepare(
        "SELECT ino FROM inode WHERE pending = 1 AND nlink = 0 AND ino NOT IN (SELECT ino FROM "
        "dirty)");
    while (find.Step()) lost.push_back(find.Unsigned(0));
    for (const Ino ino : lost) session.DropPending(ino);
    return Ok();
  });
}

Result<void> Catalogue::Impl::Settle() {
  if (InBatch() || InRepeat() || !write_gate_.open()) return Ok();
  Result<void> ended = Ok();
  {
    const std::lock_guard gate(write_gate_);
    ended = EndGroup();
  }
  TellPublished();
  return ended;
}

Result<void> Catalogue::Impl::Sync() {
  if (InRepeat()) return Ok();
  BOOST_OUTCOME_TRYV(Settle());
  return keeper_->Sync();
}

void Catalogue::Impl::TellPublished() {
  if (publish_due_.exchange(false)) Tell({}, true);
}

// --- the thread that commits

void Catalogue::Impl::AskForCommit(bool publishes) {
  const auto due = Clock::now() + (publishes ? Clock::duration::zero() : kUnheardOf);
  const std::lock_guard lock(due_mutex_);
  if (due_ && *due_ <= due) return;
  due_ = due;
  due_cpu_ = ::sched_getcpu();
  due_changed_.notify_one();
}

void Catalogue::Impl::CommitGroups() {
  ::pthread_setname_np(::pthread_self(), "index-commit");
  std::unique_lock lock(due_mutex_);
  while (!stop_groups_) {
    if (!due_) {
      due_changed_.wait(lock);
      continue;
    }
    const auto when = std::max(*due_, rest_until_);
    if (Clock::now() < when) {
      due_changed_.wait_until(lock, when);
      continue;
    }
    due_.reset();
    const int asked_on = due_cpu_;
    lock.unlock();
    LeaveCpu(asked_on);
    bool many = false;
    Clock::time_point begin;
    Clock::time_point end;
    {
      const std::lock_guard gate(write_gate_);
      many = group_ && group_operations_ >= kMany;
      begin = Clock::now();
      (void)EndGroup();  // says itself what is wrong, and is tried again by the next one
      end = Clock::now();
    }
    TellPublished();
    lock.lock();
    const auto least = std::min<Clock::duration>(kRestFactor * (end - begin), kRestMax);
    rest_until_ = end + std::max<Clock::duration>(least, many ? kRestAfterMany : kRest);
  }
}

void Catalogue::Impl::StopGroups() {
  {
    const std::lock_guard lock(due_mutex_);
    stop_groups_ = true;
  }
  due_changed_.notify_all();
  if (committer_.joinable()) committer_.join();
}

}  // namespace btfc::index
