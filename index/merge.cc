// Rows join into the tables. Every join is commutative, associative and idempotent: the order in
// which deltas come does not matter. See tests/model/replication.py, Host.merge.
#include <algorithm>
#include <tuple>

#include "index/session.h"
#include "index/summaries.h"

namespace btfc::index {
namespace {

bool Beats(const RowHead& row, const RowHead& held) {
  return std::tie(row.stamp, row.dot) > std::tie(held.stamp, held.dot);
}

auto ContentKey(const VersionRow& row) { return std::tie(row.content, row.mtime_ns); }

}  // namespace

void Session::Merge(const DeviceRow& row) {
  const auto held = tables_.GetDevice(row.device);
  if (held && !Beats(row, *held)) return;
  tables_.PutDevice(row);
  if (row.role == kRemovedHost) members_changed_ = true;
}

void Session::Merge(const SeenRow& row) {
  const auto held = tables_.GetSeen(row.device);
  if (held && held->dot.n >= row.dot.n) return;
  tables_.PutSeen(row);
  heard_horizons_ = true;
}

void Session::Merge(const InodeRow& row, bool pending) {
  const auto held = tables_.GetInode(row.ino);
  if (held && !Beats(row, *held)) return;
  tables_.PutInode(row, pending);
  versions_touched_.insert(row.ino);
  if (held && held->kind == row.kind) return;
  // Its links and, for a folder, its entries may have come before it.
  if (row.kind == Kind::kFile) RefreshHead(row.ino);
  RefreshLinksOf(row.ino);
  if (row.kind == Kind::kFolder) RefreshLinksIn(row.ino);
}

void Session::Merge(const AttributesRow& row) {
  const auto held = tables_.GetAttributes(row.ino);
  if (held && !Beats(row, *held)) return;
  tables_.PutAttributes(row);
  if (held) NoteAttributes(row.ino);
  TouchedCopy(row.ino);
}

void Session::Merge(const RegisterRow& row) {
  const auto held = tables_.GetRegister(row.ino, row.name);
  if (held && !Beats(row, *held)) return;
  tables_.PutRegister(row);
  if (row.name == kMtimeRegister) {
    auto set = tables_.db().Prepare("UPDATE inode SET set_time = ? WHERE ino = ?");
    set << row.stamp.time_ns << row.ino;
    set.Run();
    const auto heads = Heads(row.ino);
    RefreshMtime(tables_.Brief(row.ino), heads.empty() ? nullptr : &heads.front());
  }
  NoteAttributes(row.ino);
  TouchedCopy(row.ino);
}

// Whether somebody touched a conflict copy decides what becomes of it.
void Session::TouchedCopy(Ino ino) {
  if (tables_.Brief(ino).copy_of != 0) versions_touched_.insert(ino);
}

void Session::Merge(const PlaceRow& row) {
  auto held = tables_.GetLink(row.link);
  if (held && !Beats(row, *held)) return;
  const Slot to{Follow(row.spot.folder), row.spot.name};
  TouchSpot(to);
  if (held && held->up != 0) TouchSpot({held->up, held->spot.name});
  if (held && held->ino != row.ino) {
    // No host of ours lets a link lead elsewhere; if one does, the figures still have to be right.
    Link gone = *held;
    gone.state = 0;
    gone.up = 0;
    Count(*held, gone, tables_.Brief(held->ino));
    tables_.PutDerived(gone, false);
  }
  tables_.PutPlace(row);
  if (!held || held->ino != row.ino) JoinEarlyRemoval(row.link, row.ino);
  Touched(row.ino, row.stamp.time_ns);
  versions_touched_.insert(row.ino);
  RefreshLink(row.link, held.has_value());
  if (held && held->up != 0) ChangedFolder(held->up, row.stamp.time_ns);
  if (!held || held->up != to.folder) ChangedFolder(to.folder, row.stamp.time_ns);
  if (held && held->ino != row.ino) RefreshLinksIn(held->ino);
  if (!held || held->ino != row.ino)
    RefreshLinksIn(row.ino);  // a folder: entries that came before their folder
}

// The link's removal came before its place: only now is it known whose versions it saw.
void Session::JoinEarlyRemoval(LinkNo link, Ino ino) {
  const auto removal = tables_.GetRemoval(link);
  if (!removal || removal->known.context.empty()) return;
  tables_.PutRemovedContext(ino, Join(tables_.RemovedContext(ino), removal->known.context));
  RefreshHead(ino);
}

void Session::Merge(RemovalRow row) {
  const auto held = tables_.GetRemoval(row.link);
  if (held) {
    // The later seen stamp brings its merged_into; at equal ones the lowest folder.
    RemovalRow joined = row;
    if (held->seen != row.seen) {
      joined.merged_into = held->seen > row.seen ? held->merged_into : row.merged_into;
      joined.seen = std::max(held->seen, row.seen);
    } else if (held->merged_into != 0 &&
               (row.merged_into == 0 ||
                tables_.IdOfInode(held->merged_into) < tables_.IdOfInode(row.merged_into))) {
      joined.merged_into = held->merged_into;
    }
    joined.known = held->known.Unite(row.known);
    const auto same = [&joined](const Removal& side) {
      return side.seen == joined.seen && side.known == joined.known &&
             side.merged_into == joined.merged_into;
    };
    if (same(*held) && same(row)) {
      if (row.dot <= held->dot) return;
    } else if (same(*held)) {
      return;
    } else if (!same(row)) {
      joined.dot = NextDot();
      joined.time_ns = std::max(held->time_ns, row.time_ns);
      joined.extra = std::max(held->extra, row.extra);
      row = joined;
    }
  }
  tables_.PutRemoval(row);
  const auto link = tables_.GetLink(row.link);
  if (!link) return;
  versions_touched_.insert(link->ino);
  auto removed = tables_.RemovedContext(link->ino);
  if (!Covers(removed, row.known.context)) {
    JoinInto(removed, row.known.context);
    tables_.PutRemovedContext(link->ino, removed);
    RefreshHead(link->ino);
  }
  Touched(link->ino, row.time_ns);
  RefreshLink(row.link);
  if (link->up != 0) ChangedFolder(link->up, row.time_ns);
}

void Session::Merge(VersionRow row) {
  const auto versions = tables_.Versions(row.ino);
  const auto held = std::find_if(versions.begin(), versions.end(), [&row](const auto& version) {
    return version.commit == row.commit;
  });
  if (held == versions.end()) return MergeIntoVersions(std::move(row), versions);
  const Known known = held->known.Unite(row.known);
  const bool same_content = ContentKey(*held) == ContentKey(row);
  const bool same_as_held = known == held->known;
  const bool same_as_row = known == row.known;
  if (!same_content) {
    // One commit with two contents: no host of ours writes that. All choose alike.
    if (ContentKey(row) > ContentKey(*held)) {
      NoteObject(held->content);
      NoteBefore(row.ino, tables_.Brief(row.ino));
      tables_.DropVersion(held->version);
      const auto others = tables_.Versions(row.ino);
      MergeIntoVersions(std::move(row), others);
    }
    return;
  }
  if (same_as_held && same_as_row) {
    if (row.dot <= held->dot) return;
  } else if (same_as_held) {
    return;
  } else if (!same_as_row) {
    row.dot = NextDot();
    row.extra = std::max(held->extra, row.extra);
  }
  row.known = known;
  MergeIntoVersions(std::move(row), versions);
}

// A version covered by another's context is no head any more, and what it covered passes to the
// one that covers it (a repair may have widened it).
void Session::MergeIntoVersions(VersionRow row, const std::vector<HeldVersion>& versions) {
  const Ino ino = row.ino;
  bool covered = false;
  for (const auto& other : versions) {
    if (other.commit == row.commit || !Covers(other.known.context, row.commit)) continue;
    covered = true;
    Widen(other, other.known.Unite(row.known));
  }
  if (covered) {
    Archive(row, row.inline_bytes);
    return RefreshHead(ino);
  }
  const HeldVersion* held = nullptr;
  Known known = row.known;
  for (const auto& other : versions) {
    if (other.commit == row.commit) {
      held = &other;
    } else if (Covers(row.known.context, other.commit)) {
      known = known.Unite(other.known);
      ToHistory(other);
    }
  }
  if (known != row.known) {
    row.known = known;
    row.dot = NextDot();
  }
  if (held != nullptr) {
    tables_.UpdateVersion(held->version, row);
  } else {
    tables_.InsertVersion(row);
    NoteObject(row.content);
  }
  Touched(ino, row.stamp.time_ns);
  RefreshHead(ino);
}

void Session::Widen(const HeldVersion& held, const Known& known) {
  if (known == held.known) return;
  VersionRow row = held;
  row.known = known;
  row.dot = NextDot();
  Merge(std::move(row));
}

void Session::ToHistory(const HeldVersion& held) {
  NoteBefore(held.ino, tables_.Brief(held.ino));
  Archive(held, tables_.InlineOf(held.version));
  tables_.DropVersion(held.version);
}

}  // namespace btfc::index
