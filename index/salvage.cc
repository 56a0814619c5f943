#include "index/salvage.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <limits>
#include <string_view>
#include <unordered_map>
#include <utility>

#include "index/devices.h"
#include "index/merkle.h"
#include "index/sqlite.h"
#include "index/summaries.h"

namespace btfc::index {
namespace {

constexpr std::string_view kMagic("SQLite format 3\0", 16);
constexpr int kFailuresMax = 100'000;
constexpr unsigned kDepthMax = 1000;

// Without these bytes SQLite does not look at the rest; with them it checks every page itself.
Result<void> MendMagic(const std::filesystem::path& file) {
  const int fd = ::open(file.c_str(), O_RDWR | O_CLOEXEC);
  if (fd < 0) return Errno(errno);
  std::array<char, kMagic.size()> found{};
  const bool damaged = ::pread(fd, found.data(), found.size(), 0) >= 0 &&
                       std::string_view(found.data(), found.size()) != kMagic;
  const bool mended =
      !damaged || ::pwrite(fd, kMagic.data(), kMagic.size(), 0) == std::ssize(kMagic);
  const int problem = errno;
  ::close(fd);
  return mended ? Ok() : Result<void>(Errno(problem));
}

Result<std::unique_ptr<Database>> OpenAside(const std::filesystem::path& file) {
  BOOST_OUTCOME_TRYV(MendMagic(file));
  BOOST_OUTCOME_TRYA(database, Database::Open(file, Database::Mode::kReadWrite));
  sqlite3_db_config(database->handle(), SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, nullptr);
  return std::move(database);
}

// The rows of a table in the order of their integer key, which is column 0 and asked for by
// "key > ?". After a row that cannot be read it goes on behind a gap that grows until one can.
template <class Visit>
std::uint64_t ForEachReadable(Database& database, Sql sql, Visit&& visit) {
  std::int64_t after = -1;
  std::int64_t gap = 1;
  std::uint64_t rows = 0;
  for (int failures = 0; failures < kFailuresMax; ++failures) {
    try {
      auto find = database.Prepare(sql);
      find << after;
      while (find.Step()) {
        after = find.Int(0);
        visit(find);
        gap = 1;
        ++rows;
      }
      return rows;
    } catch (const StorageFailure&) {
      if (after > std::numeric_limits<std::int64_t>::max() - gap) return rows;
      after += gap;
      if (gap < std::numeric_limits<std::int64_t>::max() / 4) gap *= 2;
    }
  }
  return rows;
}

class Salvager {
 public:
  Salvager(Database& database, const std::function<void(const SalvagedFile&)>& visit)
      : db_(database), visit_(visit) {}

  bool Run() {
    std::uint64_t rows = ReadDevices();
    rows += ReadPlaces();
    rows += ReadInodes();
    rows += ReadVersions();
    VisitVersionless();
    return rows > 0;
  }

 private:
  struct Place {
    Ino parent = 0;
    std::string name;
  };
  struct Inode {
    Kind kind = Kind::kFile;
    std::uint32_t mode = 0600;
    std::int64_t head = 0;
    bool seen = false;  // a version was handed on
  };

