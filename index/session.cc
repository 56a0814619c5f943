#include "index/session.h"

#include <algorithm>

#include "index/repair.h"
#include "index/stamps.h"
#include "index/summaries.h"

namespace btfc::index {

Session::Session(Tables& tables, const SessionContext& context, Summary known)
    : tables_(tables), context_(context), known_(std::move(known)), known_before_(known_) {}

Dot Session::NextDot() {
  wrote_ = true;
  const std::uint64_t n = ++known_[context_.self];
  return {context_.self, n};
}

Stamp Session::Now(const std::vector<Stamp>& replaced) {
  std::int64_t time = context_.now_ns;
  for (const Stamp& stamp : replaced) time = std::max(time, stamp.time_ns + 1);
  time = std::clamp(time, -kStampTimeMax, kStampTimeMax);
  return {time, context_.self, 0, 0};
}

Stamp Session::Now(std::initializer_list<Stamp> replaced) {
  return Now(std::vector<Stamp>(replaced));
}

void Session::TakeIncarnation(const DeviceId& self) {
  // Contexts noted at write-opens cover "own commits since": those of the device of before, too.
  const DeviceId before = context_.self;
  context_.self = self;
  if (!known_.contains(before)) return;
  std::vector<std::pair<Ino, Known>> notes;
  auto rows = tables_.db().Prepare("SELECT ino, known FROM dirty");
  while (rows.Step()) {
    notes.emplace_back(rows.Unsigned(0), tables_.devices().DecodeKnown(rows.Bytes(1)));
  }
  for (auto& [ino, known] : notes) {
    JoinInto(known.context, Dot{before, known_[before]});
    auto update = tables_.db().Prepare("UPDATE dirty SET known = ? WHERE ino = ?");
    update << tables_.devices().EncodeKnown(tables_.db(), known) << ino;
    update.Run();
  }
}

void Session::Disown(const DeviceId& before) {
  // By dot.kind; rows of unknown kinds were not written here.
  static constexpr Sql kGiveDot[] = {
      nullptr,
      "UPDATE device SET dot_dev = ?, dot_n = ? WHERE dev = ?",
      "UPDATE inode SET dot_dev = ?, dot_n = ? WHERE ino = ?",
      "UPDATE inode SET a_dot_dev = ?, a_dot_n = ? WHERE ino = ?",
      "UPDATE attr SET dot_dev = ?, dot_n = ? WHERE attr = ?",
      "UPDATE place SET dot_dev = ?, dot_n = ? WHERE link = ?",
      "UPDATE version SET dot_dev = ?, dot_n = ? WHERE version = ?",
      "UPDATE removal SET dot_dev = ?, dot_n = ? WHERE link = ?",
  };
  const std::int64_t number = tables_.devices().NumberOf(tables_.db(), before);
  std::vector<std::pair<std::size_t, std::int64_t>> rows;
  auto find = tables_.db().Prepare("SELECT kind, key FROM dot WHERE dev = ?");
  find << number;
  while (find.Step()) rows.emplace_back(static_cast<std::size_t>(find.Int(0)), find.Int(1));
  // What it is called only that device can say: others have said it already, and will again.
  auto unsign =
      tables_.db().Prepare("UPDATE device SET dot_dev = NULL, dot_n = NULL WHERE dev = ?");
  unsign << number;
  unsign.Run();
  for (const auto& [kind, key] : rows) {
    if (kind >= std::size(kGiveDot) || (kind == 1 && key == number)) continue;
    auto update = tables_.db().Prepare(kGiveDot[kind]);
    tables_.Bind(update, NextDot());
    update << key;
    update.Run();
  }
  auto unsay = tables_.db().Prepare("DELETE FROM seen WHERE dev = ?");
  unsay << number;
  unsay.Run();
  known_.erase(before);
  auto forget = tables_.db().Prepare("UPDATE device SET known = 0 WHERE dev = ?");
  forget << number;
  forget.Run();
}

void Session::JoinKnown(const Summary& until) { JoinInto(known_, until); }

void Session::WatchChanges() {
  watching_ = true;
  first_new_ = tables_.NextIno();
}

void Session::Repair() { Repairer(*this).Run(); }

void Session::Finish() {
  watching_ = true;
  Repair();
  SettleSpots();
  RefreshObjects();
  CollectChanges();
  if (context_.keeps_known) tables_.PutKnown(known_, known_before_);
}

}  // namespace btfc::index
