// Bounds of what comes from other hosts.
#include <algorithm>

#include "index/delta.h"
#include "index/derived_ids.h"
#include "index/merkle.h"
#include "index/operations.h"
#include "index/reader.h"
#include "index/stamps.h"

namespace btfc::index {
namespace {

constexpr std::size_t kIdSize = 16;
constexpr std::size_t kMtimeSize = 8;
constexpr std::int64_t kTimeMax = kStampTimeMax;

class Checker {
 public:
  explicit Checker(const wire::Part& part) : part_(part) {}

  bool Check() const {
    if (part_.devices_size() > kDevicesMax) return false;
    for (const auto& device : part_.devices()) {
      if (device.size() != kIdSize) return false;
    }
    const bool first = part_.number() == 0;
    if (first != part_.has_since() || first != part_.has_until()) return false;
    if (first && !(Good(part_.since()) && Good(part_.until()))) return false;
    if (!first && (part_.has_horizon() || part_.has_collected() || part_.has_parts())) return false;
    if (!part_.giver().empty() && (!first || part_.giver().size() != kIdSize)) return false;
    if (!Good(part_.horizon()) || !Good(part_.collected()) || !Good(part_.parts())) return false;
    return std::all_of(part_.rows().begin(), part_.rows().end(),
                       [this](const wire::Row& row) { return Good(row); });
  }

 private:
  bool GoodDevice(std::uint32_t number) const {
    return number < static_cast<std::uint32_t>(part_.devices_size());
  }
  static bool GoodNumber(std::uint64_t n) { return n > 0 && n <= kDotMax; }
  static bool GoodTime(std::int64_t time) { return time >= -kTimeMax && time <= kTimeMax; }
  bool Good(const wire::Dot& dot) const { return GoodDevice(dot.device()) && GoodNumber(dot.n()); }
  bool Good(const wire::Stamp& stamp) const {
    return GoodDevice(stamp.device()) && GoodTime(stamp.time_ns()) &&
           stamp.life() <= kStampCountMax && stamp.sub() <= kStampCountMax;
  }
  bool Good(const wire::Summary& summary) const {
    if (summary.known_size() > kDevicesMax) return false;
    std::set<std::uint32_t> seen;
    return std::all_of(summary.known().begin(), summary.known().end(), [&](const wire::Dot& dot) {
      return Good(dot) && seen.insert(dot.device()).second;
    });
  }
  bool Good(const wire::Known& known) const {
    if (known.aside_size() > kAsideMax || !Good(known.context())) return false;
    return std::all_of(known.aside().begin(), known.aside().end(),
                       [this](const wire::Dot& dot) { return Good(dot); });
  }
  // Of the root only attributes travel.
  static bool GoodId(const std::string& id) {
    return id.size() == kIdSize && id != std::string(kIdSize, '\0');
  }
  static bool GoodFolder(const std::string& id) { return id.size() == kIdSize; }

  bool Good(const wire::Row& row) const {
    if (!GoodDevice(row.dot_device()) || !GoodNumber(row.dot_n())) return false;
    if (UnknownFields(row).size() > kUnknownMax) return false;
    switch (row.body_case()) {
      case wire::Row::kDevice:
        return Good(row.device()) && (row.device().role() == kRemovedHost || SaidByItself(row));
      case wire::Row::kInode:
        return Good(row.inode());
      case wire::Row::kAttributes:
        return Good(row.attributes());
      case wire::Row::kRegister:
        return Good(row.register_());
      case wire::Row::kPlace:
        return Good(row.place());
      case wire::Row::kVersion:
        return Good(row.version());
      case wire::Row::kRemoval:
        return Good(row.removal());
      case wire::Row::kSeen:
        // Nobody says this for another.
        return Good(row.seen()) &&
               row.seen().device() == part_.devices(static_cast<int>(row.dot_device()));
      case wire::Row::BODY_NOT_SET:
        break;
    }
    return !UnknownFields(row).empty();  // a kind of a newer version
  }

  // Only a device's own host names it.
  bool SaidByItself(const wire::Row& row) const {
    return row.device().device() == part_.devices(static_cast<int>(row.dot_device())) &&
           row.device().stamp().device() == row.dot_device();
  }

  bool Good(const wire::DeviceRow& row) const {
    if (!Good(row.stamp()) || !GoodId(row.device()) || row.name().size() > kNameMax ||
        row.key().size() != sizeof(NodeKey) || row.role() > kRoleMax) {
      return false;
    }
    // A device is of one key for ever, and the removal of a host has an id that nothing else has.
    NodeKey key;
    row.key().copy(reinterpret_cast<char*>(key.data()), key.size());
    return PartReader::ToId<DeviceId>(row.device()) ==
           (row.role() == kRemovedHost ? RemovalIdOf(key) : DeviceIdOf(key, row.incarnation()));
  }

