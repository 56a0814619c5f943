// Bringing back what was: always as ordinary writes of this host's user, so that it merges like
// any other edit, whatever other hosts still know of what is brought back.
#include <algorithm>
#include <limits>
#include <map>

#include "index/catalogue_impl.h"
#include "index/operations.h"
#include "index/past.h"

namespace btfc::index {
namespace {

// What removes a folder with all that is in it goes on without a pause of this length.
constexpr std::int64_t kPause = std::int64_t{10} * 1'000'000'000;  // ns
constexpr std::uint32_t kNewFolderMode = 0755;

struct OldVersion {
  ContentId content;
  std::int64_t mtime_ns = 0;
  std::string inline_bytes;
};

// A copy of a version of `ino`: by its commit, else the latest one, or the latest at a time.
std::optional<OldVersion> FindVersion(Session& session, Ino ino, const std::optional<Dot>& commit,
                                      std::optional<std::int64_t> time_ns) {
  Tables& tables = session.tables();
  auto find = tables.db().Prepare(
      "SELECT root, size, mtime, inline FROM ("
      "SELECT root, size, mtime, inline, commit_dev, commit_n, time, "
      "  version = (SELECT head FROM inode WHERE ino = ?1) AS head FROM version WHERE ino = ?1 "
      "UNION ALL SELECT root, size, mtime, inline, commit_dev, commit_n, time, 0 FROM history "
      "WHERE ino = ?1) WHERE (?2 IS NULL OR (commit_dev = ?2 AND commit_n = ?3)) "
      "ORDER BY time <= ?4 DESC, CASE WHEN time <= ?4 THEN time ELSE -time END DESC, head DESC "
      "LIMIT 1");
  find << ino;
  if (commit) {
    find << tables.devices().IfKnown(commit->device).value_or(0) << commit->n;
  } else {
    find << nullptr << nullptr;
  }
  find << time_ns.value_or(std::numeric_limits<std::int64_t>::max());
  if (!find.Step()) return std::nullopt;
  return OldVersion{
      {find.Fixed<std::array<std::uint8_t, 32>>(0), find.Unsigned(1)}, find.Int(2), find.String(3)};
}

void WriteVersion(Session& session, Ino ino, const OldVersion& old, Known known) {
  VersionRow row;
  row.ino = ino;
  row.content = old.content;
  row.mtime_ns = old.mtime_ns;
  row.inline_bytes = old.inline_bytes;
  row.known = std::move(known);
  auto replaced = session.VersionStamps(ino);
  if (const auto set = session.tables().GetRegister(ino, kMtimeRegister)) {
    replaced.push_back(set->stamp);
  }
  row.stamp = session.Now(replaced);
  row.dot = row.commit = session.NextDot();
  session.Merge(std::move(row));
}

// Makes things again from the rows of what was removed.
class Maker {
 public:
  Maker(Session& session, std::optional<std::int64_t> time_ns)
      : session_(session), db_(session.tables().db()), time_ns_(time_ns) {}

  std::uint64_t made() const { return made_; }

  // What was at this path last, or at the time.
  std::optional<RemovedLink> Choose(std::vector<RemovedLink> links) const {
    std::erase_if(links, [this](const RemovedLink& link) {
      return time_ns_ && (link.placed_ns > *time_ns_ || link.removed_ns <= *time_ns_);
    });
    if (links.empty()) return std::nullopt;
    return *std::max_element(links.begin(), links.end(), [](const auto& a, const auto& b) {
      return std::tie(a.removed_ns, a.link) < std::tie(b.removed_ns, b.link);
    });
  }

  // False for a file of which no content is kept.
  bool Make(const RemovedLink& link, const Slot& spot, const std::optional<Dot>& commit) {
    const bool folder = link.kind == Kind::kFolder;
    if (folder) Since(link);
    return MakeOne(link, spot, commit);
  }

