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

void Session::JoinKnown(const Summary& until) { JoinInto(known_, until); }

void Session::WatchChanges() {
  watching_ = true;
  first_new_ = tables_.NextIno();
}

void Session::Finish() {
  watching_ = true;
  Repairer(*this).Run();
  SettleSpots();
  RefreshObjects();
  CollectChanges();
  for (const auto& [device, n] : known_) {
    const auto before = known_before_.find(device);
    if (before == known_before_.end() || before->second < n) tables_.PutKnown(device, n);
  }
}

}  // namespace btfc::index
