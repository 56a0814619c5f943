// Deltas from other hosts: staged, then merged and repaired in one transaction.
#include <fcntl.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <cerrno>

#include "index/catalogue_impl.h"
#include "index/collection.h"
#include "index/delta.h"
#include "index/fault_point.h"
#include "index/incarnation.h"
#include "index/summaries.h"

namespace btfc::index {
namespace {

constexpr std::size_t kStageInMemoryMax = 8 * 1024 * 1024;  // bytes; more goes to a file
constexpr std::uint32_t kPartsMax = 256 * 1024;             // 64 GiB

// Parts one after the other: in memory, or in a file without a name.
class Stage {
 public:
  explicit Stage(std::filesystem::path folder) : folder_(std::move(folder)) {}
  ~Stage() {
    if (fd_ >= 0) close(fd_);
  }
  Stage(const Stage&) = delete;
  Stage& operator=(const Stage&) = delete;

  std::size_t count() const { return sizes_.size(); }

  Result<void> Add(std::string_view part) {
    if (fd_ < 0 && memory_.size() + part.size() > kStageInMemoryMax) {
      BOOST_OUTCOME_TRYV(MoveToFile());
    }
    if (fd_ >= 0) {
      BOOST_OUTCOME_TRYV(Write(part));
    } else {
      memory_ += part;
    }
    sizes_.push_back(part.size());
    return Ok();
  }

  // In order; each is read once.
  Result<std::string> Take(std::size_t index) {
    std::string part(sizes_[index], '\0');
    if (fd_ < 0) {
      part = memory_.substr(offset_, part.size());
    } else {
      for (std::size_t have = 0; have < part.size();) {
        const ssize_t n =
            pread(fd_, part.data() + have, part.size() - have, static_cast<off_t>(offset_ + have));
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return n < 0 ? Errno(errno) : make_error_code(Error::kStorage);
        have += static_cast<std::size_t>(n);
      }
    }
    offset_ += part.size();
    return part;
  }

 private:
  Result<void> MoveToFile() {
    fd_ = open(folder_.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (fd_ < 0) return Errno(errno);
    BOOST_OUTCOME_TRYV(Write(memory_));
    memory_ = {};
    return Ok();
  }

  Result<void> Write(std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t n = write(fd_, bytes.data(), bytes.size());
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return Errno(errno);
      bytes.remove_prefix(static_cast<std::size_t>(n));
    }
    return Ok();
  }

  const std::filesystem::path folder_;
  std::string memory_;
  int fd_ = -1;
  std::vector<std::size_t> sizes_;
  std::size_t offset_ = 0;
};

// Rows of one part into the tables.
class PartApplier {
 public:
  PartApplier(Session& session, const wire::Part& part)
      : session_(session), tables_(session.tables()), part_(part), reader_(part) {}

  void Apply(const Summary& known) {
    for (const auto& row : part_.rows()) {
      dot_ = {reader_.Device(row.dot_device()), row.dot_n()};
      if (!Covers(known, dot_)) Apply(row);
    }
  }

 private:
  void Apply(const wire::Row& row) {
    switch (row.body_case()) {
      case wire::Row::kDevice:
        return Apply(row.device());
      case wire::Row::kInode:
        return Apply(row.inode());
      case wire::Row::kAttributes:
        return Apply(row.attributes());
      case wire::Row::kRegister:
        return Apply(row.register_());
      case wire::Row::kPlace:
        return Apply(row.place());
      case wire::Row::kVersion:
        return Apply(row.version());
      case wire::Row::kRemoval:
        return Apply(row.removal());
      case wire::Row::kSeen:
        return Apply(row.seen());
      case wire::Row::BODY_NOT_SET:
        return tables_.PutOther(dot_, UnknownFields(row));
    }
  }

