// rename(2) with its flags.
#include <algorithm>

#include "index/catalogue_impl.h"
#include "index/operations.h"

namespace btfc::index {

namespace {

// What a name shows.
struct Shown {
  Shown(Session& session, const AtName& name)
      : at(name), inode(session.tables().Brief(name.shown->ino)) {}
  AtName at;
  InodeBrief inode;
  const Link& link() const { return *at.shown; }
  bool IsFolder() const { return inode.kind == Kind::kFolder; }
};

PlaceRow Moved(const Link& link, const Slot& spot, const Stamp& stamp) {
  PlaceRow row = link;
  row.spot = spot;
  row.stamp = stamp;
  if (link.dot.n != 0) row.previous = link.spot;
  return row;
}

// Nothing may be shown at the new place any more.
void MoveTo(Session& session, const Link& link, PlaceRow row) {
  if (link.dot.n != 0) {
    session.PublishRemovalsAt(row.spot);
    row.dot = session.NextDot();
  }
  session.Merge(row);
}

// Whether `folder` is `top` or somewhere below it.
bool IsBelow(Session& session, Ino folder, Ino top) {
  for (Reader reader(session.tables().db()); folder != kRootIno;) {
    if (folder == top) return true;
    const auto parent = reader.Parent(folder);
    if (!parent) return false;
    folder = parent.value();
  }
  return folder == top;
}

// The stamps that a move of a link, or its replacement, has to be later than.
void AddStamps(Session& session, const Link& link, std::vector<Stamp>& stamps) {
  stamps.push_back(link.stamp);
  const auto versions = session.VersionStamps(link.ino);
  stamps.insert(stamps.end(), versions.begin(), versions.end());
}

Result<void> CheckMove(Session& session, const Shown& moved, Ino new_parent) {
  if (moved.IsFolder() && IsBelow(session, new_parent, moved.inode.ino)) return Errno(EINVAL);
  return Ok();
}

Result<void> CheckReplace(Session& session, const Shown& moved, const Shown& over) {
  if (moved.IsFolder() && !over.IsFolder()) return Errno(ENOTDIR);
  if (!moved.IsFolder() && over.IsFolder()) return Errno(EISDIR);
  if (!over.IsFolder()) return Ok();
  BOOST_OUTCOME_TRYA(entries, Reader(session.tables().db()).List(over.inode.ino, 0, 1));
  if (!entries.empty()) return Errno(ENOTEMPTY);
  return Ok();
}

Result<void> Exchange(Session& session, const Shown& a, const Shown& b) {
  const Slot of_a{a.link().up, a.link().spot.name};
  const Slot of_b{b.link().up, b.link().spot.name};
  BOOST_OUTCOME_TRYV(CheckMove(session, a, of_b.folder));
  BOOST_OUTCOME_TRYV(CheckMove(session, b, of_a.folder));
  std::vector<Stamp> stamps;
  AddStamps(session, a.link(), stamps);
  AddStamps(session, b.link(), stamps);
  const Stamp stamp = session.Now(stamps);
  MoveTo(session, a.link(), Moved(a.link(), of_b, stamp));
  MoveTo(session, b.link(), Moved(b.link(), of_a, stamp));
  return Ok();
}

// `over` goes: its name is another file's now.
Removed Replace(Session& session, const Link& link, const Shown& over) {
  const bool waits = link.dot.n == 0;
  if (!waits && over.IsFolder()) session.PublishRemovalsIn(over.inode.ino);
  return RemoveName(session, over.at, over.inode, waits ? link.ino : 0);
}

struct Move {
  Slot from, to;
  unsigned flags;
};

Result<std::optional<Removed>> RenameIn(Session& session, const Move& move) {
  const AtName from = LinksAtName(session, move.from);
  if (!from.shown) return Errno(ENOENT);
  const AtName to = LinksAtName(session, move.to);
  const bool exchange = (move.flags & kExchange) != 0;
  if (exchange && !to.shown) return Errno(ENOENT);
  if (to.shown && (move.flags & kNoReplace) != 0) return Errno(EEXIST);
  const Link& link = *from.shown;
  // Two names of one file, or the same name twice: nothing is to be done, says POSIX.
  if (to.shown && to.shown->ino == link.ino) return std::optional<Removed>();
  const Shown moved(session, from);
  std::optional<Shown> over;
  if (to.shown) over.emplace(session, to);
  if (exchange) {
    BOOST_OUTCOME_TRYV(Exchange(session, moved, *over));
    return std::optional<Removed>();
  }
  BOOST_OUTCOME_TRYV(CheckMove(session, moved, move.to.folder));
  if (over) {
    BOOST_OUTCOME_TRYV(CheckReplace(session, moved, *over));
  }

  std::vector<Stamp> stamps;
  AddStamps(session, link, stamps);
  if (over) AddStamps(session, over->link(), stamps);
  const PlaceRow row = Moved(link, move.to, session.Now(stamps));
  std::optional<Removed> removed;
  if (over) removed = Replace(session, link, *over);
  const bool alone = !from.others && !to.others;
  if (!alone || !session.MoveAlone(link, row)) MoveTo(session, link, row);
  if ((move.flags & kWhiteout) != 0) {
    NewNode whiteout;
    whiteout.kind = Kind::kCharDevice;
    MakeAt(session, move.from, whiteout);
  }
  return removed;
}

}  // namespace

Result<std::optional<Removed>> Catalogue::Rename(Ino parent, std::string_view name, Ino new_parent,
                                                 std::string_view new_name, unsigned flags) {
  const auto record = Record(Operation::kRename, parent, name, new_parent, new_name, flags);
  return impl_->Write(record, [&](Session& session) -> Result<std::optional<Removed>> {
    if ((flags & ~(kNoReplace | kExchange | kWhiteout)) != 0) return Errno(EINVAL);
    if ((flags & kExchange) != 0 && flags != kExchange) return Errno(EINVAL);
    BOOST_OUTCOME_TRYV(CheckName(name));
    BOOST_OUTCOME_TRYV(CheckName(new_name));
    BOOST_OUTCOME_TRYA(from, FolderFor(session, parent));
    Ino to = from;
    if (new_parent != parent) {
      BOOST_OUTCOME_TRYA(other, FolderFor(session, new_parent));
      to = other;
    }
    return RenameIn(session, {{from, std::string(name)}, {to, std::string(new_name)}, flags});
  });
}

}  // namespace btfc::index
