// Parts of deltas: made from this host's rows, and checked when they come from another.
#pragma once

#include <map>
#include <string>
#include <string_view>

#include "delta.pb.h"
#include "index/rows.h"
#include "index/tables.h"

namespace btfc::index {

inline constexpr std::uint32_t kDeltaFormat = 1;
inline constexpr int kDevicesMax = 2048;  // in one part
inline constexpr int kAsideMax = 4096;    // in one Known
inline constexpr std::uint32_t kRoleMax = kRemovedHost;
inline constexpr std::size_t kUnknownMax =
    64 * 1024;  // bytes of fields of a newer version in a row

// Parses a part. Error::kCorrupt for bytes that no host of this protocol writes. Whether they are
// depends on them alone, never on this host's clock or rows, so that all hosts judge alike.
Result<wire::Part> ParsePart(std::string_view bytes);

// Reads ids and numbers out of a part that was checked.
class PartReader {
 public:
  explicit PartReader(const wire::Part& part) : part_(part) {}
  DeviceId Device(std::uint32_t number) const;
  Stamp ToStamp(const wire::Stamp& stamp) const;
  Dot ToDot(const wire::Dot& dot) const { return {Device(dot.device()), dot.n()}; }
  Summary ToSummary(const wire::Summary& summary) const;
  Known ToKnown(const wire::Known& known) const;
  template <class IdType>
  static IdType ToId(std::string_view bytes) {
    IdType id;
    bytes.copy(reinterpret_cast<char*>(id.bytes.data()), id.bytes.size());
    return id;
  }

 private:
  const wire::Part& part_;
};

// Collects rows into one part.
class PartMaker {
 public:
  explicit PartMaker(std::uint32_t number);
  void SetSummaries(const Summary& since, const Summary& until);
  void SetGiver(const DeviceId& giver, const Summary& horizon, const Summary& parts,
                const Summary& collected);
  wire::Row NewRow(const Dot& dot);
  std::uint32_t Device(const DeviceId& device);
  void Put(const Stamp& stamp, wire::Stamp* to);
  void Put(const Dot& dot, wire::Dot* to);
  void Put(const Summary& summary, wire::Summary* to);
  void Put(const Known& known, wire::Known* to);
  // Answers false, and does not take it, if the part would be too large with it; a part takes at
  // least one row.
  bool Add(wire::Row row);
  std::string Finish(bool last);

 private:
  wire::Part part_;
  std::map<DeviceId, std::uint32_t> devices_;
  std::size_t size_ = 0;  // bytes of the rows
};

// What a message has beyond the fields that this version knows; and back into it.
std::string UnknownFields(const google::protobuf::Message& message);
void SetUnknownFields(const std::string& bytes, google::protobuf::Message* message);

// One row of this host by its number or name, as it travels.
class RowEncoder {
 public:
  RowEncoder(Tables& tables, PartMaker& part) : tables_(tables), part_(part) {}
  wire::Row Device(std::int64_t number);
  wire::Row Inode(Ino ino);
  wire::Row Attributes(Ino ino);
  wire::Row Register(std::int64_t number);
  wire::Row Place(LinkNo link);
  wire::Row Version(VersionNo version);
  wire::Row Removal(LinkNo link);
  wire::Row Seen(std::int64_t number);
  wire::Row Other(const Dot& dot);

 private:
  template <class T>
  std::string Bytes(const T& id) const {
    return {reinterpret_cast<const char*>(id.bytes.data()), id.bytes.size()};
  }
  Tables& tables_;
  PartMaker& part_;
};

}  // namespace btfc::index
