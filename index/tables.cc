#include "index/tables.h"

#include <algorithm>

namespace btfc::index {
namespace {

constexpr Ino kInosAtOnce = 1024;
constexpr std::size_t kOwnersMax = 256;                   // remembered
constexpr std::uint32_t kMounter = 1, kMounterGroup = 2;  // owner.flags

}  // namespace

void Tables::Bind(Statement& statement, const Stamp& stamp) {
  statement << stamp.time_ns << devices_.NumberOf(db_, stamp.device) << stamp.life << stamp.sub;
}

void Tables::Bind(Statement& statement, const Dot& dot) {
  if (dot.n == 0) {
    statement << nullptr << nullptr;
  } else {
    statement << devices_.NumberOf(db_, dot.device) << dot.n;
  }
}

void Tables::BindHead(Statement& statement, const RowHead& row) {
  Bind(statement, row.stamp);
  Bind(statement, row.dot);
  if (row.extra.empty()) {
    statement << nullptr;
  } else {
    statement << row.extra;
  }
}

Stamp Tables::ReadStamp(const Statement& statement, int column) const {
  return {statement.Int(column), devices_.IdOf(statement.Int(column + 1)),
          static_cast<std::uint32_t>(statement.Int(column + 2)),
          static_cast<std::uint32_t>(statement.Int(column + 3))};
}

Dot Tables::ReadDot(const Statement& statement, int column) const {
  if (statement.IsNull(column)) return {};
  return {devices_.IdOf(statement.Int(column)), statement.Unsigned(column + 1)};
}

void Tables::ReadHead(const Statement& statement, int column, RowHead& row) const {
  row.stamp = ReadStamp(statement, column);
  row.dot = ReadDot(statement, column + 4);
  row.extra = statement.String(column + 6);
}

// --- names to numbers

Ino Tables::NextIno() {
  if (next_ino_ == reserved_ino_) {
    const auto first =
        static_cast<Ino>(db_.Number("SELECT value FROM meta WHERE key = 'next_ino'"));
    next_ino_ = std::max<Ino>(first, kRootIno + 1);
    reserved_ino_ = next_ino_ + kInosAtOnce;
    auto reserve = db_.Prepare("INSERT OR REPLACE INTO meta (key, value) VALUES ('next_ino', ?)");
    reserve << reserved_ino_;
    reserve.Run();
  }
  return next_ino_++;
}

void Tables::SetNextIno(Ino next) {
  if (next == 0) {
    next_ino_ = reserved_ino_ = 0;
    return;
  }
  const auto stored = static_cast<Ino>(db_.Number("SELECT value FROM meta WHERE key = 'next_ino'"));
  next_ino_ = next;
  // Where the numbers reserved until then ended is not known; more of them do no harm.
  reserved_ino_ = std::max(stored, next + kInosAtOnce);
  if (reserved_ino_ == stored) return;
  auto reserve = db_.Prepare("INSERT OR REPLACE INTO meta (key, value) VALUES ('next_ino', ?)");
  reserve << reserved_ino_;
  reserve.Run();
}

void Tables::Reload() {
  devices_.Load(db_);
  next_ino_ = reserved_ino_ = 0;  // what was reserved may have been rolled back
  owners_.clear();
}

std::optional<Ino> Tables::FindInode(const InodeId& id) {
  auto find = db_.Prepare("SELECT ino FROM inode WHERE id = ?");
  find << id;
  if (!find.Step()) return std::nullopt;
  return find.Unsigned(0);
}

Ino Tables::InoOf(const InodeId& id) {
  if (const auto found = FindInode(id)) return *found;
  const Ino ino = NextIno();
  auto insert = db_.Prepare("INSERT INTO inode (ino, id) VALUES (?, ?)");
  insert << ino << id;
  insert.Run();
  return ino;
}

std::optional<LinkNo> Tables::FindLink(const LinkId& id) {
  auto find = db_.Prepare("SELECT link FROM place WHERE id = ?");
  find << id;
  if (!find.Step()) return std::nullopt;
  return find.Int(0);
}

LinkNo Tables::LinkOf(const LinkId& id) {
  if (const auto found = FindLink(id)) return *found;
  auto insert = db_.Prepare("INSERT INTO place (id) VALUES (?)");
  insert << id;
  insert.Run();
  return db_.last_insert_id();
}

InodeId Tables::IdOfInode(Ino ino) {
  auto find = db_.Prepare("SELECT id FROM inode WHERE ino = ?");
  find << ino;
  if (!find.Step()) throw StorageFailure(Error::kCorrupt, "a row names an inode that is not there");
  return find.Fixed<InodeId>(0);
}

LinkId Tables::IdOfLink(LinkNo link) {
  auto find = db_.Prepare("SELECT id FROM place WHERE link = ?");
  find << link;
  if (!find.Step()) throw StorageFailure(Error::kCorrupt, "a row names a link that is not there");
  return find.Fixed<LinkId>(0);
}

// --- whole new things

void Tables::InsertInode(const InodeRow& row, const AttributesRow& attributes, bool pending) {
  const std::int64_t owner = OwnerNumber(attributes.owner);
  auto insert = db_.Prepare(
      "INSERT INTO inode (time, dev, life, sub, dot_dev, dot_n, extra, a_time, a_dev, a_life, "
      "a_sub, a_dot_dev, a_dot_n, a_extra, ino, id, kind, rdev, pending, mode, owner, target, "
      "acl_access, acl_default, live_links, nlink, mtime, ctime) "
      "VALUES (?1, ?2, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?19, ?, ?, ?, ?, ?, "
      "1 - ?19, 1, ?1, ?1)");
  BindHead(insert, row);
  BindHead(insert, attributes);
  insert << row.ino << row.id << static_cast<int>(row.kind) << row.rdev << pending
         << attributes.mode << owner;
  for (const auto* bytes : {&row.target, &attributes.acl_access, &attributes.acl_default}) {
    if (bytes->empty()) {
      insert << nullptr;
    } else {
      insert << *bytes;
    }
  }
  insert.Run();
}

// --- inodes

InodeBrief Tables::Brief(Ino ino) {
  auto brief = FindBrief(ino);
  if (!brief) throw StorageFailure(Error::kCorrupt, "a row names an inode that is not there");
  return *brief;
}

std::optional<InodeBrief> Tables::FindBrief(Ino ino) {
  auto find = db_.Prepare(
      "SELECT id, kind, pending, live_links, nlink, head, undeleted, set_time, copy_of, "
      "mtime, ctime FROM inode WHERE ino = ?");
  find << ino;
  if (!find.Step()) return std::nullopt;
  InodeBrief brief;
  brief.ino = ino;
  brief.id = find.Fixed<InodeId>(0);
  if (!find.IsNull(1)) brief.kind = static_cast<Kind>(find.Int(1));
  brief.pending = find.Int(2) != 0;
  brief.live_links = find.Int(3);
  brief.nlink = find.Int(4);
  brief.head = find.Int(5);
  brief.undeleted = find.Int(6) != 0;
  brief.set_time = find.Int(7);
  brief.copy_of = find.Unsigned(8);
  brief.mtime_ns = find.Int(9);
  brief.ctime_ns = find.Int(10);
  return brief;
}

std::optional<InodeRow> Tables::GetInode(Ino ino) {
  auto find = db_.Prepare(
      "SELECT kind, target, rdev, copy_of, time, dev, life, sub, dot_dev, dot_n, extra "
      "FROM inode WHERE ino = ? AND kind IS NOT NULL");
  find << ino;
  if (!find.Step()) return std::nullopt;
  InodeRow row;
  row.ino = ino;
  row.kind = static_cast<Kind>(find.Int(0));
  row.target = find.String(1);
  row.rdev = find.Unsigned(2);
  row.copy_of = find.Unsigned(3);
  ReadHead(find, 4, row);
  return row;
}

void Tables::PutInode(const InodeRow& row, bool pending) {
  auto put = db_.Prepare(
      "UPDATE inode SET time = ?1, dev = ?, life = ?, sub = ?, dot_dev = ?, dot_n = ?, extra = ?, "
      "pending = ?, kind = ?, target = ?, rdev = ?, copy_of = nullif(?, 0), "
      "ctime = max(ctime, ?1), mtime = CASE mtime WHEN 0 THEN ?1 ELSE mtime END WHERE ino = ?");
  BindHead(put, row);
  put << pending << static_cast<int>(row.kind);
  if (row.kind == Kind::kSymlink) {
    put << row.target;
  } else {
    put << nullptr;
  }
  put << row.rdev << row.copy_of << row.ino;
  put.Run();
}

std::optional<AttributesRow> Tables::GetAttributes(Ino ino) {
  auto find = db_.Prepare(
      "SELECT mode, owner, acl_access, acl_default, a_time, a_dev, a_life, a_sub, a_dot_dev, "
      "a_dot_n, a_extra FROM inode WHERE ino = ? AND mode IS NOT NULL");
  find << ino;
  if (!find.Step()) return std::nullopt;
  AttributesRow row;
  row.ino = ino;
  row.mode = static_cast<std::uint32_t>(find.Int(0));
  row.owner = GetOwner(find.Int(1));
  row.acl_access = find.String(2);
  row.acl_default = find.String(3);
  ReadHead(find, 4, row);
  return row;
}

void Tables::PutAttributes(const AttributesRow& row) {
  const std::int64_t owner = OwnerNumber(row.owner);
  auto put = db_.Prepare(
      "UPDATE inode SET mode = ?, owner = ?, acl_access = ?, acl_default = ?, a_time = ?, "
      "a_dev = ?, a_life = ?, a_sub = ?, a_dot_dev = ?, a_dot_n = ?, a_extra = ?, "
      "ctime = max(ctime, ?) WHERE ino = ?");
  put << row.mode << owner;
  for (const auto* acl : {&row.acl_access, &row.acl_default}) {
    if (acl->empty()) {
      put << nullptr;
    } else {
      put << *acl;
    }
  }
  BindHead(put, row);
  put << row.stamp.time_ns << row.ino;
  put.Run();
}

std::optional<RegisterRow> Tables::GetRegister(Ino ino, std::string_view name) {
  auto find = db_.Prepare(
      "SELECT value, time, dev, life, sub, dot_dev, dot_n, extra FROM attr "
      "WHERE ino = ? AND name = ?");
  find << ino << name;
  if (!find.Step()) return std::nullopt;
  RegisterRow row;
  row.ino = ino;
  row.name = name;
  if (!find.IsNull(0)) row.value = find.String(0);
  ReadHead(find, 1, row);
  return row;
}

std::optional<RegisterRow> Tables::GetRegister(std::int64_t number) {
  auto find = db_.Prepare("SELECT ino, name FROM attr WHERE attr = ?");
  find << number;
  if (!find.Step()) return std::nullopt;
  return GetRegister(find.Unsigned(0), find.Bytes(1));
}

std::vector<RegisterRow> Tables::GetRegisters(Ino ino) {
  auto find = db_.Prepare(
      "SELECT name, value, time, dev, life, sub, dot_dev, dot_n, extra FROM attr WHERE ino = ?");
  find << ino;
  std::vector<RegisterRow> rows;
  while (find.Step()) {
    RegisterRow row;
    row.ino = ino;
    row.name = find.String(0);
    if (!find.IsNull(1)) row.value = find.String(1);
    ReadHead(find, 2, row);
    rows.push_back(std::move(row));
  }
  return rows;
}

void Tables::PutRegister(const RegisterRow& row) {
  auto put = db_.Prepare(
      "INSERT INTO attr (ino, name, value, time, dev, life, sub, dot_dev, dot_n, extra) "
      "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (ino, name) DO UPDATE SET "
      "value = excluded.value, time = excluded.time, dev = excluded.dev, life = excluded.life, "
      "sub = excluded.sub, dot_dev = excluded.dot_dev, dot_n = excluded.dot_n, "
      "extra = excluded.extra");
  put << row.ino << row.name << row.value;
  BindHead(put, row);
  put.Run();
  auto touch = db_.Prepare("UPDATE inode SET ctime = max(ctime, ?) WHERE ino = ?");
  touch << row.stamp.time_ns << row.ino;
  touch.Run();
}

Summary Tables::RemovedContext(Ino ino) {
  auto find = db_.Prepare("SELECT removed FROM inode WHERE ino = ? AND removed IS NOT NULL");
  find << ino;
  return find.Step() ? devices_.Decode(find.Bytes(0)) : Summary();
}

void Tables::PutRemovedContext(Ino ino, const Summary& removed) {
  auto put = db_.Prepare("UPDATE inode SET removed = ? WHERE ino = ?");
  put << devices_.Encode(db_, removed) << ino;
  put.Run();
}

void Tables::PutGone(Ino ino, const Summary& removed, std::int64_t time_ns, std::int64_t now_ns) {
  auto put = db_.Prepare(
      "UPDATE inode SET removed = ?2, undeleted = 0, live_links = 0, nlink = 0, "
      "gone = CASE gone WHEN 0 THEN ?4 ELSE gone END, ctime = max(ctime, ?3) WHERE ino = ?1");
  put << ino;
  if (removed.empty()) {
    put << nullptr;
  } else {
    put << devices_.Encode(db_, removed);
  }
  put << time_ns << now_ns;
  put.Run();
}

void Tables::PutPublished(Ino ino, const Dot& inode, const Dot& attributes, int live_links) {
  auto put = db_.Prepare(
      "UPDATE inode SET pending = 0, dot_dev = ?, dot_n = ?, a_dot_dev = ?, a_dot_n = ?, "
      "live_links = live_links + ? WHERE ino = ?");
  Bind(put, inode);
  Bind(put, attributes);
  put << live_links << ino;
  put.Run();
}

// --- devices

std::optional<DeviceRow> Tables::GetDevice(const DeviceId& device) {
  const std::int64_t number = devices_.NumberOf(db_, device);
  auto find = db_.Prepare(
      "SELECT name, key, role, incarnation, time, stamp_dev, life, sub, dot_dev, dot_n, extra FROM "
      "device "
      "WHERE dev = ? AND name IS NOT NULL");
  find << number;
  if (!find.Step()) return std::nullopt;
  DeviceRow row;
  row.device = device;
  row.name = find.String(0);
  row.key = find.Fixed<std::array<std::uint8_t, 32>>(1);
  row.role = static_cast<std::uint32_t>(find.Int(2));
  row.incarnation = static_cast<std::uint64_t>(find.Int(3));
  ReadHead(find, 4, row);
  return row;
}

void Tables::PutDevice(const DeviceRow& row) {
  const std::int64_t number = devices_.NumberOf(db_, row.device);
  auto put = db_.Prepare(
      "UPDATE device SET name = ?, key = ?, role = ?, incarnation = ?, time = ?, stamp_dev = ?, "
      "life = ?, sub = ?, dot_dev = ?, dot_n = ?, extra = ? WHERE dev = ?");
  put << row.name << row.key << row.role << static_cast<std::int64_t>(row.incarnation);
  BindHead(put, row);
  put << number;
  put.Run();
}

void Tables::PutKnown(const Summary& known, const Summary& stored) {
  for (const auto& [device, n] : known) {
    const auto before = stored.find(device);
    if (before != stored.end() && before->second >= n) continue;
    auto put = db_.Prepare("UPDATE device SET known = max(known, ?) WHERE dev = ?");
    put << n << devices_.NumberOf(db_, device);
    put.Run();
  }
}

Summary Tables::Known() {
  Summary known;
  auto rows = db_.Prepare("SELECT id, known FROM device WHERE known > 0");
  while (rows.Step()) known[rows.Fixed<DeviceId>(0)] = rows.Unsigned(1);
  return known;
}

std::optional<SeenRow> Tables::GetSeen(const DeviceId& device) {
  const auto number = devices_.IfKnown(device);
  if (!number) return std::nullopt;
  auto find =
      db_.Prepare("SELECT known, horizon, dot_dev, dot_n, extra, parts FROM seen WHERE dev = ?");
  find << *number;
  if (!find.Step()) return std::nullopt;
  return SeenRow{device,
                 devices_.Decode(find.Bytes(0)),
                 devices_.Decode(find.Bytes(1)),
                 devices_.Decode(find.Bytes(5)),
                 ReadDot(find, 2),
                 find.String(4)};
}

void Tables::PutSeen(const SeenRow& row) {
  const std::string known = devices_.Encode(db_, row.known);
  const std::string horizon = devices_.Encode(db_, row.horizon);
  const std::string parts = devices_.Encode(db_, row.parts);
  auto put = db_.Prepare(
      "INSERT INTO seen (dev, known, horizon, dot_dev, dot_n, extra, parts) "
      "VALUES (?, ?, ?, ?, ?, ?, ?) "
      "ON CONFLICT (dev) DO UPDATE SET known = excluded.known, horizon = excluded.horizon, "
      "dot_dev = excluded.dot_dev, dot_n = excluded.dot_n, extra = excluded.extra, "
      "parts = excluded.parts");
  put << devices_.NumberOf(db_, row.device) << known << horizon;
  Bind(put, row.dot);
  put << row.extra << parts;
  put.Run();
}

Summary Tables::MetaSummary(const char* key) {
  auto find = db_.Prepare("SELECT value FROM meta WHERE key = CAST(? AS TEXT)");
  find << std::string_view(key);
  return find.Step() ? devices_.Decode(find.Bytes(0)) : Summary();
}

void Tables::PutMetaSummary(const char* key, const Summary& summary) {
  const std::string bytes = devices_.Encode(db_, summary);
  auto put = db_.Prepare("INSERT OR REPLACE INTO meta (key, value) VALUES (CAST(? AS TEXT), ?)");
  put << std::string_view(key) << bytes;
  put.Run();
}

// --- rows of kinds that this version does not know

void Tables::PutOther(const Dot& dot, std::string_view row) {
  auto put = db_.Prepare("INSERT OR IGNORE INTO other (dot_dev, dot_n, row) VALUES (?, ?, ?)");
  Bind(put, dot);
  put << row;
  put.Run();
}

std::string Tables::GetOther(const Dot& dot) {
  auto find = db_.Prepare("SELECT row FROM other WHERE dot_dev = ? AND dot_n = ?");
  Bind(find, dot);
  return find.Step() ? find.String(0) : std::string();
}

// --- owners

std::int64_t Tables::OwnerNumber(const Owner& owner) {
  for (const auto& [number, known] : owners_) {
    if (known == owner) return number;
  }
  if (owners_.size() >= kOwnersMax) owners_.clear();
  return owners_.emplace_back(StoredOwner(owner), owner).first;
}

std::int64_t Tables::StoredOwner(const Owner& owner) {
  const std::uint32_t flags =
      (owner.mounter ? kMounter : 0U) | (owner.mounter_group ? kMounterGroup : 0U);
  auto find = db_.Prepare(
      "SELECT owner FROM owner WHERE uid = ? AND gid = ? AND user = ? AND grp = ? AND flags = ?");
  find << owner.uid << owner.gid << owner.user << owner.group << flags;
  if (find.Step()) return find.Int(0);
  auto insert =
      db_.Prepare("INSERT INTO owner (uid, gid, user, grp, flags) VALUES (?, ?, ?, ?, ?)");
  insert << owner.uid << owner.gid << owner.user << owner.group << flags;
  insert.Run();
  return db_.last_insert_id();
}

Owner Tables::GetOwner(std::int64_t number) {
  auto find = db_.Prepare("SELECT uid, gid, user, grp, flags FROM owner WHERE owner = ?");
  find << number;
  Owner owner;
  if (!find.Step()) return owner;
  owner.uid = static_cast<std::uint32_t>(find.Int(0));
  owner.gid = static_cast<std::uint32_t>(find.Int(1));
  owner.user = find.String(2);
  owner.group = find.String(3);
  owner.mounter = (find.Int(4) & kMounter) != 0;
  owner.mounter_group = (find.Int(4) & kMounterGroup) != 0;
  return owner;
}

}  // namespace btfc::index
