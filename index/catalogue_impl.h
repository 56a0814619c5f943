// What the catalogue's source files share.
#pragma once

#include <atomic>
#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <set>
#include <thread>
#include <tuple>
#include <vector>

#include "index/catalogue.h"
#include "index/damage.h"
#include "index/devices.h"
#include "index/fault_point.h"
#include "index/incarnation.h"
#include "index/journal.h"
#include "index/reader.h"
#include "index/recorded.h"
#include "index/session.h"
#include "index/space_reserve.h"
#include "index/sqlite.h"
#include "index/tables.h"
#include "index/wal_keeper.h"
#include "index/write_gate.h"

namespace btfc::index {

// Locks, in this order: write_gate_, then one of the small ones (readers_, state_, due_), each held
// for a few instructions. The write gate is held for an operation, or for a transaction of others'
// rows; listeners are called without it.
//
// Local operations are gathered into groups (catalogue_group.cc): one transaction of SQLite for
// many, with a journal in front that makes each of them survive the process. While a group is open
// its operations are seen by the writing connection only, so everybody reads through that one, in
// turn; what lasts, and what looks at a state to tell others of it, ends the group first.
class Catalogue::Impl {
 public:
  static Result<std::unique_ptr<Impl>> Open(const CatalogueOptions& options);
  ~Impl();
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  // Runs op(Session&), which answers a Result, in a transaction of its own or in the calling
  // thread's batch. Nothing is written if it fails; it may only fail before its first write.
  // With `record` (see recorded.h), what asks for the same again, it joins a group.
  template <class Op>
  auto Write(const std::string& record, Op&& op) -> decltype(op(std::declval<Session&>()));
  template <class Op>
  auto Write(Op&& op) -> decltype(op(std::declval<Session&>())) {
    return Write({}, op);
  }
  // The same for what frees room sooner or later: on a full disk the reserve serves it.
  template <class Op>
  auto WriteToFree(const std::string& record, const Op& op)
      -> decltype(op(std::declval<Session&>()));
  // Between many of them in a row: others write first.
  void GiveWay() const { write_gate_.GiveWay(); }
  // Runs op(Reader&), which answers a Result.
  template <class Op>
  auto Read(Op&& op) -> decltype(op(std::declval<Reader&>()));
  // The same for what goes through much of the database: nobody waits for it.
  template <class Op>
  auto ReadLong(Op&& op) -> decltype(op(std::declval<Reader&>()));

  void BeginBatch();
  Result<void> EndBatch(bool commit);

  Result<void> Sync();
  // Ends the open group: other connections see it all.
  Result<void> Settle();
  // At the start: what the process before had answered and not committed. `catalogue` does it
  // again, then and whenever a group has to be begun anew.
  Result<void> TakeJournal(Catalogue& catalogue);
  bool Continues() const { return continues_; }
  DeviceId Self() const;
  std::uint64_t SelfIncarnation() const;
  Summary Known();  // of what is committed; ends the group
  Summary KnownNow() const;
  void SetListeners(std::function<void(const std::vector<Change>&)> changed,
                    std::function<void()> published);
  const CatalogueOptions& options() const { return options_; }
  DeviceTable& devices() { return devices_; }

  // A connection of its own for a reader that lasts (a delta on its way out).
  Result<std::unique_ptr<Database>> TakeReader();
  void GiveReader(std::unique_ptr<Database> reader);

  bool IsRemoved(const NodeKey& node_key) const;
  std::set<NodeKey> Removed() const;
  // False if that much was looked at with this floor before, for nothing.
  bool NoteExamined(const Summary& floor, std::size_t inodes, std::size_t names);
  // How many transactions there have been.
  std::uint64_t commits() const { return commits_; }
  // The last look for what may go of what was deleted, if there was nothing.
  struct Look {
    std::uint64_t commits = 0;
    std::int64_t at_ns = 0;
    VersionLimits limits;
  };
  std::optional<Look> LastLook() const;
  void NoteLook(const std::optional<Look>& look);
  void LoadRemoved();  // under write_gate_

  // A remote delta may have made this cache another device.
  void SetSelf(const DeviceId& self, std::uint64_t incarnation);
  // Before a row of a new device goes out, it must be certain that this is the one.
  Result<void> SyncSelf();
  bool self_synced() const { return selves_synced_ >= selves_taken_; }
  void TakeNewIncarnation(Session& session);
  SessionContext MakeContext() const;
  std::array<std::uint8_t, 16> NewId();

 private:
  explicit Impl(const CatalogueOptions& options) : options_(options) {}
  Result<void> Start();
  void StartRows();
  void WriteDeviceRow(Session& session);
  // By a connection of its own.
  template <class Op>
  auto ReadApart(Op&& op) -> decltype(op(std::declval<Reader&>()));
  // What op() answers; a failure of the database is an answer, too.
  template <class Op>
  auto Answered(const Op& op) -> decltype(op());
  bool InBatch() const { return batch_owner_.load() == std::this_thread::get_id(); }

