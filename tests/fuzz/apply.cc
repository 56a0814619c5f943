// Rows of other hosts, each valid by itself, in combinations that no host of ours writes: cycles,
// folders in files, links of what never came, removals of everything, times of any year.
#include <filesystem>
#include <set>
#include <string>
#include <vector>

#include "index/catalogue.h"
#include "index/delta.h"
#include "index/merkle.h"
#include "take.h"
#include "targets.h"
#include "tests/support/temp_dir.h"

namespace btfc::fuzz {
namespace {

namespace wire = index::wire;

constexpr int kRowsMax = 64;
constexpr std::size_t kEntriesMax = 10'000;

// Few of each, so that rows meet.
std::string Id(std::uint64_t number) {
  return std::string(15, '\x11') + static_cast<char>(1 + number % 6);
}
std::string FolderId(std::uint64_t number) {
  return number % 3 == 0 ? std::string(16, '\0') : Id(number);
}
index::DeviceId Device(std::uint64_t number) {
  return index::PartReader::ToId<index::DeviceId>(
      std::string(16, static_cast<char>('A' + number % 3)));
}
std::string Name(std::uint64_t number) {
  static const char* const kNames[] = {"a", "b", "a (conflict X 2020-01-01-abcdef)", "c"};
  return kNames[number % 4];
}

// Makes a delta by the input's numbers.
class Recipe {
 public:
  explicit Recipe(Take take) : take_(take) {}

  std::string Cook() {
    std::vector<wire::Row> rows;
    while (!take_.empty() && rows.size() < kRowsMax) rows.push_back(Row());
    part_.SetSummaries({}, until_);
    for (auto& row : rows) part_.Add(std::move(row));
    return part_.Finish(/*last=*/true);
  }

 private:
  std::uint64_t N() { return take_.Number(1); }