  template <class Row, class Body>
  Row Begin(const Body& body) {
    Row row;
    row.stamp = reader_.ToStamp(body.stamp());
    row.dot = dot_;
    row.extra = UnknownFields(body);
    return row;
  }
  Ino InoOf(const std::string& id) { return tables_.InoOf(PartReader::ToId<InodeId>(id)); }
  LinkNo LinkOf(const std::string& id) { return tables_.LinkOf(PartReader::ToId<LinkId>(id)); }

  void Apply(const wire::DeviceRow& body) {
    auto row = Begin<DeviceRow>(body);
    row.device = PartReader::ToId<DeviceId>(body.device());
    row.name = body.name();
    body.key().copy(reinterpret_cast<char*>(row.key.data()), row.key.size());
    row.role = body.role();
    row.incarnation = body.incarnation();
    session_.Merge(row);
  }

  void Apply(const wire::InodeRow& body) {
    auto row = Begin<InodeRow>(body);
    row.ino = InoOf(body.inode());
    row.kind = static_cast<Kind>(body.kind());
    row.target = body.target();
    row.rdev = body.rdev();
    if (!body.copy_of().empty()) row.copy_of = InoOf(body.copy_of());
    session_.Merge(row);
  }

  void Apply(const wire::AttributesRow& body) {
    auto row = Begin<AttributesRow>(body);
    row.ino = InoOf(body.inode());
    row.mode = body.mode();
    row.owner = {.uid = body.uid(),
                 .gid = body.gid(),
                 .user = body.user(),
                 .group = body.group(),
                 .mounter = body.mounter(),
                 .mounter_group = body.mounter_group()};
    row.acl_access = body.acl_access();
    row.acl_default = body.acl_default();
    session_.Merge(row);
  }

  void Apply(const wire::RegisterRow& body) {
    auto row = Begin<RegisterRow>(body);
    row.ino = InoOf(body.inode());
    row.name = body.name();
    if (body.has_value()) row.value = body.value();
    session_.Merge(row);
  }

  void Apply(const wire::PlaceRow& body) {
    auto row = Begin<PlaceRow>(body);
    row.link = LinkOf(body.link());
    row.ino = InoOf(body.inode());
    row.spot = {InoOf(body.parent()), body.name()};
    if (!body.previous_parent().empty()) {
      row.previous = Slot{InoOf(body.previous_parent()), body.previous_name()};
    }
    session_.Merge(row);
  }

  void Apply(const wire::VersionRow& body) {
    auto row = Begin<VersionRow>(body);
    row.ino = InoOf(body.inode());
    row.commit = reader_.ToDot(body.commit());
    body.root().copy(reinterpret_cast<char*>(row.content.root.data()), row.content.root.size());
    row.content.size = body.size();
    row.mtime_ns = body.mtime_ns();
    row.inline_bytes = body.inline_();
    row.known = reader_.ToKnown(body.known());
    session_.Merge(std::move(row));
  }

  void Apply(const wire::RemovalRow& body) {
    RemovalRow row;
    row.link = LinkOf(body.link());
    row.seen = reader_.ToStamp(body.seen());
    row.known = reader_.ToKnown(body.known());
    if (!body.merged_into().empty()) row.merged_into = InoOf(body.merged_into());
    row.time_ns = body.time_ns();
    row.dot = dot_;
    row.extra = UnknownFields(body);
    session_.Merge(std::move(row));
  }

  void Apply(const wire::SeenRow& body) {
    SeenRow row;
    row.device = PartReader::ToId<DeviceId>(body.device());
    const auto read = [](const auto& numbers, Summary* to) {
      for (const auto& number : numbers) {
        (*to)[PartReader::ToId<DeviceId>(number.device())] = number.n();
      }
    };
    read(body.known(), &row.known);
    read(body.horizon(), &row.horizon);
    read(body.parts(), &row.parts);
    row.dot = dot_;
    row.extra = UnknownFields(body);
    session_.Merge(row);
  }

