// Local operations on a link that has its name for itself, on every host that has this one's rows:
// what merging, deriving and repairing would come to is known then, and written without asking.
// Each answers false, and has done nothing, if more might follow than it writes.
#include "index/conflict_names.h"
#include "index/session.h"
#include "index/summaries.h"

namespace btfc::index {
namespace {

constexpr unsigned kForAll = kAlive | kLive;
constexpr unsigned kForUs = kOurs | kShown;

// All that see it agree that it is there, or nobody else has heard of it.
bool IsSettled(const Link& link) {
  return link.state == (link.dot.n != 0 ? kForAll | kForUs : kForUs);
}

// A file not published yet has its name, and nobody else knows.
bool IsTaken(const Link& link) { return link.dot.n != 0 && link.state == kForAll; }

// And nothing is told of it but that it is gone.
bool IsOnlyName(const InodeBrief& inode) {
  return inode.kind != Kind::kFolder && inode.live_links == 1 && inode.nlink <= 1;
}

}  // namespace

// The folder stays alive, no cycle comes about, and removals that saw the link are older than
// before.
bool Session::MoveAlone(const Link& link, PlaceRow row) {
  const bool same_folder = row.spot.folder == link.up;
  const bool later = link.stamp.time_ns < row.stamp.time_ns;
  if (!IsSettled(link) || !same_folder || !later) return false;
  if (link.dot.n != 0) row.dot = NextDot();
  tables_.PutMoved(row, IsConflictName(row.spot.name));
  Touched(row.ino, row.stamp.time_ns);
  ChangedFolder(link.up, row.stamp.time_ns);
  return true;
}

// No other link of its inode is alive, so none depends on the versions being deleted now.
bool Session::RemoveAlone(const Link& link, const InodeBrief& inode,
                          const std::vector<HeldVersion>& versions, const RemovalRow& row) {
  const bool settled = link.dot.n != 0 && IsSettled(link) && inode.nlink == 1;
  if (!settled && !(IsTaken(link) && inode.nlink == 0)) return false;
  // A removal that waited for its file's first content may have seen an earlier place.
  if (row.seen != link.stamp || link.stamp.life != 0) return false;
  if (!IsOnlyName(inode)) return false;
  if (versions.size() > 1 || tables_.GetRemoval(link.link)) return false;
  if (!versions.empty() && !Covers(row.known.context, versions.front().commit)) return false;
  tables_.PutRemoval(row);
  TouchSpot({link.up, link.spot.name});
  Link gone = link;
  gone.state = 0;
  gone.up = 0;
  tables_.PutDerived(gone, false);
  const Summary removed = Join(tables_.RemovedContext(link.ino), row.known.context);
  tables_.PutGone(link.ino, removed, row.time_ns, context_.now_ns);
  NoteObjectsOf(link.ino);
  NoteAttributes(link.ino);
  versions_touched_.insert(link.ino);  // for its conflict copies
  ChangedFolder(link.up, row.time_ns);
  return true;
}

// Nothing changes but for this host's users.
bool Session::TakeAlone(const Link& link, const InodeBrief& inode, std::int64_t time_ns) {
  if (link.dot.n == 0 || !IsSettled(link) || !IsOnlyName(inode)) return false;
  Link taken = link;
  taken.state = kForAll;
  Count(link, taken, inode);
  tables_.PutHidden(taken);
  ChangedFolder(link.up, time_ns);
  return true;
}

// Its inode has yet to count it. The folder may be one that others have removed meanwhile.
bool Session::PublishAlone(const Link& link) {
  if (!IsSettled(link) || link.dot.n != 0 || tables_.GetRemoval(link.link)) return false;
  auto others =
      tables_.db().Prepare("SELECT 1 FROM place WHERE up = ? AND name = ? AND link <> ? LIMIT 1");
  others << link.up << link.spot.name << link.link;
  if (others.Step()) return false;
  Link published = link;
  published.state = kForAll | kForUs;
  published.dot = NextDot();
  tables_.PutPublished(published);
  folders_to_check_.insert(link.up);
  return true;
}

// No removal has seen it, and nothing else says when the file changed.
void Session::WriteFirst(const VersionRow& row, std::int64_t ctime_ns) {
  const VersionNo head = tables_.InsertVersion(row);
  NoteObject(row.content);
  auto put = tables_.db().Prepare(
      "UPDATE inode SET head = ?, undeleted = 1, mtime = ?, ctime = max(ctime, ?) WHERE ino = ?");
  put << head << row.mtime_ns << ctime_ns << row.ino;
  put.Run();
}

}  // namespace btfc::index
