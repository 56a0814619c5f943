// rename(2) with its flags.
#include <algorithm>

#include "index/catalogue_impl.h"
#include "index/operations.h"

namespace btfc::index {

void MoveTo(Session& session, const Link& link, const Slot& spot, const Stamp& stamp) {
  PlaceRow row = link;
  row.spot = spot;
  row.stamp = stamp;
  if (link.dot.n != 0) {
    session.PublishRemovalsAt(spot);
    row.previous = link.spot;
    row.dot = session.NextDot();
  }
  session.Merge(row);
}

namespace {

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

bool IsFolder(Session& session, const Link& link) {
  return session.tables().Brief(link.ino).kind == Kind::kFolder;
}

// The stamps that a move of a link, or its replacement, has to be later than.
void AddStamps(Session& session, const Link& link, std::vector<Stamp>& stamps) {
  stamps.push_back(link.stamp);
  const auto versions = session.VersionStamps(link.ino);
  stamps.insert(stamps.end(), versions.begin(), versions.end());
}

Result<void> CheckMove(Session& session, const Link& link, Ino new_parent) {
  if (IsFolder(session, link) && IsBelow(session, new_parent, link.ino)) return Errno(EINVAL);
  return Ok();
}

Result<void> CheckReplace(Session& session, const Link& link, const Link& over) {
  const bool folder = IsFolder(session, link);
  const bool over_folder = IsFolder(session, over);
  if (folder && !over_folder) return Errno(ENOTDIR);
  if (!folder && over_folder) return Errno(EISDIR);
  if (!over_folder) return Ok();
  BOOST_OUTCOME_TRYA(entries, Reader(session.tables().db()).List(over.ino, 0, 1));
  if (!entries.empty()) return Errno(ENOTEMPTY);
  return Ok();
}

Result<void> Exchange(Session& session, const Link& a, const Link& b) {
  BOOST_OUTCOME_TRYV(CheckMove(session, a, b.up));
  BOOST_OUTCOME_TRYV(CheckMove(session, b, a.up));
  std::vector<Stamp> stamps;
  AddStamps(session, a, stamps);
  AddStamps(session, b, stamps);
  const Stamp stamp = session.Now(stamps);
  MoveTo(session, a, {b.up, b.spot.name}, stamp);
  MoveTo(session, b, {a.up, a.spot.name}, stamp);
  return Ok();
}

struct Move {
  Slot from, to;
  unsigned flags;
};

Result<std::optional<Removed>> RenameIn(Session& session, const Move& move) {
  BOOST_OUTCOME_TRYA(link, ShownLink(session, move.from));
  const auto found = ShownLink(session, move.to);
  const bool exchange = (move.flags & kExchange) != 0;
  if (exchange && !found) return found.error();
  if (found && (move.flags & kNoReplace) != 0) return Errno(EEXIST);
  // Two names of one file, or the same name twice: nothing is to be done, says POSIX.
  if (found && found.value().ino == link.ino) return std::optional<Removed>();
  if (exchange) {
    BOOST_OUTCOME_TRYV(Exchange(session, link, found.value()));
    return std::optional<Removed>();
  }
  BOOST_OUTCOME_TRYV(CheckMove(session, link, move.to.folder));
  if (found) {
    BOOST_OUTCOME_TRYV(CheckReplace(session, link, found.value()));
  }

  std::vector<Stamp> stamps;
  AddStamps(session, link, stamps);
  if (found) AddStamps(session, found.value(), stamps);
  const Stamp stamp = session.Now(stamps);
  std::optional<Removed> removed;
  if (found) {
    const bool waits = link.dot.n == 0;
    if (!waits) session.PublishRemovalsIn(found.value().ino);
    session.Unlink(found.value(), waits ? link.ino : 0);
    removed = RemovedOf(session, found.value().ino);
  }
  MoveTo(session, link, move.to, stamp);
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