  std::uint64_t ReadDevices() {
    return ForEachReadable(
        db_, "SELECT dev, id FROM device NOT INDEXED WHERE dev > ? ORDER BY dev",
        [this](const Statement& row) { devices_[row.Int(0)] = row.Fixed<DeviceId>(1); });
  }
  std::uint64_t ReadPlaces() {
    return ForEachReadable(db_,
                           "SELECT link, ino, coalesce(up, parent), name FROM place NOT INDEXED "
                           "WHERE link > ? AND ino IS NOT NULL AND state & 6 ORDER BY link",
                           [this](const Statement& row) {
                             places_[row.Unsigned(1)] = {row.Unsigned(2), row.String(3)};
                           });
  }
  std::uint64_t ReadInodes() {
    return ForEachReadable(
        db_,
        "SELECT ino, kind, mode, head, target, mtime, dot_dev, dot_n FROM inode NOT INDEXED "
        "WHERE ino > ? ORDER BY ino",
        [this](const Statement& row) {
          const Ino ino = row.Unsigned(0);
          Inode inode;
          inode.kind = static_cast<Kind>(row.Int(1));
          if (!row.IsNull(2)) inode.mode = static_cast<std::uint32_t>(row.Int(2)) & 07777U;
          inode.head = row.Int(3);
          inodes_[ino] = inode;
          if (inode.kind != Kind::kSymlink || !places_.contains(ino)) return;
          SalvagedFile file = FileOf(ino);
          file.kind = Kind::kSymlink;
          file.target = row.String(4);
          file.mtime_ns = row.Int(5);
          file.dot = DotOf(row, 6);
          visit_(file);
        });
  }
  std::uint64_t ReadVersions() {
    return ForEachReadable(db_,
                           "SELECT version, ino, root, size, mtime, commit_dev, commit_n, inline "
                           "FROM version NOT INDEXED "
                           "WHERE version > ? ORDER BY version",
                           [this](const Statement& row) {
                             const Ino ino = row.Unsigned(1);
                             const auto inode = inodes_.find(ino);
                             if (inode != inodes_.end() && inode->second.head != row.Int(0)) return;
                             // Without a name it was deleted, unless its inode or name is what was
                             // damaged.
                             if (inode != inodes_.end() && !places_.contains(ino)) return;
                             SalvagedFile file = FileOf(ino);
                             file.id = {row.Fixed<Hash>(2), row.Unsigned(3)};
                             file.mtime_ns = row.Int(4);
                             file.dot = DotOf(row, 5);
                             if (file.id.size <= kInlineMax) {
                               file.inline_bytes = row.String(7);
                               file.readable = ContentIdOf(file.inline_bytes) == file.id;
                             }
                             if (inode != inodes_.end()) inode->second.seen = true;
                             visit_(file);
                           });
  }
  // Files that were being written for the first time: their bytes are in working files.
  void VisitVersionless() {
    for (const auto& [ino, inode] : inodes_) {
      if (inode.kind == Kind::kFile && !inode.seen && places_.contains(ino)) visit_(FileOf(ino));
    }
  }

  SalvagedFile FileOf(Ino ino) const {
    SalvagedFile file;
    file.ino = ino;
    file.path = PathOf(ino);
    if (const auto inode = inodes_.find(ino); inode != inodes_.end())
      file.mode = inode->second.mode;
    return file;
  }
  std::optional<Dot> DotOf(const Statement& row, int column) const {
    const auto device = devices_.find(row.Int(column));
    if (device == devices_.end() || row.IsNull(column) || row.Int(column + 1) == 0) {
      return std::nullopt;
    }
    return Dot{device->second, row.Unsigned(column + 1)};
  }
  std::string PathOf(Ino ino) const {
    const auto lost = [ino](const std::string& known) {
      return std::string(kLostFolder) + "/" + std::to_string(ino) +
             (known.empty() ? "" : "/" + known);
    };
    std::string path;
    Ino at = ino;
    for (unsigned depth = 0; at != kRootIno; ++depth) {
      const auto place = places_.find(at);
      if (place == places_.end() || depth > kDepthMax) return lost(path);
      const auto& name = place->second.name;
      // What is joined to a path here is trusted by nobody.
      if (name.empty() || name == "." || name == ".." || name.find('/') != std::string::npos ||
          name.find('\0') != std::string::npos || name.size() > kNameMax) {
        return lost(path);
      }
      if (!path.empty()) path.insert(0, 1, '/');
      path.insert(0, name);
      at = place->second.parent;
    }
    return path;
  }

