// Questions that the catalogue answers from rows and what derives from them. On any connection.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "index/catalogue.h"
#include "index/devices.h"
#include "index/sqlite.h"

namespace btfc::index {

// What ReadNode reads, beginning at a column of choice, of `inode i`.
#define BTFC_NODE_COLUMNS                                                             \
  "i.ino, i.kind, i.mode, i.nlink, i.subfolders, i.mtime, i.ctime, i.atime, i.rdev, " \
  "length(i.target), v.root, v.size, b.present, w.uid, w.gid, w.user, w.grp, w.flags"
#define BTFC_NODE_JOINS                                                           \
  " LEFT JOIN version v ON v.version = i.head"                                    \
  " LEFT JOIN object b ON v.size > 16384 AND b.root = v.root AND b.size = v.size" \
  " LEFT JOIN owner w ON w.owner = i.owner"

Node ReadNode(const Statement& row, int column);

// One thread at a time, as its connection.
class Reader {
 public:
  explicit Reader(Database& database) : db_(database) {}
  Database& db() { return db_; }

  Result<Node> Get(Ino ino);
  Result<Node> Lookup(Ino parent, std::string_view name);
  Result<std::vector<Entry>> List(Ino folder, std::uint64_t cookie, std::size_t limit);
  Result<void> ListNames(Ino folder, std::uint64_t cookie,
                         const std::function<bool(const EntryName&)>& take);
  Result<Ino> Parent(Ino folder);
  Result<std::string> PathOf(Ino ino);
  // ENOENT, ENOTDIR; where a folder that was merged into another one leads.
  Result<Ino> Folder(Ino folder);

 private:
  Database& db_;
};

// From a row that has a version's inline bytes, size and root at `column`. Bytes that the root does
// not stand for are damage: the database has no checksum of its own.
std::string CheckedInline(const Statement& row, int column);

// ENAMETOOLONG, EINVAL.
Result<void> CheckName(std::string_view name);

}  // namespace btfc::index
