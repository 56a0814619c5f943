// Figures for people, and the check of everything.
#include <spdlog/spdlog.h>

#include <set>

#include "index/catalogue_impl.h"
#include "index/derived_ids.h"

namespace btfc::index {
namespace {

// Each asks for rows that must not be there.
struct Invariant {
  const char* says;
  Sql sql;
};
constexpr Invariant kInvariants[] = {
    {"two links shown at one name",
     "SELECT 1 FROM place WHERE up IS NOT NULL AND state & 8 GROUP BY up, name HAVING count(*) > "
     "1"},
    {"two live links at one name",
     "SELECT 1 FROM place WHERE up IS NOT NULL AND state & 2 GROUP BY up, name HAVING count(*) > "
     "1"},
    {"a wrong number of links",
     "SELECT 1 FROM inode i LEFT JOIN (SELECT ino, sum((state & 2) / 2) AS live, "
     "  sum((state & 4) / 4) AS ours FROM place WHERE ino IS NOT NULL GROUP BY ino) p "
     "ON p.ino = i.ino WHERE i.ino <> 1 AND (i.live_links <> coalesce(p.live, 0) "
     "  OR i.nlink <> coalesce(p.ours, 0))"},
    {"a wrong number of subfolders",
     "SELECT 1 FROM inode i WHERE i.kind = 2 AND i.subfolders <> "
     "(SELECT count(*) FROM place p JOIN inode c ON c.ino = p.ino "
     "  WHERE p.up = i.ino AND p.state & 4 AND c.kind = 2)"},
    {"a file with a name and several heads",
     "SELECT 1 FROM version v JOIN inode i ON i.ino = v.ino WHERE i.live_links > 0 "
     "AND i.undeleted AND i.removed IS NULL GROUP BY v.ino HAVING count(*) > 1"},
    {"an edited file without a name",
     "SELECT 1 FROM inode i WHERE i.kind = 1 AND i.undeleted AND i.live_links = 0 "
     "AND i.copy_of IS NULL "
     "AND EXISTS (SELECT 1 FROM place p WHERE p.ino = i.ino AND p.dot_n IS NOT NULL)"},
    {"an entry that no path leads to",
     "WITH RECURSIVE reached (ino) AS (SELECT 1 UNION SELECT p.ino FROM reached r "
     "  JOIN place p ON p.up = r.ino AND p.state & 2) "
     "SELECT 1 FROM place WHERE state & 2 AND ino NOT IN (SELECT ino FROM reached)"},
    {"an object that is needed or kept without a version, or the other way round",
     "SELECT 1 FROM object b WHERE b.needed <> EXISTS (SELECT 1 FROM version v JOIN inode i "
     "  ON i.ino = v.ino AND i.head = v.version WHERE v.root = b.root AND v.size = b.size "
     "  AND v.size > 16384 AND (i.live_links > 0 OR i.nlink > 0))"},
    {"a row with a number that is not known to be used",
     "SELECT 1 FROM (SELECT dot_dev, dot_n FROM inode UNION ALL SELECT dot_dev, dot_n FROM place "
     "  UNION ALL SELECT dot_dev, dot_n FROM version UNION ALL SELECT dot_dev, dot_n FROM removal) "
     "r "
     "JOIN device d ON d.dev = r.dot_dev WHERE r.dot_n > d.known"},
};

// Contents that are not here only because what they were is being written to: nobody waits for
// them. Not those that came meanwhile and are shown when the writer has closed.
MissingTotal WrittenOver(Database& database, DeviceTable& devices) {
  auto find = database.Prepare(
      "SELECT v.root, v.size, v.commit_dev, v.commit_n, d.known FROM dirty d "
      "JOIN inode i ON i.ino = d.ino JOIN version v ON v.version = i.head AND v.size > 16384 "
      "JOIN object b ON b.root = v.root AND b.size = v.size AND b.needed = 1 AND b.present = 0 "
      "WHERE NOT EXISTS (SELECT 1 FROM version w JOIN inode j ON j.head = w.version "
      "  WHERE w.root = v.root AND w.size = v.size AND w.size > 16384 "
      "  AND (j.live_links > 0 OR j.nlink > 0) AND j.ino NOT IN (SELECT ino FROM dirty))");
  std::set<ContentId> contents;
  MissingTotal total;
  while (find.Step()) {
    const Dot commit{devices.IdOf(find.Int(2)), find.Unsigned(3)};
    if (!devices.DecodeKnown(find.Bytes(4)).Overwrote(commit)) continue;
    const ContentId id{find.Fixed<std::array<std::uint8_t, 32>>(0), find.Unsigned(1)};
    if (!contents.insert(id).second) continue;
    ++total.objects;
    total.bytes += id.size;
  }
  return total;
}

MissingTotal MissingIn(Database& database, DeviceTable& devices) {
  auto missing = database.Prepare(
      "SELECT count(*), coalesce(sum(size), 0) FROM object WHERE needed = 1 AND present = 0");
  missing.Step();
  // `missing` is still being read: both answers are of one state of the database.
  const MissingTotal written = WrittenOver(database, devices);
  return {missing.Unsigned(0) - written.objects, missing.Unsigned(1) - written.bytes};
}

}  // namespace

Result<MissingTotal> Catalogue::CountMissing() {
  return impl_->ReadLong([&](Reader& reader) -> Result<MissingTotal> {
    return MissingIn(reader.db(), impl_->devices());
  });
}

Result<std::string> Catalogue::PathOfContent(const ContentId& id) {
  return impl_->Read([&](Reader& reader) -> Result<std::string> {
    // The bound is a fact to the planner: the index of objects holds only larger ones.
    auto find = reader.db().Prepare(
        "SELECT i.ino FROM version v JOIN inode i ON i.head = v.version "
        "WHERE v.root = ?1 AND v.size = ?2 AND v.size > 16384 AND i.live_links > 0 LIMIT 1");
    find << id.root << id.size;
    if (!find.Step()) return Errno(ENOENT);
    return reader.PathOf(find.Unsigned(0));
  });
}

Result<Counts> Catalogue::Count() {
  return impl_->ReadLong([&](Reader& reader) -> Result<Counts> {
    Counts counts;
    auto files = reader.db().Prepare(
        "SELECT count(*) FILTER (WHERE i.kind = 1), count(*) FILTER (WHERE i.kind = 2 AND "
        "i.ino <> "
        "1),"
        " coalesce(sum(v.size), 0) FROM inode i LEFT JOIN version v ON v.version = i.head "
        "WHERE i.nlink > 0");
    files.Step();
    counts.files = files.Unsigned(0);
    counts.folders = files.Unsigned(1);
    counts.bytes = files.Unsigned(2);
    const auto missing = MissingIn(reader.db(), impl_->devices());
    counts.missing_objects = missing.objects;
    counts.missing_bytes = missing.bytes;
    counts.conflicts = static_cast<std::uint64_t>(
        reader.db().Number("SELECT count(*) FROM place WHERE conflict IS NOT NULL"));
    return counts;
  });
}

Result<std::vector<std::string>> Catalogue::Conflicts(std::size_t limit) {
  return impl_->Read([&](Reader& reader) -> Result<std::vector<std::string>> {
    auto find = reader.db().Prepare(
        "SELECT up, name FROM place WHERE conflict IS NOT NULL ORDER BY link LIMIT ?");
    find << static_cast<std::uint64_t>(limit);
    std::vector<std::string> paths;
    while (find.Step()) {
      BOOST_OUTCOME_TRYA(path, reader.PathOf(find.Unsigned(0)));
      if (path != "/") path += '/';
      paths.push_back(path + find.String(1));
    }
    return paths;
  });
}

Result<std::vector<DeviceInfo>> Catalogue::Devices() {
  const DeviceId self = impl_->Self();
  return impl_->ReadLong([&](Reader& reader) -> Result<std::vector<DeviceInfo>> {
    auto find =
        reader.db().Prepare("SELECT id, name, known, key FROM device WHERE known > 0 ORDER BY dev");
    std::vector<DeviceInfo> devices;
    while (find.Step()) {
      DeviceInfo info;
      info.id = find.Fixed<DeviceId>(0);
      info.name = find.String(1);
      info.known = find.Unsigned(2);
      info.self = info.id == self;
      if (!find.IsNull(3)) info.node_key = find.Fixed<NodeKey>(3);
      info.removed = impl_->IsRemoved(info.node_key);
      devices.push_back(std::move(info));
    }
    return devices;
  });
}

Result<void> Catalogue::RemoveMember(const DeviceId& device) {
  return impl_->Write([&](Session& session) -> Result<void> {
    const auto known = session.tables().devices().IfKnown(device);
    const auto row = known ? session.tables().GetDevice(device) : std::nullopt;
    if (!row || row->role == kRemovedHost) return Errno(ENOENT);
    if (row->key == impl_->options().node_key) return Errno(EINVAL);
    if (impl_->IsRemoved(row->key)) return Ok();
    DeviceRow removal;
    removal.device = RemovalIdOf(row->key);
    removal.name = row->name;
    removal.key = row->key;
    removal.role = kRemovedHost;
    removal.stamp = session.Now();
    removal.dot = session.NextDot();
    session.Merge(removal);
    return Ok();
  });
}

Result<bool> Catalogue::WasRemoved(Ino ino) {
  if (!impl_->Continues()) return false;
  return impl_->Read([&](Reader& reader) -> Result<bool> {
    auto find = reader.db().Prepare("SELECT 1 FROM inode WHERE ino = ?");
    find << ino;
    if (find.Step()) return false;
    return ino <
           static_cast<Ino>(reader.db().Number("SELECT value FROM meta WHERE key = 'next_ino'"));
  });
}

Result<void> Catalogue::CheckIntegrity() {
  return impl_->ReadLong([&](Reader& reader) -> Result<void> {
    auto check = reader.db().Prepare("PRAGMA integrity_check(1)");
    if (!check.Step() || check.Bytes(0) != "ok") {
      spdlog::error("index: SQLite says: {}", check.String(0));
      return Error::kCorrupt;
    }
    for (const auto& invariant : kInvariants) {
      auto broken = reader.db().Prepare(invariant.sql);
      if (!broken.Step()) continue;
      spdlog::error("index: {}", invariant.says);
      return Error::kCorrupt;
    }
    return Ok();
  });
}

}  // namespace btfc::index
