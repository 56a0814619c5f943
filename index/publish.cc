// A file's rows stay this host's own until its first content is committed; then it, its names and
// the removals of what its names replaced get their dots in one transaction, so that others see an
// editor's save in one step.
#include <utility>

#include "index/session.h"
#include "index/summaries.h"

namespace btfc::index {

void Session::Unlink(const Link& link, const InodeBrief& inode, bool alone, Ino waiting) {
  const bool last = inode.nlink == 1;
  if (last) {
    // A removal by this host's own user: what is still being written to it is never committed.
    auto orphan = tables_.db().Prepare("UPDATE dirty SET orphan = 1 WHERE ino = ?");
    orphan << link.ino;
    orphan.Run();
  }
  if (link.dot.n == 0) {
    TouchSpot({link.up, link.spot.name});
    Link gone = link;
    gone.state = 0;
    gone.up = 0;
    Count(link, gone, inode);
    tables_.DropPlace(link.link);
    ChangedFolder(link.up, context_.now_ns);
    if (!last) return;
    if (waiting == 0) return PublishRemovalsOf(link.ino);
    // Replaced by another file that waits: what this one had replaced goes with that one.
    auto pass = tables_.db().Prepare("UPDATE pending_removal SET ino = ? WHERE ino = ?");
    pass << waiting << link.ino;
    pass.Run();
    return;
  }
  RemovalRow row;
  row.link = link.link;
  row.seen = link.stamp;
  row.time_ns = context_.now_ns;
  const auto versions = last ? tables_.Versions(link.ino) : std::vector<HeldVersion>();
  row.known = KnownOf(link.ino, versions, true);
  if (waiting == 0) {
    row.dot = NextDot();
    if (!alone || !RemoveAlone(link, inode, versions, row)) Merge(std::move(row));
    return;
  }
  auto put = tables_.db().Prepare(
      "INSERT OR REPLACE INTO pending_removal (link, ino, seen_time, seen_dev, seen_life, "
      "seen_sub, "
      "known, time) VALUES (?, ?, ?, ?, ?, ?, ?, ?)");
  put << row.link << waiting;
  tables_.Bind(put, row.seen);
  put << tables_.devices().EncodeKnown(tables_.db(), row.known) << row.time_ns;
  put.Run();
  if (alone && TakeAlone(link, inode, row.time_ns)) return;
  RefreshLink(link.link);
  if (link.up != 0) ChangedFolder(link.up, row.time_ns);
}

void Session::PublishRemoval(LinkNo link) {
  RemovalRow row;
  {
    auto find = tables_.db().Prepare(
        "SELECT seen_time, seen_dev, seen_life, seen_sub, known, time FROM pending_removal "
        "WHERE link = ?");
    find << link;
    if (!find.Step()) return;
    row.link = link;
    row.seen = tables_.ReadStamp(find, 0);
    row.known = tables_.devices().DecodeKnown(find.Bytes(4));
    row.time_ns = find.Int(5);
  }
  auto drop = tables_.db().Prepare("DELETE FROM pending_removal WHERE link = ?");
  drop << link;
  drop.Run();
  row.dot = NextDot();
  // Another host may have moved the link meanwhile, so that another folder changes than the one
  // that the user removed it from: whoever keeps that folder's attributes is told.
  const bool watching = std::exchange(watching_, true);
  if (!RemoveTaken(row)) {
    Merge(std::move(row));
    RefreshLink(link);  // also if the merge had nothing new
  }
  watching_ = watching;
}

bool Session::RemoveTaken(const RemovalRow& row) {
  const auto link = tables_.GetLink(row.link);
  if (!link) return false;
  return RemoveAlone(*link, tables_.Brief(link->ino), tables_.Versions(link->ino), row);
}

void Session::PublishRemovalsOf(Ino waiting) {
  auto find = tables_.db().Prepare("SELECT link FROM pending_removal WHERE ino = ?");
  find << waiting;
  PublishFound(find);
}

void Session::PublishRemovalsAt(const Slot& spot) {
  auto find = tables_.db().Prepare(
      "SELECT r.link FROM pending_removal r JOIN place p ON p.link = r.link "
      "WHERE p.up = ? AND p.name = ?");
  find << spot.folder << spot.name;
  PublishFound(find);
}

void Session::PublishRemovalsIn(Ino folder) {
  auto find = tables_.db().Prepare(
      "SELECT r.link FROM pending_removal r JOIN place p ON p.link = r.link "
      "WHERE p.up = ?");
  find << folder;
  PublishFound(find);
}

void Session::PublishFound(Statement& find) {
  std::vector<LinkNo> links;
  while (find.Step()) links.push_back(find.Int(0));
  for (const LinkNo link : links) PublishRemoval(link);
}

void Session::Publish(Ino file) {
  Tables& tables = tables_;
  const Dot inode = NextDot();
  const Dot attributes = NextDot();
  for (auto& row : tables.GetRegisters(file)) {
    row.dot = NextDot();
    tables.PutRegister(row);
  }
  PublishRemovalsOf(file);
  int live = 0;
  for (const LinkNo no : tables.LinksOf(file)) {
    const auto link = tables.GetLink(no);
    if (PublishAlone(*link)) {
      ++live;
      continue;
    }
    PublishRemovalsAt({link->up, link->spot.name});
    tables.PutDot(no, NextDot());
    RefreshLink(no);
  }
  tables.PutPublished(file, inode, attributes, live);
}

void Session::DropPending(Ino file) {
  PublishRemovalsOf(file);
  for (const Sql sql :
       {Sql("DELETE FROM attr WHERE ino = ?"), Sql("DELETE FROM dirty WHERE ino = ?"),
        Sql("DELETE FROM inode WHERE ino = ?")}) {
    auto drop = tables_.db().Prepare(sql);
    drop << file;
    drop.Run();
  }
}

}  // namespace btfc::index
