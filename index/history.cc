// Versions that are not current any more, and files that are gone: how they get into the history,
// and how they leave it.
#include <algorithm>
#include <limits>

#include "index/catalogue_impl.h"

namespace btfc::index {
namespace {

constexpr std::size_t kPrunedAtOnce = 256;    // in one transaction
constexpr std::uint64_t kGoneAlways = 10000;  // deleted names that are kept whatever there is
constexpr std::uint64_t kInlineShare = 4;     // the index may take a quarter of the room
constexpr double kSecond = 1e9;               // ns

// What may leave the history.
struct Old {
  VersionNo version = 0;  // 0: all of the inode, which is gone
  Ino ino = 0;
};

std::vector<Old> ReadOld(Statement& find) {
  std::vector<Old> old;
  while (find.Step()) old.push_back({find.Int(0), find.Unsigned(1)});
  return old;
}

}  // namespace

void Session::Archive(const VersionRow& row, const std::string& inline_bytes) {
  NoteObject(row.content);
  if (context_.kept_versions == 0) return;
  auto insert = tables_.db().Prepare(
      "INSERT OR IGNORE INTO history (ino, commit_dev, commit_n, root, size, mtime, time, dev, "
      "inline, replaced) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)");
  insert << row.ino;
  tables_.Bind(insert, row.commit);
  insert << row.content.root << row.content.size << row.mtime_ns << row.stamp.time_ns
         << tables_.devices().NumberOf(tables_.db(), row.stamp.device);
  if (inline_bytes.empty()) {
    insert << nullptr;
  } else {
    insert << inline_bytes;
  }
  insert << context_.now_ns;
  insert.Run();
  ThinOut(row.ino);
}

// One too many: that one goes which stands closest between its neighbours, for its age. So a file
// that is saved every few seconds keeps its latest versions, and some of each hour and day before.
void Session::ThinOut(Ino ino) {
  struct Point {
    VersionNo version;
    double time_s;
  };
  std::vector<Point> points;
  auto find = tables_.db().Prepare(
      "SELECT version, time FROM history WHERE ino = ? ORDER BY time DESC, version DESC");
  find << ino;
  while (find.Step()) points.push_back({find.Int(0), static_cast<double>(find.Int(1)) / kSecond});
  const double now_s = static_cast<double>(context_.now_ns) / kSecond;
  while (points.size() > context_.kept_versions) {
    std::size_t least = points.size() - 1;
    double least_weight = std::numeric_limits<double>::max();
    for (std::size_t i = 1; i + 1 < points.size(); ++i) {  // the oldest one goes by its age alone
      const double age = std::max(0.0, now_s - points[i].time_s) + 1;
      const double weight = (points[i - 1].time_s - points[i + 1].time_s) / age;
      if (weight < least_weight) {
        least_weight = weight;
        least = i;
      }
    }
    DropFromHistory(points[least].version);
    points.erase(points.begin() + static_cast<std::ptrdiff_t>(least));
  }
}

void Session::DropFromHistory(VersionNo version) {
  auto find = tables_.db().Prepare("SELECT root, size FROM history WHERE version = ?");
  find << version;
  if (!find.Step()) return;
  NoteObject({find.Fixed<std::array<std::uint8_t, 32>>(0), find.Unsigned(1)});
  auto drop = tables_.db().Prepare("DELETE FROM history WHERE version = ?");
  drop << version;
  drop.Run();
}

// An inode without a name is not kept any more.
void Session::DropGone(Ino ino) {
  NoteObjectsOf(ino);
  auto drop = tables_.db().Prepare("DELETE FROM history WHERE ino = ?");
  drop << ino;
  drop.Run();
  auto forget = tables_.db().Prepare("UPDATE inode SET gone = -1 WHERE ino = ? AND gone > 0");
  forget << ino;
  forget.Run();
}

namespace {

// Each answers the oldest of what is beyond one limit, at most kPrunedAtOnce.

std::vector<Old> BeyondAge(Database& db, std::int64_t before_ns) {
  auto find = db.Prepare(
      "SELECT version, ino, replaced AS at FROM history WHERE replaced < ?1 "
      "UNION ALL SELECT 0, ino, gone FROM inode WHERE gone > 0 AND gone < ?1 ORDER BY at LIMIT ?2");
  find << before_ns << static_cast<std::uint64_t>(kPrunedAtOnce);
  return ReadOld(find);
}

// The index stays proportional to what exists.
std::vector<Old> BeyondNumber(Database& db) {
  const auto gone = db.Number("SELECT count(*) FROM inode WHERE gone > 0");
  if (static_cast<std::uint64_t>(gone) <= kGoneAlways) return {};
  const auto all = db.Number("SELECT count(*) FROM inode");
  const auto allowed = std::max<std::int64_t>(kGoneAlways, all - gone);
  if (gone <= allowed) return {};
  auto find = db.Prepare("SELECT 0, ino FROM inode WHERE gone > 0 ORDER BY gone LIMIT ?");
  find << std::min<std::int64_t>(gone - allowed, kPrunedAtOnce);
  return ReadOld(find);
}

std::vector<Old> BeyondObjects(Database& db, std::uint64_t bytes) {
  const auto held = db.Number(
      "SELECT coalesce(sum(size), 0) FROM object WHERE kept = 1 AND needed = 0 AND present = 1");
  if (static_cast<std::uint64_t>(held) <= bytes) return {};
  auto find = db.Prepare(
      "SELECT h.version, h.ino, h.replaced AS at FROM history h JOIN object b ON b.root = h.root "
      "  AND b.size = h.size AND b.kept = 1 AND b.needed = 0 AND b.present = 1 "
      "UNION ALL SELECT 0, i.ino, i.gone FROM inode i JOIN version v ON v.version = i.head "
      "  JOIN object b ON b.root = v.root AND b.size = v.size AND b.kept = 1 AND b.needed = 0 "
      "  AND b.present = 1 WHERE i.gone > 0 ORDER BY at LIMIT 1");
  return ReadOld(find);
}

std::vector<Old> BeyondInline(Database& db, std::uint64_t bytes) {
  const auto held = db.Number(
      "SELECT (SELECT coalesce(sum(size), 0) FROM history WHERE size <= 16384) + "
      "(SELECT coalesce(sum(v.size), 0) FROM inode i JOIN version v ON v.version = i.head "
      " WHERE i.gone > 0 AND v.size <= 16384)");
  if (static_cast<std::uint64_t>(held) <= bytes / kInlineShare) return {};
  auto find = db.Prepare(
      "SELECT version, ino, replaced AS at FROM history WHERE size <= 16384 UNION ALL "
      "SELECT 0, i.ino, i.gone FROM inode i JOIN version v ON v.version = i.head "
      "WHERE i.gone > 0 AND v.size <= 16384 ORDER BY at LIMIT ?");
  find << static_cast<std::uint64_t>(kPrunedAtOnce);
  return ReadOld(find);
}

}  // namespace

Result<std::uint64_t> Catalogue::KeptBytes() {
  return impl_->ReadLong([&](Reader& reader) -> Result<std::uint64_t> {
    return static_cast<std::uint64_t>(reader.db().Number(
        "SELECT coalesce(sum(size), 0) FROM object WHERE kept = 1 AND needed = 0 AND present = 1"));
  });
}

Result<std::uint64_t> Catalogue::PruneVersions(const VersionLimits& limits) {
  std::uint64_t pruned = 0;
  for (;;) {
    const auto round = impl_->WriteToFree({}, [&](Session& session) -> Result<std::uint64_t> {
      Database& db = session.tables().db();
      auto old = BeyondAge(db, session.now_ns() - limits.age_ns);
      if (old.empty()) old = BeyondNumber(db);
      if (old.empty()) old = BeyondObjects(db, limits.bytes);
      if (old.empty()) old = BeyondInline(db, limits.bytes);
      for (const Old& one : old) {
        one.version != 0 ? session.DropFromHistory(one.version) : session.DropGone(one.ino);
      }
      return std::uint64_t{old.size()};
    });
    if (!round) return round;
    if (round.value() == 0) return pruned;
    pruned += round.value();
  }
}

}  // namespace btfc::index