  Ino MakeFolder(const Slot& spot, const std::optional<RemovedLink>& like) {
    NewNode node;
    node.kind = Kind::kFolder;
    node.mode = kNewFolderMode;
    node.owner.mounter = node.owner.mounter_group = true;
    if (like) node = NodeLike(*like);
    return MakeAndCopy(spot, node, like);
  }

 private:
  NewNode NodeLike(const RemovedLink& link) {
    NewNode node;
    node.kind = link.kind;
    if (const auto row = session_.tables().GetInode(link.ino)) {
      node.target = row->target;
      node.rdev = row->rdev;
    }
    node.mode = link.kind == Kind::kFolder ? kNewFolderMode : 0644;
    if (const auto row = session_.tables().GetAttributes(link.ino)) {
      node.mode = row->mode;
      node.owner = row->owner;
      node.acl_access = row->acl_access;
      node.acl_default = row->acl_default;
    }
    return node;
  }

  Ino MakeAndCopy(const Slot& spot, const NewNode& node, const std::optional<RemovedLink>& like) {
    session_.WatchName(spot);
    const Ino ino = MakeAt(session_, spot, node);
    ++made_;
    if (!like) return ino;
    for (RegisterRow& row : session_.tables().GetRegisters(like->ino)) {
      if (!row.value || row.name == kMtimeRegister) continue;
      RegisterRow copy;
      copy.ino = ino;
      copy.name = row.name;
      copy.value = std::move(row.value);
      copy.stamp = session_.Now();
      copy.dot = DotFor(session_, session_.tables().Brief(ino));
      session_.Merge(copy);
    }
    return ino;
  }

  bool MakeOne(const RemovedLink& link, const Slot& spot, const std::optional<Dot>& commit) {
    std::optional<OldVersion> old;
    if (link.kind == Kind::kFile) {
      old = FindVersion(session_, link.ino, commit, time_ns_);
      if (!old) return false;
    }
    const Ino ino = MakeAndCopy(spot, NodeLike(link), link);
    if (old) {
      session_.Publish(ino);
      WriteVersion(session_, ino, *old, {});
    }
    if (link.kind == Kind::kFolder) MakeEntries(link, ino);
    return true;
  }

  void MakeEntries(const RemovedLink& folder, Ino into) {
    std::map<std::string, std::vector<RemovedLink>> by_name;
    for (RemovedLink& link : RemovedIn(db_, {folder.ino}, std::nullopt)) {
      if (!time_ns_ && link.removed_ns < since_ns_) continue;
      by_name[link.name].push_back(std::move(link));
    }
    for (auto& [name, links] : by_name) {
      if (const auto link = Choose(std::move(links))) MakeOne(*link, {into, name}, std::nullopt);
    }
  }

  // When the removal of this folder with what was in it began: what is in it went before it, one
  // thing after the other.
  void Since(const RemovedLink& folder) {
    std::vector<std::int64_t> times;
    std::vector<Ino> below{folder.ino};
    while (!below.empty()) {
      const Ino next = below.back();
      below.pop_back();
      for (const RemovedLink& link : RemovedIn(db_, {next}, std::nullopt)) {
        times.push_back(link.removed_ns);
        if (link.kind == Kind::kFolder) below.push_back(link.ino);
      }
    }
    std::sort(times.rbegin(), times.rend());
    since_ns_ = folder.removed_ns;
    for (const std::int64_t time : times) {
      if (since_ns_ - time > kPause) break;
      since_ns_ = std::min(since_ns_, time);
    }
  }

