// Deltas on their way out: a cursor over all rows that the other one lacks.
#include <utility>

#include "index/catalogue_impl.h"
#include "index/delta.h"

namespace btfc::index {
namespace {

// Rows of one kind that one device wrote, beyond a number. Column 0 names the row, 1 what else
// names it.
struct Source {
  wire::Row::BodyCase kind;
  const char* sql;
};
constexpr Source kSources[] = {
    {wire::Row::kDevice, "SELECT dev FROM device WHERE dot_dev = ? AND dot_n > ?"},
    {wire::Row::kInode, "SELECT ino FROM inode WHERE dot_dev = ? AND dot_n > ?"},
    {wire::Row::kAttributes, "SELECT ino FROM inode WHERE a_dot_dev = ? AND a_dot_n > ?"},
    {wire::Row::kRegister, "SELECT ino, name FROM attr WHERE dot_dev = ? AND dot_n > ?"},
    {wire::Row::kPlace, "SELECT link FROM place WHERE dot_dev = ? AND dot_n > ?"},
    {wire::Row::kVersion, "SELECT version FROM version WHERE dot_dev = ? AND dot_n > ?"},
    {wire::Row::kRemoval, "SELECT link FROM removal WHERE dot_dev = ? AND dot_n > ?"},
    {wire::Row::BODY_NOT_SET, "SELECT dot_n FROM other WHERE dot_dev = ? AND dot_n > ?"},
};

class Cutter : public DeltaReader {
 public:
  using GiveBack = std::function<void(std::unique_ptr<Database>)>;

  Cutter(std::unique_ptr<Database> database, DeviceTable& devices, Summary since,
         GiveBack give_back)
      : database_(std::move(database)),
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

  bool HasRows() const { return !wanted_.empty(); }
  const Summary& since() const override { return since_; }
  const Summary& until() const override { return until_; }

  Result<std::optional<std::string>> Next() override {
    if (done_) return std::optional<std::string>();
    try {
      PartMaker part(number_);
      if (number_ == 0) part.SetSummaries(since_, until_);
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
        if (++device_ == wanted_.size()) {
          device_ = 0;
          ++source_;
        }
      }
      if (source_ == std::size(kSources)) return false;
      rows_.emplace(database_->Prepare(kSources[source_].sql));
      const auto& [device, from] = wanted_[device_];
      *rows_ << tables_.devices().IfKnown(device).value_or(0) << from;
    }
  }

  wire::Row Encode(RowEncoder& encoder) {
    const std::int64_t key = rows_->Int(0);
    switch (kSources[source_].kind) {
      case wire::Row::kDevice:
        return encoder.Device(key);
      case wire::Row::kInode:
        return encoder.Inode(static_cast<Ino>(key));
      case wire::Row::kAttributes:
        return encoder.Attributes(static_cast<Ino>(key));
      case wire::Row::kRegister:
        return encoder.Register(static_cast<Ino>(key), rows_->String(1));
      case wire::Row::kPlace:
        return encoder.Place(key);
      case wire::Row::kVersion:
        return encoder.Version(key);
      case wire::Row::kRemoval:
        return encoder.Removal(key);
      case wire::Row::BODY_NOT_SET:
        break;
    }
    return encoder.Other({wanted_[device_].first, static_cast<std::uint64_t>(key)});
  }

  std::unique_ptr<Database> database_;
  Tables tables_;
  GiveBack give_back_;
  std::optional<Transaction> transaction_;
  const Summary since_, until_;
  std::vector<std::pair<DeviceId, std::uint64_t>> wanted_;  // device, number to begin after

  std::size_t source_ = 0, device_ = 0;
  std::optional<Statement> rows_;
  bool held_ = false;
  std::uint32_t number_ = 0;
  bool done_ = false;
};

}  // namespace

Result<std::unique_ptr<DeltaReader>> Catalogue::Cut(const Summary& since) {
  BOOST_OUTCOME_TRYA(database, impl_->TakeReader());
  try {
    Impl* const impl = impl_.get();
    auto cutter = std::make_unique<Cutter>(
        std::move(database), impl->devices(), since,
        [impl](std::unique_ptr<Database> reader) { impl->GiveReader(std::move(reader)); });
    if (!cutter->HasRows()) return std::unique_ptr<DeltaReader>();
    return std::unique_ptr<DeltaReader>(std::move(cutter));
  } catch (const StorageFailure& failure) {
    return failure.code();
  }
}

}  // namespace btfc::index
