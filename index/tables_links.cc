// Links, their removals and versions as they stand in SQLite.
#include "index/tables.h"

namespace btfc::index {
namespace {

// What ReadLink reads, in its order.
#define BTFC_LINK_COLUMNS                                                                       \
  "link, id, ino, parent, name, prev_parent, prev_name, time, dev, life, sub, dot_dev, dot_n, " \
  "extra, up, state, merged"

#define BTFC_VERSION_COLUMNS                                                             \
  "version, ino, commit_dev, commit_n, root, size, mtime, known, time, dev, life, sub, " \
  "dot_dev, dot_n, extra"

}  // namespace

// --- links

Link Tables::ReadLink(const Statement& row) const {
  Link link;
  link.link = row.Int(0);
  link.id = row.Fixed<LinkId>(1);
  link.ino = row.Unsigned(2);
  link.spot = {row.Unsigned(3), row.String(4)};
  if (!row.IsNull(5)) link.previous = Slot{row.Unsigned(5), row.String(6)};
  ReadHead(row, 7, link);
  link.up = row.Unsigned(14);
  link.state = static_cast<unsigned>(row.Int(15));
  link.merged = row.Unsigned(16);
  return link;
}

std::optional<Link> Tables::GetLink(LinkNo link) {
  auto find =
      db_.Prepare("SELECT " BTFC_LINK_COLUMNS " FROM place WHERE link = ? AND ino IS NOT NULL");
  find << link;
  if (!find.Step()) return std::nullopt;
  return ReadLink(find);
}

std::optional<Link> Tables::FolderLink(Ino folder) {
  auto find = db_.Prepare("SELECT " BTFC_LINK_COLUMNS
                          " FROM place WHERE id = (SELECT id FROM inode WHERE ino = ?1)"
                          " AND ino = ?1");
  find << folder;
  if (!find.Step()) return std::nullopt;
  return ReadLink(find);
}

std::vector<LinkNo> Tables::LinksOf(Ino ino) {
  auto find = db_.Prepare("SELECT link FROM place WHERE ino = ?");
  find << ino;
  std::vector<LinkNo> links;
  while (find.Step()) links.push_back(find.Int(0));
  return links;
}

std::vector<LinkNo> Tables::LinksIn(Ino up) {
  auto find = db_.Prepare("SELECT link FROM place WHERE up = ?");
  find << up;
  std::vector<LinkNo> links;
  while (find.Step()) links.push_back(find.Int(0));
  return links;
}

std::vector<Link> Tables::LinksAt(const Slot& spot) {
  auto find = db_.Prepare("SELECT " BTFC_LINK_COLUMNS " FROM place WHERE up = ? AND name = ?");
  find << spot.folder << spot.name;
  std::vector<Link> links;
  while (find.Step()) links.push_back(ReadLink(find));
  return links;
}

void Tables::PutPlace(const PlaceRow& row) {
  auto put = db_.Prepare(
      "UPDATE place SET ino = ?, parent = ?, name = ?, prev_parent = ?, prev_name = ?, time = ?, "
      "dev = ?, life = ?, sub = ?, dot_dev = ?, dot_n = ?, extra = ?, conflict = NULL WHERE link = "
      "?");
  put << row.ino << row.spot.folder << row.spot.name;
  if (row.previous) {
    put << row.previous->folder << row.previous->name;
  } else {
    put << nullptr << nullptr;
  }
  BindHead(put, row);
  put << row.link;
  put.Run();
}

void Tables::PutMoved(const PlaceRow& row, bool conflict) {
  auto put = db_.Prepare(
      "UPDATE place SET parent = ?, name = ?, prev_parent = ?, prev_name = ?, time = ?, dev = ?, "
      "life = ?, sub = ?, dot_dev = ?, dot_n = ?, extra = ?, conflict = nullif(?, 0) "
      "WHERE link = ?");
  put << row.spot.folder << row.spot.name;
  if (row.previous) {
    put << row.previous->folder << row.previous->name;
  } else {
    put << nullptr << nullptr;
  }
  BindHead(put, row);
  put << conflict << row.link;
  put.Run();
}

void Tables::PutHidden(const Link& link) {
  auto put = db_.Prepare("UPDATE place SET state = ?, conflict = NULL WHERE link = ?");
  put << link.state << link.link;
  put.Run();
}

void Tables::PutPublished(const Link& link) {
  auto put = db_.Prepare("UPDATE place SET dot_dev = ?, dot_n = ?, state = ? WHERE link = ?");
  Bind(put, link.dot);
  put << link.state << link.link;
  put.Run();
}

void Tables::PutDot(LinkNo link, const Dot& dot) {
  auto put = db_.Prepare("UPDATE place SET dot_dev = ?, dot_n = ? WHERE link = ?");
  Bind(put, dot);
  put << link;
  put.Run();
}

void Tables::PutDerived(const Link& link, bool conflict) {
  auto put = db_.Prepare(
      "UPDATE place SET up = nullif(?, 0), state = ?, merged = nullif(?, 0), "
      "conflict = nullif(?, 0) WHERE link = ?");
  put << link.up << link.state << link.merged << conflict << link.link;
  put.Run();
}

void Tables::DropPlace(LinkNo link) {
  auto drop = db_.Prepare("DELETE FROM place WHERE link = ?");
  drop << link;
  drop.Run();
}

std::optional<Removal> Tables::GetRemoval(LinkNo link) {
  auto find = db_.Prepare(
      "SELECT seen_time, seen_dev, seen_life, seen_sub, known, merged, time, dot_dev, dot_n, "
      "extra FROM removal WHERE link = ?");
  find << link;
  if (!find.Step()) return std::nullopt;
  Removal removal;
  removal.seen = ReadStamp(find, 0);
  removal.known = devices_.DecodeKnown(find.Bytes(4));
  removal.merged_into = find.Unsigned(5);
  removal.time_ns = find.Int(6);
  removal.dot = ReadDot(find, 7);
  removal.extra = find.String(9);
  return removal;
}

void Tables::PutRemoval(const RemovalRow& row) {
  auto put = db_.Prepare(
      "INSERT INTO removal (link, seen_time, seen_dev, seen_life, seen_sub, known, merged, time, "
      "dot_dev, dot_n, extra) VALUES (?, ?, ?, ?, ?, ?, nullif(?, 0), ?, ?, ?, ?) "
      "ON CONFLICT (link) DO UPDATE SET seen_time = excluded.seen_time, "
      "seen_dev = excluded.seen_dev, seen_life = excluded.seen_life, "
      "seen_sub = excluded.seen_sub, known = excluded.known, merged = excluded.merged, "
      "time = excluded.time, dot_dev = excluded.dot_dev, dot_n = excluded.dot_n, "
      "extra = excluded.extra");
  put << row.link;
  Bind(put, row.seen);
  put << devices_.EncodeKnown(db_, row.known) << row.merged_into << row.time_ns;
  Bind(put, row.dot);
  if (row.extra.empty()) {
    put << nullptr;
  } else {
    put << row.extra;
  }
  put.Run();
}

void Tables::InsertLink(const Link& link, bool conflict) {
  auto insert = db_.Prepare(
      "INSERT INTO place (time, dev, life, sub, dot_dev, dot_n, extra, id, ino, parent, name, up, "
      "state, conflict) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, nullif(?, 0))");
  BindHead(insert, link);
  insert << link.id << link.ino << link.spot.folder << link.spot.name << link.up << link.state
         << conflict;
  insert.Run();
}

// --- versions

HeldVersion Tables::ReadVersion(const Statement& row) const {
  HeldVersion held;
  held.version = row.Int(0);
  held.ino = row.Unsigned(1);
  held.commit = ReadDot(row, 2);
  held.content = {row.Fixed<std::array<std::uint8_t, 32>>(4), row.Unsigned(5)};
  held.mtime_ns = row.Int(6);
  held.known = devices_.DecodeKnown(row.Bytes(7));
  ReadHead(row, 8, held);
  return held;
}

std::vector<HeldVersion> Tables::Versions(Ino ino) {
  auto find = db_.Prepare("SELECT " BTFC_VERSION_COLUMNS " FROM version WHERE ino = ?");
  find << ino;
  std::vector<HeldVersion> versions;
  while (find.Step()) versions.push_back(ReadVersion(find));
  return versions;
}

std::optional<VersionRow> Tables::GetVersion(VersionNo version) {
  auto find = db_.Prepare("SELECT " BTFC_VERSION_COLUMNS " FROM version WHERE version = ?");
  find << version;
  if (!find.Step()) return std::nullopt;
  return ReadVersion(find);
}

std::string Tables::InlineOf(VersionNo version) {
  auto find = db_.Prepare("SELECT inline FROM version WHERE version = ?");
  find << version;
  return find.Step() ? find.String(0) : std::string();
}

VersionNo Tables::InsertVersion(const VersionRow& row) {
  auto insert = db_.Prepare(
      "INSERT INTO version (ino, commit_dev, commit_n, root, size, mtime, known, time, dev, "
      "life, "
      "sub, dot_dev, dot_n, extra, inline) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)");
  insert << row.ino;
  Bind(insert, row.commit);
  insert << row.content.root << row.content.size << row.mtime_ns
         << devices_.EncodeKnown(db_, row.known);
  BindHead(insert, row);
  if (row.inline_bytes.empty()) {
    insert << nullptr;
  } else {
    insert << row.inline_bytes;
  }
  insert.Run();
  return db_.last_insert_id();
}

void Tables::UpdateVersion(VersionNo version, const VersionRow& row) {
  auto update = db_.Prepare(
      "UPDATE version SET known = ?, time = ?, dev = ?, life = ?, sub = ?, dot_dev = ?, "
      "dot_n = ?, extra = ? WHERE version = ?");
  update << devices_.EncodeKnown(db_, row.known);
  BindHead(update, row);
  update << version;
  update.Run();
}

void Tables::DropVersion(VersionNo version) {
  auto drop = db_.Prepare("DELETE FROM version WHERE version = ?");
  drop << version;
  drop.Run();
}

}  // namespace btfc::index