  bool Good(const wire::InodeRow& row) const {
    if (!Good(row.stamp()) || !GoodId(row.inode())) return false;
    if (row.kind() < static_cast<std::uint32_t>(Kind::kFile) ||
        row.kind() > static_cast<std::uint32_t>(Kind::kBlockDevice)) {
      return false;
    }
    const auto kind = static_cast<Kind>(row.kind());
    const bool device = kind == Kind::kCharDevice || kind == Kind::kBlockDevice;
    if (!device && row.rdev() != 0) return false;
    if (!row.copy_of().empty() && (!GoodId(row.copy_of()) || kind != Kind::kFile)) return false;
    if (row.copy_of() == row.inode()) return false;
    if (kind != Kind::kSymlink) return row.target().empty();
    return !row.target().empty() && row.target().size() <= kTargetMax &&
           row.target().find('\0') == std::string::npos;
  }

  bool Good(const wire::AttributesRow& row) const {
    return Good(row.stamp()) && GoodFolder(row.inode()) && row.mode() <= 07777 &&
           row.user().size() <= kOwnerNameMax && row.group().size() <= kOwnerNameMax &&
           row.acl_access().size() <= kAclMax && row.acl_default().size() <= kAclMax;
  }

  bool Good(const wire::RegisterRow& row) const {
    if (!Good(row.stamp()) || !GoodFolder(row.inode())) return false;
    if (row.name() == kMtimeRegister) return row.has_value() && row.value().size() == kMtimeSize;
    return row.name().size() > 1 && row.name().size() <= kNameMax + 1 &&
           row.name().front() == kXattrRegister && row.name().find('\0') == std::string::npos &&
           row.value().size() <= kXattrValueMax;
  }

  bool Good(const wire::PlaceRow& row) const {
    if (!Good(row.stamp()) || !GoodId(row.link()) || !GoodId(row.inode())) return false;
    if (!GoodFolder(row.parent()) || row.parent() == row.link()) return false;
    if (!CheckName(row.name())) return false;
    if (row.previous_parent().empty()) return row.previous_name().empty();
    return GoodFolder(row.previous_parent()) && CheckName(row.previous_name());
  }

  bool Good(const wire::VersionRow& row) const {
    if (!Good(row.stamp()) || !GoodId(row.inode()) || !Good(row.commit()) || !Good(row.known())) {
      return false;
    }
    if (row.size() > static_cast<std::uint64_t>(INT64_MAX)) return false;
    if (!row.root().empty() && row.root().size() != sizeof(ContentId::root)) return false;
    if (row.size() > kInlineMax) return row.inline_().empty() && !row.root().empty();
    if (row.inline_().size() != row.size()) return false;
    ContentId id;
    row.root().copy(reinterpret_cast<char*>(id.root.data()), id.root.size());
    id.size = row.size();
    return ContentIdOf(row.inline_()) == id;
  }

  bool Good(const wire::RemovalRow& row) const {
    if (!GoodId(row.link()) || !Good(row.seen()) || !Good(row.known())) return false;
    if (!GoodTime(row.time_ns())) return false;
    // Folders merge into one with a lower id, so that following them ends.
    return row.merged_into().empty() ||
           (GoodId(row.merged_into()) && row.merged_into() < row.link());
  }

  static bool Good(const google::protobuf::RepeatedPtrField<wire::SeenRow::Number>& numbers) {
    if (numbers.size() > kDevicesMax) return false;
    std::set<std::string> seen;
    return std::all_of(numbers.begin(), numbers.end(), [&](const auto& number) {
      return number.device().size() == kIdSize && GoodNumber(number.n()) &&
             seen.insert(number.device()).second;
    });
  }
  static bool Good(const wire::SeenRow& row) {
    return row.device().size() == kIdSize && Good(row.known()) && Good(row.horizon()) &&
           Good(row.parts());
  }

  const wire::Part& part_;
};

}  // namespace

Result<wire::Part> ParsePart(std::string_view bytes) {
  wire::Part part;
  if (bytes.size() > kDeltaPartMax ||
      !part.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
    return Error::kCorrupt;
  }
  if (part.format() > kDeltaFormat) return Error::kTooNew;
  if (part.format() != kDeltaFormat || !Checker(part).Check()) return Error::kCorrupt;
  return part;
}

DeviceId PartReader::Device(std::uint32_t number) const {
  return ToId<DeviceId>(part_.devices(static_cast<int>(number)));
}

Stamp PartReader::ToStamp(const wire::Stamp& stamp) const {
  return {stamp.time_ns(), Device(stamp.device()), stamp.life(), stamp.sub()};
}

Summary PartReader::ToSummary(const wire::Summary& summary) const {
  Summary known;
  for (const auto& dot : summary.known()) JoinInto(known, ToDot(dot));
  return known;
}

Known PartReader::ToKnown(const wire::Known& known) const {
  Known read{ToSummary(known.context()), {}};
  for (const auto& dot : known.aside()) read.aside.insert(ToDot(dot));
  return read;
}

}  // namespace btfc::index