  // --- groups; with the write gate
  template <class Op>
  auto WriteInGroup(Op&& op, const std::string& record, std::unique_lock<WriteGate>& gate)
      -> decltype(op(std::declval<Session&>()));
  template <class Op>
  auto RepeatInGroup(Op&& op) -> decltype(op(std::declval<Session&>()));
  bool InRepeat() const { return repeat_owner_.load() == std::this_thread::get_id(); }
  // False if operations are better committed one by one: the disk is nearly full.
  bool OpenGroup();
  void BeginGroup();
  Result<void> DropLost();
  void NumberGroups();
  Result<void> EndGroup();
  // Rolled back: everything that was answered is done again from the journal.
  Result<void> RestoreGroup();
  Result<void> RepeatGroup();
  Result<void> AfterOperation(const Session& session, const std::string& record);
  void AskForCommit(bool publishes);
  void CommitGroups();  // the thread
  void TellPublished();
  void StopGroups();
  // After the rows of a session are committed.
  void Committed(const Summary& known);
  void Tell(const std::vector<Change>& changes, bool published);
  void AfterFailure(const StorageFailure& failure);
  void NoteIfDamage(const StorageFailure& failure) const {
    if (failure.code() == Error::kCorrupt) NoteDamage(options_.path, failure.what());
    if (IsSickDisk(failure.code())) NoteSickDisk(options_.path, failure.code());
  }
  void Reload();

  const CatalogueOptions options_;
  std::unique_ptr<Database> writer_;  // under write_gate_
  DeviceTable devices_;
  std::unique_ptr<Tables> tables_;  // under write_gate_
  std::unique_ptr<WalKeeper> keeper_;
  std::unique_ptr<SpaceReserve> reserve_;

  WriteGate write_gate_;

  // The group; under the write gate.
  std::unique_ptr<Journal> journal_;  // nothing until TakeJournal
  std::function<Result<void>(std::string_view)> repeat_;
  std::unique_ptr<Transaction> group_;
  std::uint64_t group_number_ = 0;  // the last one that was begun
  Summary group_known_;
  unsigned group_operations_ = 0;
  bool group_publishes_ = false;
  bool group_lost_ = false;      // neither committed nor repeated; tried again by every write
  Circumstances circumstances_;  // of the operation at hand
  std::atomic<std::thread::id> repeat_owner_;
  std::atomic<bool> publish_due_{false};
  std::atomic<std::uint64_t> commits_{0};

  std::mutex due_mutex_;  // guards what follows
  std::condition_variable due_changed_;
  std::optional<std::chrono::steady_clock::time_point> due_;  // when the group is to be committed
  int due_cpu_ = -1;                                          // of who asked for it
  bool stop_groups_ = false;
  std::chrono::steady_clock::time_point rest_until_;  // no commit before, so that groups grow
  std::thread committer_;

  // The batch: its thread holds write_gate_ all the while and alone touches these.
  std::atomic<std::thread::id> batch_owner_;
  std::unique_ptr<Transaction> batch_;
  std::error_code batch_failure_;
  std::vector<Change> batch_changes_;
  bool batch_published_ = false;
  Summary batch_known_;

  std::mutex readers_mutex_;
  std::vector<std::unique_ptr<Database>> readers_;  // those not in use

