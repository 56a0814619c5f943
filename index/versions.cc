// What files were: the history of a path, also of one that leads nowhere now.
#include <algorithm>
#include <map>
#include <set>

#include "index/catalogue_impl.h"
#include "index/past.h"

namespace btfc::index {
namespace {

template <class T>
void SortUnique(std::vector<T>& values) {
  std::sort(values.begin(), values.end());
  values.erase(std::unique(values.begin(), values.end()), values.end());
}

constexpr Sql kShownIn =
    "SELECT p.name, p.ino, i.kind FROM place p JOIN inode i ON i.ino = p.ino "
    "WHERE p.up = ? AND p.state & 8";
constexpr Sql kShownAt =
    "SELECT p.name, p.ino, i.kind FROM place p JOIN inode i ON i.ino = p.ino "
    "WHERE p.up = ? AND p.name = ? AND p.state & 8";

// A link that went while its file lives on by another name counts, too.
#define BTFC_REMOVED                                                        \
  "SELECT p.name, p.ino, i.kind, p.link, p.time, r.time FROM place p "      \
  "JOIN inode i ON i.ino = p.ino JOIN removal r ON r.link = p.link "        \
  "WHERE p.up IS NULL AND (i.gone > 0 OR i.live_links > 0 OR i.nlink > 0) " \
  "AND i.kind IS NOT NULL AND r.merged IS NULL AND p.parent = ?"
constexpr Sql kRemovedIn = BTFC_REMOVED;
constexpr Sql kRemovedAt = BTFC_REMOVED " AND p.name = ?";

bool IsFolder(std::int64_t kind) { return kind == static_cast<int>(Kind::kFolder); }

VersionInfo ReadVersionInfo(const Statement& row, const DeviceTable& devices) {
  VersionInfo info;
  info.id = {row.Fixed<std::array<std::uint8_t, 32>>(0), row.Unsigned(1)};
  info.time_ns = row.Int(2);
  info.mtime_ns = row.Int(3);
  info.host = row.String(4);
  info.current = row.Int(5) != 0;
  info.present = row.Int(6) != 0;
  info.commit = {devices.IdOf(row.Int(7)), row.Unsigned(8)};
  return info;
}

}  // namespace

Result<std::vector<std::string>> SplitPath(std::string_view path) {
  std::vector<std::string> names;
  while (!path.empty()) {
    const auto slash = path.find('/');
    const auto name = path.substr(0, slash);
    if (!name.empty()) {
      BOOST_OUTCOME_TRYV(CheckName(name));
      names.emplace_back(name);
    }
    if (slash == path.npos) break;
    path.remove_prefix(slash + 1);
  }
  return names;
}

std::vector<Ino> WithMerged(Database& db, std::vector<Ino> folders) {
  for (std::size_t i = 0; i < folders.size(); ++i) {
    auto find = db.Prepare("SELECT ino FROM place WHERE merged = ?");
    find << folders[i];
    while (find.Step()) {
      const Ino merged = find.Unsigned(0);
      if (std::find(folders.begin(), folders.end(), merged) == folders.end()) {
        folders.push_back(merged);
      }
    }
  }
  return folders;
}

std::vector<RemovedLink> RemovedIn(Database& db, const std::vector<Ino>& folders,
                                   const std::optional<std::string>& name) {
  std::vector<RemovedLink> links;
  for (const Ino folder : WithMerged(db, folders)) {
    auto find = db.Prepare(name ? kRemovedAt : kRemovedIn);
    find << folder;
    if (name) find << *name;
    while (find.Step()) {
      links.push_back({.link = find.Int(3),
                       .ino = find.Unsigned(1),
                       .name = find.String(0),
                       .kind = static_cast<Kind>(find.Int(2)),
                       .placed_ns = find.Int(4),
                       .removed_ns = find.Int(5)});
    }
  }
  return links;
}

PastInodes ResolvePast(Database& db, const std::vector<std::string>& names) {
  PastInodes at{{kRootIno}, {}};
  for (const std::string& name : names) {
    PastInodes next;
    for (const Ino folder : at.folders) {
      auto find = db.Prepare(kShownAt);
      find << folder << name;
      while (find.Step()) {
        (IsFolder(find.Int(2)) ? next.folders : next.others).push_back(find.Unsigned(1));
      }
    }
    for (const RemovedLink& link : RemovedIn(db, at.folders, name)) {
      (link.kind == Kind::kFolder ? next.folders : next.others).push_back(link.ino);
    }
    SortUnique(next.folders);
    SortUnique(next.others);
    at = std::move(next);
  }
  return at;
}

Result<std::vector<VersionInfo>> Catalogue::History(Ino file) {
  const auto& devices = impl_->devices();
  return impl_->Read([&](Reader& reader) -> Result<std::vector<VersionInfo>> {
    auto find = reader.db().Prepare(
        "SELECT v.root, v.size, v.time, v.mtime, d.name, v.current, "
        "v.size <= 16384 OR coalesce(b.present, 0), v.commit_dev, v.commit_n FROM ("
        "SELECT root, size, time, mtime, commit_dev, commit_n, "
        "  version = (SELECT head FROM inode WHERE ino = ?1) AS current "
        "FROM version WHERE ino = ?1 UNION ALL "
        "SELECT root, size, time, mtime, commit_dev, commit_n, 0 FROM history WHERE ino = ?1) v "
        "LEFT JOIN device d ON d.dev = v.commit_dev "
        "LEFT JOIN object b ON b.root = v.root AND b.size = v.size "
        "ORDER BY v.current DESC, v.time DESC");
    find << file;
    std::vector<VersionInfo> versions;
    while (find.Step()) {
      versions.push_back(ReadVersionInfo(find, devices));
      versions.back().ino = file;
    }
    return versions;
  });
}

Result<std::vector<VersionInfo>> Catalogue::VersionsAt(std::string_view path) {
  BOOST_OUTCOME_TRYA(names, SplitPath(path));
  std::set<Ino> there;
  BOOST_OUTCOME_TRYA(files, impl_->Read([&](Reader& reader) -> Result<std::vector<Ino>> {
    if (names.empty()) return std::vector<Ino>();
    PastInodes past = ResolvePast(reader.db(), names);
    for (const Ino ino : past.others) {
      auto find = reader.db().Prepare("SELECT up, name FROM place WHERE ino = ? AND state & 8");
      find << ino;
      while (find.Step()) {
        if (find.Bytes(1) == names.back()) there.insert(ino);
      }
    }
    return std::move(past.others);
  }));
  std::vector<VersionInfo> versions;
  for (const Ino ino : files) {
    BOOST_OUTCOME_TRYA(history, History(ino));
    for (VersionInfo& info : history) {
      info.removed = !there.contains(ino);
      info.current = info.current && !info.removed;
      versions.push_back(std::move(info));
    }
  }
  if (versions.empty()) return Errno(ENOENT);
  std::sort(versions.begin(), versions.end(), [](const VersionInfo& a, const VersionInfo& b) {
    return std::tie(a.current, a.time_ns, a.ino, a.commit) >
           std::tie(b.current, b.time_ns, b.ino, b.commit);
  });
  return versions;
}

Result<PastInodes> Catalogue::InodesAt(std::string_view path) {
  BOOST_OUTCOME_TRYA(names, SplitPath(path));
  return impl_->Read([&](Reader& reader) -> Result<PastInodes> {
    PastInodes past = ResolvePast(reader.db(), names);
    if (past.folders.empty() && past.others.empty()) return Errno(ENOENT);
    return past;
  });
}

Result<std::vector<PastName>> Catalogue::NamesAt(std::string_view path) {
  BOOST_OUTCOME_TRYA(names, SplitPath(path));
  return impl_->Read([&](Reader& reader) -> Result<std::vector<PastName>> {
    const PastInodes past = ResolvePast(reader.db(), names);
    if (past.folders.empty()) return Errno(past.others.empty() ? ENOENT : ENOTDIR);
    std::map<std::string, PastName> found;
    const auto add = [&found](const std::string& name, bool exists, bool folder, bool file) {
      PastName& entry = found[name];
      entry.name = name;
      entry.exists = entry.exists || exists;
      entry.folder = entry.folder || folder;
      entry.file = entry.file || file;
    };
    for (const Ino folder : past.folders) {
      auto find = reader.db().Prepare(kShownIn);
      find << folder;
      while (find.Step()) {
        add(find.String(0), true, IsFolder(find.Int(2)),
            find.Int(2) == static_cast<int>(Kind::kFile));
      }
    }
    for (const RemovedLink& link : RemovedIn(reader.db(), past.folders, std::nullopt)) {
      add(link.name, false, link.kind == Kind::kFolder, link.kind == Kind::kFile);
    }
    std::vector<PastName> list;
    list.reserve(found.size());
    for (auto& [name, entry] : found) list.push_back(std::move(entry));
    return list;
  });
}

Result<std::string> Catalogue::VersionBytes(Ino ino, const Dot& commit) {
  const auto device = impl_->devices().IfKnown(commit.device);
  if (!device) return Errno(ENOENT);
  return impl_->Read([&](Reader& reader) -> Result<std::string> {
    auto find = reader.db().Prepare(
        "SELECT inline, size, root FROM version WHERE ino = ?1 AND commit_dev = ?2 AND commit_n = "
        "?3 UNION ALL "
        "SELECT inline, size, root FROM history WHERE ino = ?1 AND commit_dev = ?2 AND commit_n = "
        "?3");
    find << ino << *device << commit.n;
    if (!find.Step()) return Errno(ENOENT);
    if (find.Unsigned(1) > kInlineMax) return Errno(EINVAL);
    return CheckedInline(find, 0);
  });
}

}  // namespace btfc::index
