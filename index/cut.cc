// Deltas on their way out: a cursor over all rows that the other one lacks.
#include <cerrno>
#include <utility>

#include "index/catalogue_impl.h"
#include "index/delta.h"

namespace btfc::index {
namespace {

// dot.kind
enum RowKind : std::int64_t {
  kDeviceRow = 1,
  kInodeRow,
  kAttributesRow,
  kRegisterRow,
  kPlaceRow,
  kVersionRow,
  kRemovalRow,
  kOtherRow,
  kSeenRow,
};

class Cutter : public DeltaReader {
 public:
  using GiveBack = std::function<void(std::unique_ptr<Database>)>;

  Cutter(std::unique_ptr<Database> database, DeviceTable& devices, const DeviceId& self,
         std::filesystem::path path, Summary since, GiveBack give_back)
      : path_(std::move(path)),
        self_(self),
        database_(std::move(database)),
        tables_(*database_, devices),
        give_back_(std::move(give_back)),
        transaction_(std::in_place, *database_, Transaction::Kind::kRead),
        since_(std::move(since)),
        until_(tables_.Known()) {
    for (const auto& [device, n] : until_) {
      const auto found = since_.find(device);
      const std::uint64_t from = found == since_.end() ? 0 : found->second;
      if (from < n) wanted_.emplace_back(device, from);
    }
  }

  ~Cutter() override {
    rows_.reset();
    transaction_.reset();
    give_back_(std::move(database_));
  }

  // What was left behind by the others has to begin anew: nothing of it is told any more.
  bool HasRows() {
    return !wanted_.empty() &&
           database_->Number("SELECT count(*) FROM meta WHERE key = 'left'") == 0;
  }
  const Summary& since() const override { return since_; }
  const Summary& until() const override { return until_; }

  Result<std::optional<std::string>> Next() override {
    if (done_) return std::optional<std::string>();
    try {
      PartMaker part(number_);
      if (number_ == 0) {
        part.SetSummaries(since_, until_);
        part.SetGiver(self_, tables_.MetaSummary("horizon"), tables_.MetaSummary("parts"),
                      tables_.MetaSummary("collected"));
      }
      ++number_;
      RowEncoder encoder(tables_, part);
      // The row that did not fit into the part before is still the cursor's.
      while (held_ || StepOver()) {
        held_ = true;
        if (!part.Add(Encode(encoder))) return std::optional(part.Finish(false));
        held_ = false;
      }
      done_ = true;
      return std::optional(part.Finish(true));
    } catch (const StorageFailure& failure) {
      // Nothing of it goes out: others would take a damaged row for what this host has.
      if (failure.code() == Error::kCorrupt) NoteDamage(path_, failure.what());
      if (IsSickDisk(failure.code())) NoteSickDisk(path_, failure.code());
      done_ = true;
      return failure.code();
    }
  }

 private:
  bool StepOver() {
    for (;;) {
      if (rows_) {
        if (rows_->Step()) return true;
        rows_.reset();
        ++device_;
      }
      if (device_ == wanted_.size()) return false;
      rows_.emplace(
          database_->Prepare("SELECT kind, key, n FROM dot WHERE dev = ? AND n > ? ORDER BY n"));
      const auto& [device, from] = wanted_[device_];
      *rows_ << tables_.devices().IfKnown(device).value_or(0) << from;
    }
  }

  wire::Row Encode(RowEncoder& encoder) {
    const std::int64_t key = rows_->Int(1);
    switch (rows_->Int(0)) {
      case kDeviceRow:
        return encoder.Device(key);
      case kInodeRow:
        return encoder.Inode(static_cast<Ino>(key));
      case kAttributesRow:
        return encoder.Attributes(static_cast<Ino>(key));
      case kRegisterRow:
        return encoder.Register(key);
      case kPlaceRow:
        return encoder.Place(key);
      case kVersionRow:
        return encoder.Version(key);
      case kRemovalRow:
        return encoder.Removal(key);
      case kSeenRow:
        return encoder.Seen(key);
      default:
        return encoder.Other({wanted_[device_].first, rows_->Unsigned(2)});
    }
  }

  const std::filesystem::path path_;
  const DeviceId self_;
  std::unique_ptr<Database> database_;
  Tables tables_;
  GiveBack give_back_;
  std::optional<Transaction> transaction_;
  const Summary since_, until_;
  std::vector<std::pair<DeviceId, std::uint64_t>> wanted_;  // device, number to begin after

  std::size_t device_ = 0;  // of wanted_
  std::optional<Statement> rows_;
  bool held_ = false;
  std::uint32_t number_ = 0;
  bool done_ = false;
};

}  // namespace

Result<std::unique_ptr<DeltaReader>> Catalogue::Cut(const Summary& since) {
  BOOST_OUTCOME_TRYV(impl_->Settle());
  BOOST_OUTCOME_TRYV(impl_->SyncSelf());  // not while something is read: that may be in its way
  BOOST_OUTCOME_TRYA(database, impl_->TakeReader());
  try {
    Impl* const impl = impl_.get();
    auto cutter = std::make_unique<Cutter>(
        std::move(database), impl->devices(), impl->Self(), impl->options().path, since,
        [impl](std::unique_ptr<Database> reader) { impl->GiveReader(std::move(reader)); });
    if (!impl->self_synced()) return Errno(EAGAIN);  // it became another device meanwhile
    if (!cutter->HasRows()) return std::unique_ptr<DeltaReader>();
    return std::unique_ptr<DeltaReader>(std::move(cutter));
  } catch (const StorageFailure& failure) {
    return failure.code();
  }
}

}  // namespace btfc::index