  mutable std::mutex state_mutex_;
  DeviceId self_;
  std::uint64_t incarnation_ = 0;
  std::atomic<std::uint64_t> selves_taken_{0}, selves_synced_{0};  // since it was opened
  std::optional<Look> look_;
  bool continues_ = false;  // opened with all that the process before it answered
  Summary known_;
  std::set<NodeKey> removed_;
  std::tuple<Summary, std::size_t, std::size_t> examined_;
  std::function<void(const std::vector<Change>&)> on_change_;
  std::function<void()> on_publish_;
};

template <class Op>
auto Catalogue::Impl::Write(const std::string& record, Op&& op)
    -> decltype(op(std::declval<Session&>())) {
  if (InRepeat()) return RepeatInGroup(op);
  const bool in_batch = InBatch();
  if (in_batch && batch_failure_) return batch_failure_;
  std::unique_lock<WriteGate> gate(write_gate_, std::defer_lock);
  if (!in_batch) gate.lock();
  try {
    if (!in_batch && !record.empty() && OpenGroup()) return WriteInGroup(op, record, gate);
    if (!in_batch) {
      if (const auto ended = EndGroup(); !ended) return ended.error();
    }
    std::optional<Transaction> transaction;
    if (!in_batch) transaction.emplace(*writer_, Transaction::Kind::kWrite);
    const int changes_before = sqlite3_total_changes(writer_->handle());
    Session session(*tables_, MakeContext(), in_batch ? batch_known_ : KnownNow());
    auto result = op(session);
    if (!result) {
      transaction.reset();
      if (sqlite3_total_changes(writer_->handle()) != changes_before) tables_->Reload();
      if (in_batch) return result;
      gate.unlock();
      TellPublished();
      return result;
    }
    session.Finish();
    auto changes = session.TakeChanges();
    if (in_batch) {
      batch_known_ = session.known();
      batch_published_ = batch_published_ || session.wrote();
      batch_changes_.insert(batch_changes_.end(), changes.begin(), changes.end());
      return result;
    }
    const bool other_self = session.self() != Self();
    const std::uint64_t incarnation = other_self ? IncarnationNumber(*tables_) : 0;
    if (other_self) ++selves_taken_;  // before anybody can see its rows
    fault::Pass("index.commit");
    transaction->Commit();
    fault::Pass("index.committed");
    if (other_self) SetSelf(session.self(), incarnation);
    Committed(session.known());
    if (session.members_changed()) LoadRemoved();
    gate.unlock();
    if (other_self) (void)SyncSelf();  // else at the next cut
    Tell(changes, session.wrote() || publish_due_.exchange(false));
    return result;
  } catch (const StorageFailure& failure) {
    if (in_batch) {
      NoteIfDamage(failure);
      batch_failure_ = failure.code();
    } else {
      AfterFailure(failure);
    }
    return failure.code();
  }
}

template <class Op>
auto Catalogue::Impl::WriteInGroup(Op&& op, const std::string& record,
                                   std::unique_lock<WriteGate>& gate)
    -> decltype(op(std::declval<Session&>())) {
  using Answer = decltype(op(std::declval<Session&>()));
  std::vector<Change> changes;
  try {
    SessionContext context = MakeContext();
    context.keeps_known = false;
    circumstances_ = {context.now_ns, tables_->next_ino(), {}};
    context.new_id = [this, draw = std::move(context.new_id)] {
      return circumstances_.ids.emplace_back(draw());
    };
    Session session(*tables_, context, group_known_);
    Answer result = op(session);
    if (!result) return result;  // and wrote nothing
    session.Finish();
    changes = session.TakeChanges();
    if (const auto kept = AfterOperation(session, record); !kept) return kept.error();
    gate.unlock();
    Tell(changes, publish_due_.exchange(false));
    return result;
  } catch (const StorageFailure& failure) {
    AfterFailure(failure);
    if (const auto restored = RestoreGroup(); !restored) return restored.error();
    return failure.code();
  }
}

// An operation out of the journal.
template <class Op>
auto Catalogue::Impl::RepeatInGroup(Op&& op) -> decltype(op(std::declval<Session&>())) {
  SessionContext context = MakeContext();
  context.keeps_known = false;
  context.now_ns = circumstances_.now_ns;
  context.new_id = [this, next = std::size_t{0}]() mutable {
    if (next < circumstances_.ids.size()) return circumstances_.ids[next++];
    return NewId();
  };
  tables_->SetNextIno(circumstances_.next_ino);
  Session session(*tables_, context, group_known_);
  auto result = op(session);
  if (!result) return result;
  session.Finish();
  group_known_ = session.known();
  group_publishes_ = group_publishes_ || session.wrote();
  return result;
}

template <class Op>
auto Catalogue::Impl::WriteToFree(const std::string& record, const Op& op)
    -> decltype(op(std::declval<Session&>())) {
  auto result = Write(record, op);
  if (InRepeat()) return result;
  while (!result && IsNoRoom(result.error()) && !InBatch() && reserve_->Release()) {
    result = Write(record, op);
  }
  if (result) reserve_->Restore();
  return result;
}

template <class Op>
auto Catalogue::Impl::Answered(const Op& op) -> decltype(op()) {
  try {
    return op();
  } catch (const StorageFailure& failure) {
    NoteIfDamage(failure);
    return failure.code();
  }
}

template <class Op>
auto Catalogue::Impl::Read(Op&& op) -> decltype(op(std::declval<Reader&>())) {
  using Answer = decltype(op(std::declval<Reader&>()));
  return Answered([&]() -> Answer {
    const bool writes = InBatch() || InRepeat();
    // The writer's connection keeps its pages: others read them anew after each commit of its.
    const bool joins = !writes && (write_gate_.LockIfOpen() || write_gate_.try_lock());
    if (!writes && !joins) return ReadApart(op);
    std::unique_lock<WriteGate> gate;
    if (joins) gate = std::unique_lock(write_gate_, std::adopt_lock);
    Reader reader(*writer_);
    return op(reader);
  });
}

template <class Op>
auto Catalogue::Impl::ReadLong(Op&& op) -> decltype(op(std::declval<Reader&>())) {
  if (InBatch() || InRepeat()) return Read(op);
  return Answered([&] {
    (void)Settle();  // what cannot be committed, it does not see
    return ReadApart(op);
  });
}

template <class Op>
auto Catalogue::Impl::ReadApart(Op&& op) -> decltype(op(std::declval<Reader&>())) {
  BOOST_OUTCOME_TRYA(connection, TakeReader());
  Reader reader(*connection);
  auto result = op(reader);
  GiveReader(std::move(connection));
  return result;
}

}  // namespace btfc::index