  Database& db_;
  const std::function<void(const SalvagedFile&)>& visit_;
  std::unordered_map<std::int64_t, DeviceId> devices_;
  std::unordered_map<Ino, Place> places_;
  std::unordered_map<Ino, Inode> inodes_;
};

// Several rows for a removal if several places stand at the name. An old folder that was merged
// into another one says no more what stands where.
constexpr Sql kRemovals =
    "SELECT r.dot_dev, r.dot_n, p.id, r.seen_time, r.seen_dev, r.seen_life, r.seen_sub, r.known, "
    "n.ino, (SELECT count(*) FROM place o WHERE o.ino = n.ino AND o.state & 6), p.parent "
    "FROM removal r JOIN place p ON p.link = r.link JOIN inode i ON i.ino = p.ino "
    "LEFT JOIN place n ON n.up = p.parent AND n.name = p.name AND n.state & 6 "
    "AND NOT EXISTS (SELECT 1 FROM inode d WHERE d.ino = n.ino AND d.kind = 2) "
    "WHERE r.dot_n IS NOT NULL AND i.kind = 1 "
    "AND NOT EXISTS (SELECT 1 FROM place o WHERE o.ino = p.ino AND o.state <> 0) "
    "AND NOT EXISTS (SELECT 1 FROM place m WHERE m.ino = p.parent AND m.merged IS NOT NULL) "
    "ORDER BY r.link";

bool WasLeftBehind(Database& database) {
  return database.Number("SELECT count(*) FROM meta WHERE key = 'left'") > 0;
}

bool IsSound(Database& database) {
  auto check = database.Prepare("PRAGMA integrity_check(1)");
  return check.Step() && check.Bytes(0) == "ok";
}

// Of one that was renamed over another name of its own, not all names are brought along.
bool IsBrought(const Statement& row, const std::function<bool(Ino)>& brought) {
  return row.IsNull(8) || (row.Int(9) == 1 && brought(row.Unsigned(8)));
}

// Whether `folder`, and each above it, stands where the others know it to stand.
bool StandsAsKnown(Database& database, const DeviceTable& devices, const Summary& known,
                   Ino folder) {
  for (unsigned depth = 0; folder != kRootIno; ++depth) {
    auto place = database.Prepare(
        "SELECT p.dot_dev, p.dot_n, p.parent FROM inode i JOIN place p ON p.id = i.id "
        "AND p.ino = i.ino WHERE i.ino = ?");
    place << folder;
    if (depth > kDepthMax || !place.Step() || place.IsNull(0)) return false;
    if (!Covers(known, Dot{devices.IdOf(place.Int(0)), place.Unsigned(1)})) return false;
    folder = place.Unsigned(2);
  }
  return true;
}

std::vector<SalvagedRemoval> RemovalsBeyond(Database& database, const Summary& known,
                                            const std::function<bool(Ino)>& brought) {
  std::vector<SalvagedRemoval> removals;
  DeviceTable devices;
  devices.Load(database);
  auto row = database.Prepare(kRemovals);
  std::optional<LinkId> refused;
  while (row.Step()) {
    if (Covers(known, Dot{devices.IdOf(row.Int(0)), row.Unsigned(1)})) continue;
    const auto link = row.Fixed<LinkId>(2);
    const bool again = !removals.empty() && removals.back().link == link;
    if (!IsBrought(row, brought)) {
      refused = link;
      if (again) removals.pop_back();
    }
    if (again || refused == link) continue;
    if (!StandsAsKnown(database, devices, known, row.Unsigned(10))) continue;
    removals.push_back({.link = link,
                        .seen = {.time_ns = row.Int(3),
                                 .device = devices.IdOf(row.Int(4)),
                                 .life = static_cast<std::uint32_t>(row.Int(5)),
                                 .sub = static_cast<std::uint32_t>(row.Int(6))},
                        .known = devices.DecodeKnown(row.Bytes(7))});
  }
  return removals;
}

}  // namespace

Result<void> Salvage(const std::filesystem::path& database,
                     const std::function<void(const SalvagedFile&)>& visit) {
  BOOST_OUTCOME_TRYA(opened, OpenAside(database));
  try {
    if (!Salvager(*opened, visit).Run()) return Error::kCorrupt;
  } catch (const StorageFailure& failure) {
    return failure.code();
  }
  return Ok();
}

Result<std::vector<SalvagedRemoval>> SalvageRemovals(const std::filesystem::path& database,
                                                     const Summary& known,
                                                     const std::function<bool(Ino)>& brought) {
  BOOST_OUTCOME_TRYA(opened, OpenAside(database));
  try {
    if (!WasLeftBehind(*opened)) return std::vector<SalvagedRemoval>();
    if (!IsSound(*opened)) return Error::kCorrupt;
    return RemovalsBeyond(*opened, known, brought);
  } catch (const StorageFailure& failure) {
    return failure.code();
  }
}

}  // namespace btfc::index