  Session& session_;
  Tables& tables_;
  const wire::Part& part_;
  PartReader reader_;
  Dot dot_;  // of the row at hand
};

class Receiver : public DeltaWriter {
 public:
  explicit Receiver(Catalogue::Impl& impl)
      : impl_(impl), stage_(impl.options().path.parent_path()) {}

  Result<bool> Add(std::string_view bytes) override {
    if (complete_ || stage_.count() == kPartsMax) return Error::kCorrupt;
    BOOST_OUTCOME_TRYA(part, ParsePart(bytes));
    if (part.number() != stage_.count()) return Error::kCorrupt;
    if (part.number() == 0) {
      since_ = PartReader(part).ToSummary(part.since());
      until_ = PartReader(part).ToSummary(part.until());
      giver_.until = until_;
      if (!part.giver().empty()) giver_.device = PartReader::ToId<DeviceId>(part.giver());
      giver_.horizon = PartReader(part).ToSummary(part.horizon());
      giver_.parts = PartReader(part).ToSummary(part.parts());
      giver_.collected = PartReader(part).ToSummary(part.collected());
    }
    BOOST_OUTCOME_TRYV(CheckDots(part));
    BOOST_OUTCOME_TRYV(stage_.Add(bytes));
    complete_ = part.last();
    return complete_;
  }

  Result<void> Finish() override {
    if (!complete_) return Error::kCorrupt;
    fault::Pass("index.apply");
    bool forgotten = false;
    const auto removed = impl_.Removed();
    auto verdict = Collection::Verdict::kTake;
    const auto applied = impl_.Write([&, this](Session& session) -> Result<void> {
      if (!Covers(session.known(), since_)) return Error::kNotCovered;
      forgotten = TakeIncarnationIfForgotten(session);
      if (forgotten) return Ok();
      Collection collection(session, removed);
      verdict = collection.Judge(giver_);
      if (verdict == Collection::Verdict::kLeftBehind) collection.NoteLeftBehind();
      if (verdict != Collection::Verdict::kTake) return Ok();
      session.WatchChanges();
      const Summary known = session.known();
      for (std::size_t i = 0; i < stage_.count(); ++i) {
        auto bytes = stage_.Take(i);
        if (!bytes) throw StorageFailure(bytes.error(), "index: a staged delta cannot be read");
        wire::Part part;
        part.ParseFromString(bytes.value());  // it parsed when it was added
        PartApplier(session, part).Apply(known);
      }
      session.JoinKnown(until_);
      session.Repair();
      collection.Took(giver_);
      return Ok();
    });
    // What it knew has changed with its device.
    if (applied && forgotten) return Error::kNotCovered;
    if (applied && verdict == Collection::Verdict::kNotYet) return Errno(EAGAIN);
    if (applied && verdict == Collection::Verdict::kLeftBehind) return Errno(ESTALE);
    return applied;
  }

 private:
  // The summary that comes with the rows has to speak of each of them.
  Result<void> CheckDots(const wire::Part& part) const {
    const PartReader reader(part);
    for (const auto& row : part.rows()) {
      if (!Covers(until_, Dot{reader.Device(row.dot_device()), row.dot_n()}))
        return Error::kCorrupt;
    }
    return Ok();
  }

  // A peer knows rows of this device that this host does not: it is an old copy of itself.
  bool TakeIncarnationIfForgotten(Session& session) {
    const DeviceId self = session.self();
    const auto mine = until_.find(self);
    if (mine == until_.end() || Covers(session.known(), Dot{self, mine->second})) return false;
    spdlog::warn(
        "index: others know more of this host than it does (an old copy of its cache?): "
        "it goes on as a new device");
    impl_.TakeNewIncarnation(session);
    session.Disown(self);
    return true;
  }

  Catalogue::Impl& impl_;
  Stage stage_;
  Summary since_, until_;
  Giver giver_;
  bool complete_ = false;
};

}  // namespace

std::unique_ptr<DeltaWriter> Catalogue::Receive() { return std::make_unique<Receiver>(*impl_); }

}  // namespace btfc::index
