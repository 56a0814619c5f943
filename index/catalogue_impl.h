// What the catalogue's source files share.
#pragma once

#include <atomic>
#include <cerrno>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "index/catalogue.h"
#include "index/devices.h"
#include "index/reader.h"
#include "index/session.h"
#include "index/space_reserve.h"
#include "index/sqlite.h"
#include "index/tables.h"
#include "index/wal_keeper.h"

namespace btfc::index {

// Locks, in this order: write_gate_, then one of the small ones (readers_, state_), each held for
// a few instructions. The write gate is held for a transaction, listeners are called without it.
class Catalogue::Impl {
 public:
  static Result<std::unique_ptr<Impl>> Open(const CatalogueOptions& options);
  ~Impl();
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  // Runs op(Session&), which answers a Result, in a transaction of its own or in the calling
  // thread's batch. Nothing is written if it fails; it may only fail before its first write.
  template <class Op>
  auto Write(Op&& op) -> decltype(op(std::declval<Session&>()));
  // The same for what frees room sooner or later: on a full disk the reserve serves it.
  template <class Op>
  auto WriteToFree(const Op& op) -> decltype(op(std::declval<Session&>()));
  // Runs op(Reader&), which answers a Result.
  template <class Op>
  auto Read(Op&& op) -> decltype(op(std::declval<Reader&>()));

  void BeginBatch();
  Result<void> EndBatch(bool commit);

  Result<void> Sync() { return keeper_->Sync(); }
  DeviceId Self() const;
  Summary Known() const;
  void SetListeners(std::function<void(const std::vector<Change>&)> changed,
                    std::function<void()> published);
  const CatalogueOptions& options() const { return options_; }
  DeviceTable& devices() { return devices_; }

  // A connection of its own for a reader that lasts (a delta on its way out).
  Result<std::unique_ptr<Database>> TakeReader();
  void GiveReader(std::unique_ptr<Database> reader);

  // A remote delta may have made this cache another device.
  void SetSelf(const DeviceId& self);
  void TakeNewIncarnation(Session& session);
  SessionContext MakeContext() const;
  std::array<std::uint8_t, 16> NewId();

 private:
  explicit Impl(const CatalogueOptions& options) : options_(options) {}
  Result<void> Start();
  void StartRows();
  void WriteDeviceRow(Session& session);
  bool InBatch() const { return batch_owner_.load() == std::this_thread::get_id(); }
  // After the rows of a session are committed.
  void Committed(const Summary& known);
  void Tell(const std::vector<Change>& changes, bool published);
  void AfterFailure(const StorageFailure& failure);
  void Reload();

  const CatalogueOptions options_;
  std::unique_ptr<Database> writer_;  // under write_gate_
  DeviceTable devices_;
  std::unique_ptr<Tables> tables_;  // under write_gate_
  std::unique_ptr<WalKeeper> keeper_;
  std::unique_ptr<SpaceReserve> reserve_;

  std::mutex write_gate_;
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
  Summary known_;
  std::function<void(const std::vector<Change>&)> on_change_;
  std::function<void()> on_publish_;
};

template <class Op>
auto Catalogue::Impl::Write(Op&& op) -> decltype(op(std::declval<Session&>())) {
  const bool in_batch = InBatch();
  if (in_batch && batch_failure_) return batch_failure_;
  std::unique_lock<std::mutex> gate(write_gate_, std::defer_lock);
  if (!in_batch) gate.lock();
  try {
    std::optional<Transaction> transaction;
    if (!in_batch) transaction.emplace(*writer_, Transaction::Kind::kWrite);
    const int changes_before = sqlite3_total_changes(writer_->handle());
    Session session(*tables_, MakeContext(), in_batch ? batch_known_ : Known());
    auto result = op(session);
    if (!result) {
      transaction.reset();
      if (sqlite3_total_changes(writer_->handle()) != changes_before) tables_->Reload();
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
    transaction->Commit();
    if (session.self() != Self()) {
      // Before a row of the new device goes out, it must be certain that this is the one.
      if (const auto synced = keeper_->Sync(); !synced) return synced.error();
      SetSelf(session.self());
    }
    Committed(session.known());
    gate.unlock();
    Tell(changes, session.wrote());
    return result;
  } catch (const StorageFailure& failure) {
    if (in_batch) {
      batch_failure_ = failure.code();
    } else {
      AfterFailure(failure);
    }
    return failure.code();
  }
}

template <class Op>
auto Catalogue::Impl::WriteToFree(const Op& op) -> decltype(op(std::declval<Session&>())) {
  auto result = Write(op);
  if (!result && ToErrno(result.error()) == ENOSPC && !InBatch() && reserve_->Release()) {
    return Write(op);
  }
  if (result) reserve_->Restore();
  return result;
}

template <class Op>
auto Catalogue::Impl::Read(Op&& op) -> decltype(op(std::declval<Reader&>())) {
  try {
    if (InBatch()) {
      Reader reader(*writer_);
      return op(reader);
    }
    BOOST_OUTCOME_TRYA(connection, TakeReader());
    Reader reader(*connection);
    auto result = op(reader);
    GiveReader(std::move(connection));
    return result;
  } catch (const StorageFailure& failure) {
    return failure.code();
  }
}

}  // namespace btfc::index
