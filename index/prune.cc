// What of the history is beyond its limits, and goes.
#include <algorithm>
#include <set>
#include <span>
#include <utility>

#include "index/catalogue_impl.h"

namespace btfc::index {
namespace {

constexpr std::size_t kDroppedAtOnce = 256;   // in one transaction
constexpr std::size_t kFoundAtOnce = 8192;    // in one look through the index
constexpr std::uint64_t kGoneAlways = 10000;  // deleted names that are kept whatever there is
constexpr std::uint64_t kInlineShare = 4;     // the index may take a quarter of the room

// What may leave the history.
struct Old {
  VersionNo version = 0;  // 0: all of the inode, which is gone
  Ino ino = 0;
};

Old ReadOld(const Statement& row) { return {row.Int(0), row.Unsigned(1)}; }

std::vector<Old> ReadAllOld(Statement& find) {
  std::vector<Old> old;
  while (find.Step()) old.push_back(ReadOld(find));
  return old;
}

// Of objects that only earlier versions have.
std::uint64_t HeldBytes(Database& db) {
  return static_cast<std::uint64_t>(db.Number(
      "SELECT coalesce(sum(size), 0) FROM object WHERE kept = 1 AND needed = 0 AND present = 1"));
}

// Each answers the oldest of what is beyond one limit, at most kFoundAtOnce, and no more than has
// to go. "gone <> 0" is what the partial index asks for: SQLite does not see it in "gone > 0".

std::vector<Old> BeyondAge(Database& db, std::int64_t before_ns) {
  auto find = db.Prepare(
      "SELECT version, ino, replaced AS at FROM history WHERE replaced < ?1 "
      "UNION ALL SELECT 0, ino, gone FROM inode WHERE gone <> 0 AND gone > 0 AND gone < ?1 "
      "ORDER BY at LIMIT ?2");
  find << before_ns << static_cast<std::uint64_t>(kFoundAtOnce);
  return ReadAllOld(find);
}

// The index stays proportional to what exists.
std::vector<Old> BeyondNumber(Database& db) {
  const auto gone = db.Number("SELECT count(*) FROM inode WHERE gone <> 0 AND gone > 0");
  if (static_cast<std::uint64_t>(gone) <= kGoneAlways) return {};
  const auto all = db.Number("SELECT count(*) FROM inode");
  const auto allowed = std::max<std::int64_t>(kGoneAlways, all - gone);
  if (gone <= allowed) return {};
  auto find =
      db.Prepare("SELECT 0, ino FROM inode WHERE gone <> 0 AND gone > 0 ORDER BY gone LIMIT ?");
  find << std::min<std::int64_t>(gone - allowed, kFoundAtOnce);
  return ReadAllOld(find);
}

// An object goes with the last of those that have it: here each is taken for the last one, so that
// there may be more to go at the next look, but never too little left.
std::vector<Old> BeyondObjects(Database& db, std::uint64_t bytes) {
  auto find = db.Prepare(
      "SELECT h.version, h.ino, h.replaced AS at, b.size, b.root FROM history h JOIN object b "
      "  ON b.root = h.root AND b.size = h.size AND b.kept = 1 AND b.needed = 0 AND b.present = 1 "
      "UNION ALL SELECT 0, i.ino, i.gone, b.size, b.root FROM inode i "
      "  JOIN version v ON v.version = i.head "
      "  JOIN object b ON b.root = v.root AND b.size = v.size AND b.kept = 1 AND b.needed = 0 "
      "  AND b.present = 1 WHERE i.gone <> 0 AND i.gone > 0 ORDER BY at LIMIT ?");
  find << static_cast<std::uint64_t>(kFoundAtOnce);
  std::vector<Old> old;
  std::set<std::pair<std::uint64_t, std::string>> freed;
  for (std::uint64_t left = HeldBytes(db); left > bytes && find.Step();) {
    old.push_back(ReadOld(find));
    const std::uint64_t size = find.Unsigned(3);
    if (freed.emplace(size, find.String(4)).second) left -= std::min(left, size);
  }
  return old;
}

std::vector<Old> BeyondInline(Database& db, std::uint64_t bytes) {
  const auto held = static_cast<std::uint64_t>(db.Number(
      "SELECT (SELECT coalesce(sum(size), 0) FROM history WHERE size <= 16384) + "
      "(SELECT coalesce(sum(v.size), 0) FROM inode i JOIN version v ON v.version = i.head "
      " WHERE i.gone <> 0 AND i.gone > 0 AND v.size <= 16384)"));
  auto find = db.Prepare(
      "SELECT version, ino, replaced AS at, size FROM history WHERE size <= 16384 UNION ALL "
      "SELECT 0, i.ino, i.gone, v.size FROM inode i JOIN version v ON v.version = i.head "
      "WHERE i.gone <> 0 AND i.gone > 0 AND v.size <= 16384 ORDER BY at LIMIT ?");
  find << static_cast<std::uint64_t>(kFoundAtOnce);
  std::vector<Old> old;
  for (std::uint64_t left = held; left > bytes / kInlineShare && find.Step();) {
    old.push_back(ReadOld(find));
    left -= std::min(left, find.Unsigned(3));
  }
  return old;
}

std::vector<Old> Beyond(Database& db, const VersionLimits& limits, std::int64_t now_ns) {
  auto old = BeyondAge(db, now_ns - limits.age_ns);
  if (old.empty()) old = BeyondNumber(db);
  if (old.empty()) old = BeyondObjects(db, limits.bytes);
  if (old.empty()) old = BeyondInline(db, limits.bytes);
  return old;
}

// Answers how many were still there: somebody may have been quicker, or a file have come back.
std::uint64_t Drop(Session& session, std::span<const Old> old) {
  std::uint64_t dropped = 0;
  for (const Old& one : old) {
    if (one.version != 0) {
      dropped += session.DropFromHistory(one.version) ? 1 : 0;
    } else if (session.IsKeptGone(one.ino)) {
      session.DropGone(one.ino);
      ++dropped;
    }
  }
  return dropped;
}

}  // namespace

Result<std::uint64_t> Catalogue::KeptBytes() {
  return impl_->ReadLong(
      [](Reader& reader) -> Result<std::uint64_t> { return HeldBytes(reader.db()); });
}

// To look for what goes takes its time, and holds nobody up who writes.
Result<std::uint64_t> Catalogue::PruneVersions(const VersionLimits& limits,
                                               const std::function<bool()>& stopped) {
  std::uint64_t all = 0;
  for (std::uint64_t pruned = 1; pruned > 0; all += pruned) {
    pruned = 0;
    BTFC_TRY(old, impl_->ReadLong([&](Reader& reader) -> Result<std::vector<Old>> {
      return Beyond(reader.db(), limits, impl_->MakeContext().now_ns);
    }));
    for (std::span<const Old> rest = old; !rest.empty();) {
      if (stopped && stopped()) return all + pruned;
      const auto some = rest.first(std::min(rest.size(), kDroppedAtOnce));
      BTFC_TRY(dropped, impl_->WriteToFree({}, [&](Session& session) -> Result<std::uint64_t> {
        return Drop(session, some);
      }));
      impl_->GiveWay();
      pruned += dropped;
      rest = rest.subspan(some.size());
    }
  }
  return all;
}

}  // namespace btfc::index