  void PutStamp(wire::Stamp* to) {
    const std::uint64_t byte = N();
    index::Stamp stamp;
    stamp.device = Device(byte);
    // Sometimes far in the future or the past.
    stamp.time_ns =
        static_cast<std::int64_t>(byte / 4) * (byte % 7 == 0 ? 1'000'000'000'000'000 : 1);
    if (byte % 11 == 0) stamp.time_ns = -stamp.time_ns;
    stamp.life = static_cast<std::uint32_t>(byte % 13 == 0 ? byte : 0);
    stamp.sub = static_cast<std::uint32_t>(byte % 17 == 0 ? byte : 0);
    part_.Put(stamp, to);
  }

  void PutKnown(wire::Known* to) {
    index::Known known;
    const std::uint64_t byte = N();
    if (byte % 2 == 1) known.context[Device(byte / 2)] = 1 + byte / 8;
    part_.Put(known, to);
  }

  wire::Row Row() {
    const std::uint64_t kind = N();
    const index::DeviceId device = Device(kind / 8);
    wire::Row row = part_.NewRow({device, ++until_[device]});
    switch (kind % 8) {
      case 0:
      case 1:
        Inode(row.mutable_inode());
        break;
      case 2:
      case 3:
        Place(row.mutable_place());
        break;
      case 4:
        Version(row.mutable_version(), {device, until_[device]});
        break;
      case 5:
        Removal(row.mutable_removal());
        break;
      case 6:
        Attributes(row.mutable_attributes());
        break;
      default:
        Register(row.mutable_register_());
        break;
    }
    return row;
  }

  void Inode(wire::InodeRow* row) {
    PutStamp(row->mutable_stamp());
    const std::uint64_t byte = N();
    row->set_inode(Id(byte));
    row->set_kind(1 + (byte / 8) % 3);
    if (row->kind() == 3) row->set_target("../a");
  }
  void Place(wire::PlaceRow* row) {
    PutStamp(row->mutable_stamp());
    const std::uint64_t byte = N();
    row->set_link(Id(byte));
    row->set_inode(Id(byte % 5 == 0 ? N() : byte));
    const std::string parent = FolderId(N());
    row->set_parent(parent == row->link() ? FolderId(0) : parent);
    row->set_name(Name(byte / 8));
  }
  void Version(wire::VersionRow* row, const index::Dot& commit) {
    PutStamp(row->mutable_stamp());
    const std::uint64_t byte = N();
    row->set_inode(Id(byte));
    part_.Put(commit, row->mutable_commit());
    const std::string bytes(byte % 4, 'v');
    const auto id = index::ContentIdOf(bytes);
    row->set_root(id.root.data(), id.root.size());
    row->set_size(byte % 5 == 0 ? (std::uint64_t{1} << 62U) + byte : id.size);
    if (row->size() == id.size) row->set_inline_(bytes);
    row->set_mtime_ns(static_cast<std::int64_t>(byte) * 1'000'000'000);
    PutKnown(row->mutable_known());
  }
  void Removal(wire::RemovalRow* row) {
    row->set_link(Id(N()));
    PutStamp(row->mutable_seen());
    PutKnown(row->mutable_known());
    const std::uint64_t byte = N();
    if (byte % 3 == 0 && Id(byte / 3) < row->link()) row->set_merged_into(Id(byte / 3));
    row->set_time_ns(static_cast<std::int64_t>(byte));
  }
  void Attributes(wire::AttributesRow* row) {
    PutStamp(row->mutable_stamp());
    row->set_inode(FolderId(N()));
    row->set_mode(static_cast<std::uint32_t>(take_.Number(2)) & 07777U);
    row->set_acl_access(std::string(take_.Piece().substr(0, 100)));
  }
  void Register(wire::RegisterRow* row) {
    PutStamp(row->mutable_stamp());
    row->set_inode(FolderId(N()));
    row->set_name("xuser." + Name(N()));
    if (N() % 4 != 0) row->set_value("value");
  }

  Take take_;
  index::PartMaker part_{0};
  index::Summary until_;
};

// Every name leads somewhere, once in its folder, and no folder contains itself.
void CheckTree(index::Catalogue& catalogue) {
  std::set<index::Ino> folders = {index::kRootIno};
  std::vector<index::Ino> to_do = {index::kRootIno};
  std::size_t seen = 0;
  while (!to_do.empty()) {
    const index::Ino folder = to_do.back();
    to_do.pop_back();
    const auto listed = catalogue.List(folder, 0, kEntriesMax);
    BTFC_FUZZ_CHECK(listed.has_value());
    std::set<std::string> names;
    for (const auto& entry : listed.value()) {
      BTFC_FUZZ_CHECK(++seen < kEntriesMax);
      BTFC_FUZZ_CHECK(names.insert(entry.name).second);
      BTFC_FUZZ_CHECK(catalogue.Lookup(folder, entry.name).has_value());
      if (entry.node.kind != index::Kind::kFolder) continue;
      BTFC_FUZZ_CHECK(folders.insert(entry.node.ino).second);
      to_do.push_back(entry.node.ino);
    }
  }
}

Result<void> Give(index::Catalogue& catalogue, const std::vector<std::string>& parts) {
  const auto writer = catalogue.Receive();
  for (const auto& part : parts) {
    const auto added = writer->Add(part);
    if (!added) return added.error();
    if (added.value()) return writer->Finish();
  }
  return Error::kCorrupt;
}

}  // namespace

// A first byte that is odd: a recipe; else parts as they travel, each with its length before it.
void Apply(std::string_view bytes) {
  const test::TempDir folder("fuzz");
  index::CatalogueOptions options;
  options.path = folder / "index.db";
  options.host_name = "fuzz";
  const auto opened = index::Catalogue::Open(options);
  BTFC_FUZZ_CHECK(opened.has_value());
  index::Catalogue& catalogue = *opened.value();
  Take take(bytes);
  if (take.Number(1) % 2 == 1) {
    const std::string part = Recipe(take).Cook();
    // Not every combination of numbers makes good rows.
    if (!index::ParsePart(part)) return;
    BTFC_FUZZ_CHECK(Give(catalogue, {part}).has_value());
  } else {
    std::vector<std::string> parts;
    while (!take.empty()) parts.emplace_back(take.LongPiece());
    Give(catalogue, parts).has_value();
  }
  CheckTree(catalogue);
}

}  // namespace btfc::fuzz
