// Names, attributes and paths, read.
#include <algorithm>

#include "index/catalogue_impl.h"
#include "index/merkle.h"

namespace btfc::index {
namespace {

constexpr std::uint32_t kDefaultFolderMode = 0755;
constexpr std::uint32_t kDefaultFileMode = 0644;

}  // namespace

Result<void> CheckName(std::string_view name) {
  if (name.size() > kNameMax) return Errno(ENAMETOOLONG);
  if (name.empty() || name == "." || name == "..") return Errno(EINVAL);
  if (name.find('/') != name.npos || name.find('\0') != name.npos) return Errno(EINVAL);
  return Ok();
}

Node ReadNode(const Statement& row, int column) {
  Node node;
  node.ino = row.Unsigned(column);
  node.kind = static_cast<Kind>(row.Int(column + 1));
  const bool folder = node.kind == Kind::kFolder;
  // The attributes of the root are nobody's until somebody sets them.
  const bool has_attributes = !row.IsNull(column + 2);
  node.mode = has_attributes ? static_cast<std::uint32_t>(row.Int(column + 2))
                             : (folder ? kDefaultFolderMode : kDefaultFileMode);
  node.nlink = static_cast<std::uint32_t>(std::max<std::int64_t>(0, row.Int(column + 3)));
  if (folder && node.nlink > 0) node.nlink = 2 + static_cast<std::uint32_t>(row.Int(column + 4));
  node.mtime_ns = row.Int(column + 5);
  node.ctime_ns = row.Int(column + 6);
  node.atime_ns = row.Int(column + 7) != 0 ? row.Int(column + 7) : node.mtime_ns;
  node.rdev = row.Unsigned(column + 8);
  if (node.kind == Kind::kSymlink) node.size = row.Unsigned(column + 9);
  if (node.kind == Kind::kFile && !row.IsNull(column + 10)) {
    node.content.id = {row.Fixed<std::array<std::uint8_t, 32>>(column + 10),
                       row.Unsigned(column + 11)};
    node.size = node.content.id.size;
    const bool is_inline = node.size <= kInlineMax;
    node.content.state = is_inline ? Content::State::kInline : Content::State::kObject;
    node.content.present = is_inline || row.Int(column + 12) != 0;
  }
  node.owner.mounter = node.owner.mounter_group = !has_attributes;
  if (has_attributes) {
    node.owner.uid = static_cast<std::uint32_t>(row.Int(column + 13));
    node.owner.gid = static_cast<std::uint32_t>(row.Int(column + 14));
    node.owner.user = row.String(column + 15);
    node.owner.group = row.String(column + 16);
    node.owner.mounter = (row.Int(column + 17) & 1) != 0;
    node.owner.mounter_group = (row.Int(column + 17) & 2) != 0;
  }
  return node;
}

Result<Node> Reader::Get(Ino ino) {
  auto find = db_.Prepare("SELECT " BTFC_NODE_COLUMNS " FROM inode i" BTFC_NODE_JOINS
                          " WHERE i.ino = ? AND i.kind IS NOT NULL");
  find << ino;
  if (!find.Step()) return Errno(ENOENT);
  return ReadNode(find, 0);
}

Result<Ino> Reader::Folder(Ino folder) {
  for (;;) {
    auto find = db_.Prepare(
        "SELECT i.kind, i.nlink, p.merged FROM inode i LEFT JOIN place p ON p.id = i.id "
        "WHERE i.ino = ?");
    find << folder;
    if (!find.Step() || find.IsNull(0)) return Errno(ENOENT);
    if (find.Int(0) != static_cast<int>(Kind::kFolder)) return Errno(ENOTDIR);
    if (find.Int(1) > 0 || find.IsNull(2)) {
      if (find.Int(1) > 0) return folder;
      return Errno(ENOENT);
    }
    folder = find.Unsigned(2);
  }
}

Result<Node> Reader::Lookup(Ino parent, std::string_view name) {
  {
    auto find = db_.Prepare("SELECT " BTFC_NODE_COLUMNS
                            " FROM place p JOIN inode i ON i.ino = p.ino" BTFC_NODE_JOINS
                            " WHERE p.up = ? AND p.name = ? AND p.state & 8");
    find << parent << name;
    if (find.Step()) return ReadNode(find, 0);
  }
  if (name.size() > kNameMax) return Errno(ENAMETOOLONG);
  BOOST_OUTCOME_TRYA(folder, Folder(parent));
  if (folder != parent) return Lookup(folder, name);
  return Errno(ENOENT);
}

Result<std::vector<Entry>> Reader::List(Ino folder, std::uint64_t cookie, std::size_t limit) {
  BOOST_OUTCOME_TRYA(up, Folder(folder));
  auto find = db_.Prepare(
      "SELECT p.link, p.name, " BTFC_NODE_COLUMNS
      " FROM place p INDEXED BY place_list JOIN inode i ON i.ino = p.ino" BTFC_NODE_JOINS
      " WHERE p.up = ? AND p.link > ? AND p.state & 8 ORDER BY p.link LIMIT ?");
  find << up << cookie << static_cast<std::uint64_t>(limit);
  std::vector<Entry> entries;
  while (find.Step()) {
    entries.push_back(
        {.name = find.String(1), .node = ReadNode(find, 2), .cookie = find.Unsigned(0)});
  }
  return entries;
}

Result<void> Reader::ListNames(Ino folder, std::uint64_t cookie,
                               const std::function<bool(const EntryName&)>& take) {
  BOOST_OUTCOME_TRYA(up, Folder(folder));
  auto find = db_.Prepare(
      "SELECT p.link, p.name, p.ino, i.kind FROM place p INDEXED BY place_list "
      "JOIN inode i ON i.ino = p.ino "
      "WHERE p.up = ? AND p.link > ? AND p.state & 8 ORDER BY p.link");
  find << up << cookie;
  EntryName entry;
  while (find.Step()) {
    entry.cookie = find.Unsigned(0);
    entry.name.assign(find.Bytes(1));
    entry.ino = find.Unsigned(2);
    entry.kind = static_cast<Kind>(find.Int(3));
    if (!take(entry)) break;
  }
  return Ok();
}

Result<Ino> Reader::Parent(Ino folder) {
  if (folder == kRootIno) return kRootIno;
  BOOST_OUTCOME_TRYA(self, Folder(folder));
  auto find = db_.Prepare("SELECT up FROM place WHERE ino = ? AND up IS NOT NULL");
  find << self;
  if (!find.Step()) return Errno(ENOENT);
  return find.Unsigned(0);
}

Result<std::string> Reader::PathOf(Ino ino) {
  std::string path;
  while (ino != kRootIno) {
    auto find = db_.Prepare(
        "SELECT up, name FROM place WHERE ino = ? AND state & 4 ORDER BY state & 8 DESC, link");
    find << ino;
    if (!find.Step()) return Errno(ENOENT);
    path.insert(0, "/" + find.String(1));
    ino = find.Unsigned(0);
  }
  return path.empty() ? "/" : path;
}

// --- Catalogue

Result<Node> Catalogue::Lookup(Ino parent, std::string_view name) {
  return impl_->Read([&](Reader& reader) { return reader.Lookup(parent, name); });
}

Result<Node> Catalogue::Get(Ino ino) {
  return impl_->Read([&](Reader& reader) { return reader.Get(ino); });
}

Result<std::vector<Entry>> Catalogue::List(Ino folder, std::uint64_t cookie, std::size_t limit) {
  return impl_->Read([&](Reader& reader) { return reader.List(folder, cookie, limit); });
}

Result<void> Catalogue::ListNames(Ino folder, std::uint64_t cookie,
                                  const std::function<bool(const EntryName&)>& take) {
  return impl_->Read([&](Reader& reader) { return reader.ListNames(folder, cookie, take); });
}

Result<Ino> Catalogue::Parent(Ino folder) {
  return impl_->Read([&](Reader& reader) { return reader.Parent(folder); });
}

Result<std::vector<NameAt>> Catalogue::LinksOf(Ino ino) {
  return impl_->Read([&](Reader& reader) -> Result<std::vector<NameAt>> {
    auto find = reader.db().Prepare("SELECT up, name FROM place WHERE ino = ? AND state & 8");
    find << ino;
    std::vector<NameAt> names;
    while (find.Step()) names.push_back({.parent = find.Unsigned(0), .name = find.String(1)});
    return names;
  });
}

Result<std::string> Catalogue::PathOf(Ino ino) {
  return impl_->Read([&](Reader& reader) { return reader.PathOf(ino); });
}

Result<std::string> Catalogue::Target(Ino symlink) {
  return impl_->Read([&](Reader& reader) -> Result<std::string> {
    auto find = reader.db().Prepare("SELECT target, kind FROM inode WHERE ino = ?");
    find << symlink;
    if (!find.Step()) return Errno(ENOENT);
    if (find.Int(1) != static_cast<int>(Kind::kSymlink)) return Errno(EINVAL);
    return find.String(0);
  });
}

std::string CheckedInline(const Statement& row, int column) {
  std::string bytes = row.String(column);
  ContentId id;
  id.size = row.Unsigned(column + 1);
  id.root = row.Fixed<decltype(id.root)>(column + 2);
  if (ContentIdOf(bytes) != id) {
    throw StorageFailure(Error::kCorrupt, "the bytes of a small file are not what its row says");
  }
  return bytes;
}

Result<std::string> Catalogue::InlineBytes(Ino file) {
  return impl_->Read([&](Reader& reader) -> Result<std::string> {
    auto find = reader.db().Prepare(
        "SELECT v.inline, v.size, v.root FROM inode i JOIN version v ON v.version = i.head "
        "WHERE i.ino = ?");
    find << file;
    if (!find.Step()) return Errno(ENOENT);
    if (find.Unsigned(1) > kInlineMax) return Errno(EINVAL);
    return CheckedInline(find, 0);
  });
}

Result<FileNow> Catalogue::GetFile(Ino file) {
  return impl_->Read([&](Reader& reader) -> Result<FileNow> {
    auto find = reader.db().Prepare("SELECT v.inline, v.size, v.root, " BTFC_NODE_COLUMNS
                                    " FROM inode i" BTFC_NODE_JOINS
                                    " WHERE i.ino = ? AND i.kind IS NOT NULL");
    find << file;
    if (!find.Step()) return Errno(ENOENT);
    FileNow now;
    now.node = ReadNode(find, 3);
    if (now.node.kind == Kind::kFolder) return Errno(EISDIR);
    if (now.node.kind != Kind::kFile) return Errno(EINVAL);
    if (now.node.content.state == Content::State::kInline) now.bytes = CheckedInline(find, 0);
    return now;
  });
}

namespace {

// Every incarnation of this host has its key. A stamp may be of this host in another's row, too: it
// counts who wrote the row as well, if it was told to others at all. The columns 1 to 3 say that.
bool Shown(const CatalogueOptions& options, std::string_view name, const Statement& writers) {
  if (!name.starts_with("security.") && !name.starts_with("trusted.")) return true;
  if (options.foreign_privileged_xattrs) return true;
  const std::string_view own(reinterpret_cast<const char*>(options.node_key.data()),
                             options.node_key.size());
  return writers.Bytes(1) == own && (writers.IsNull(2) || writers.Bytes(3) == own);
}

}  // namespace

Result<std::string> Catalogue::GetXattr(Ino ino, std::string_view name) {
  return impl_->Read([&](Reader& reader) -> Result<std::string> {
    auto find = reader.db().Prepare(
        "SELECT a.value, d.key, a.dot_dev, w.key FROM attr a LEFT JOIN device d ON d.dev = a.dev "
        "LEFT JOIN device w ON w.dev = a.dot_dev WHERE a.ino = ? AND a.name = ?");
    find << ino << kXattrRegister + std::string(name);
    if (!find.Step() || find.IsNull(0)) return Errno(ENODATA);
    if (!Shown(impl_->options(), name, find)) return Errno(ENODATA);
    return find.String(0);
  });
}

Result<std::vector<std::string>> Catalogue::ListXattrs(Ino ino) {
  return impl_->Read([&](Reader& reader) -> Result<std::vector<std::string>> {
    auto find = reader.db().Prepare(
        "SELECT a.name, d.key, a.dot_dev, w.key FROM attr a LEFT JOIN device d ON d.dev = a.dev "
        "LEFT JOIN device w ON w.dev = a.dot_dev WHERE a.ino = ? AND a.value IS NOT NULL "
        "ORDER BY a.name");
    find << ino;
    std::vector<std::string> names;
    while (find.Step()) {
      const auto name = find.String(0);
      if (name.empty() || name.front() != kXattrRegister) continue;
      auto shown = name.substr(1);
      if (Shown(impl_->options(), shown, find)) names.push_back(std::move(shown));
    }
    return names;
  });
}

Result<std::string> Catalogue::AclAccess(Ino ino) {
  return impl_->Read([&](Reader& reader) -> Result<std::string> {
    auto find = reader.db().Prepare("SELECT acl_access FROM inode WHERE ino = ?");
    find << ino;
    if (!find.Step()) return Errno(ENOENT);
    return find.String(0);
  });
}

Result<std::string> Catalogue::AclDefault(Ino ino) {
  return impl_->Read([&](Reader& reader) -> Result<std::string> {
    auto find = reader.db().Prepare("SELECT acl_default FROM inode WHERE ino = ?");
    find << ino;
    if (!find.Step()) return Errno(ENOENT);
    return find.String(0);
  });
}

}  // namespace btfc::index