  Session& session_;
  Database& db_;
  const std::optional<std::int64_t> time_ns_;
  std::int64_t since_ns_ = 0;
  std::uint64_t made_ = 0;
};

// The folder that holds the last of these names; those that are missing are made again.
Result<Ino> FolderOf(Session& session, Maker& maker, const std::vector<std::string>& names) {
  Ino folder = kRootIno;
  std::vector<std::string> path;
  for (std::size_t i = 0; i + 1 < names.size(); ++i) {
    const PastInodes above = ResolvePast(session.tables().db(), path);
    path.push_back(names[i]);
    if (const auto link = ShownLink(session, {folder, names[i]})) {
      if (session.tables().Brief(link.value().ino).kind != Kind::kFolder) return Errno(ENOTDIR);
      folder = link.value().ino;
      continue;
    }
    auto removed = RemovedIn(session.tables().db(), above.folders, names[i]);
    std::erase_if(removed, [](const auto& link) { return link.kind != Kind::kFolder; });
    folder = maker.MakeFolder({folder, names[i]}, maker.Choose(std::move(removed)));
  }
  return folder;
}

std::vector<RemovedLink> RemovedAt(Session& session, std::vector<std::string> names) {
  const std::string name = names.back();
  names.pop_back();
  Database& db = session.tables().db();
  return RemovedIn(db, ResolvePast(db, names).folders, name);
}

// The link that a path shows now; ENOENT also if a folder above is missing.
Result<Link> ShownAtPath(Session& session, const std::vector<std::string>& names) {
  Result<Link> link = Errno(ENOENT);
  Ino folder = kRootIno;
  for (const std::string& name : names) {
    if (folder == 0) return Errno(ENOENT);
    link = ShownLink(session, {folder, name});
    if (!link) return link;
    folder = session.tables().Brief(link.value().ino).kind == Kind::kFolder ? link.value().ino : 0;
  }
  return link;
}

}  // namespace

Result<void> Catalogue::Restore(std::string_view path, Ino ino, const Dot& commit) {
  BOOST_OUTCOME_TRYA(names, SplitPath(path));
  if (names.empty()) return Errno(EISDIR);
  return impl_->Write([&](Session& session) -> Result<void> {
    const auto old = FindVersion(session, ino, commit, std::nullopt);
    if (!old) return Errno(ENOENT);
    if (const auto shown = ShownAtPath(session, names)) {
      const Ino target = shown.value().ino;
      const auto kind = session.tables().Brief(target).kind;
      if (kind == Kind::kFolder) return Errno(EISDIR);
      if (kind != Kind::kFile) return Errno(EEXIST);
      if (IsBeingWritten(session, target)) return Errno(EBUSY);
      session.WatchChanges();
      index::Known known = session.KnownOf(target, true);
      JoinInto(known.context, session.known());
      WriteVersion(session, target, *old, std::move(known));
      return Ok();
    }
    auto removed = RemovedAt(session, names);
    std::erase_if(removed, [ino](const RemovedLink& link) { return link.ino != ino; });
    Maker maker(session, std::nullopt);
    const auto link = maker.Choose(std::move(removed));
    if (!link) return Errno(ENOENT);
    session.WatchChanges();
    BOOST_OUTCOME_TRYA(folder, FolderOf(session, maker, names));
    maker.Make(*link, {folder, names.back()}, commit);
    return Ok();
  });
}

Result<std::uint64_t> Catalogue::Undelete(std::string_view path,
                                          std::optional<std::int64_t> time_ns) {
  BOOST_OUTCOME_TRYA(names, SplitPath(path));
  if (names.empty()) return Errno(EEXIST);
  return impl_->Write([&](Session& session) -> Result<std::uint64_t> {
    if (ShownAtPath(session, names)) return Errno(EEXIST);
    Maker maker(session, time_ns);
    auto removed = RemovedAt(session, names);
    std::erase_if(removed, [&](const RemovedLink& link) {
      return link.kind == Kind::kFile && !FindVersion(session, link.ino, std::nullopt, time_ns);
    });
    const auto link = maker.Choose(std::move(removed));
    if (!link) return Errno(ENOENT);
    session.WatchChanges();
    BOOST_OUTCOME_TRYA(folder, FolderOf(session, maker, names));
    maker.Make(*link, {folder, names.back()}, std::nullopt);
    return maker.made();
  });
}

}  // namespace btfc::index
