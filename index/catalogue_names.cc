// Local operations on names: make, link, remove.
#include "index/catalogue_impl.h"
#include "index/conflict_names.h"
#include "index/operations.h"

namespace btfc::index {

Result<Ino> FolderFor(Session& session, Ino folder) {
  Reader reader(session.tables().db());
  return reader.Folder(folder);
}

AtName LinksAtName(Session& session, const Slot& spot) {
  AtName at;
  for (auto& link : session.tables().LinksAt(spot)) {
    if ((link.state & kShown) != 0) {
      at.shown = std::move(link);
    } else {
      at.others = true;
    }
  }
  return at;
}

Result<Link> ShownLink(Session& session, const Slot& spot) {
  if (spot.name.size() > kNameMax) return Errno(ENAMETOOLONG);
  auto at = LinksAtName(session, spot);
  if (!at.shown) return Errno(ENOENT);
  return *std::move(at.shown);
}

bool IsShown(Session& session, const Slot& spot) {
  auto find =
      session.tables().db().Prepare("SELECT 1 FROM place WHERE up = ? AND name = ? AND state & 8");
  find << spot.folder << spot.name;
  return find.Step();
}

Result<Node> NodeOf(Session& session, Ino ino) { return Reader(session.tables().db()).Get(ino); }

Removed RemoveName(Session& session, const AtName& name, const InodeBrief& inode, Ino waiting) {
  session.Unlink(*name.shown, inode, !name.others, waiting);
  return {.ino = inode.ino,
          .kind = inode.kind.value_or(Kind::kFile),
          .nlink = static_cast<std::uint32_t>(inode.nlink - 1)};
}

Dot DotFor(Session& session, const InodeBrief& inode) {
  return inode.pending ? Dot{} : session.NextDot();
}

Result<void> CheckAttributes(const AttributesRow& row) {
  if (row.mode > 07777) return Errno(EINVAL);
  if (row.owner.user.size() > kOwnerNameMax || row.owner.group.size() > kOwnerNameMax) {
    return Errno(EINVAL);
  }
  if (row.acl_access.size() > kAclMax || row.acl_default.size() > kAclMax) return Errno(E2BIG);
  return Ok();
}

namespace {

Result<void> CheckNew(const NewNode& node) {
  AttributesRow attributes;
  attributes.mode = node.mode;
  attributes.owner = node.owner;
  attributes.acl_access = node.acl_access;
  attributes.acl_default = node.acl_default;
  BOOST_OUTCOME_TRYV(CheckAttributes(attributes));
  if (node.kind < Kind::kFile || node.kind > Kind::kBlockDevice) return Errno(EINVAL);
  if (node.kind != Kind::kSymlink) return Ok();
  if (node.target.empty()) return Errno(ENOENT);
  if (node.target.size() > kTargetMax) return Errno(ENAMETOOLONG);
  if (node.target.find('\0') != node.target.npos) return Errno(EINVAL);
  return Ok();
}

bool IsEmpty(Session& session, Ino folder) {
  auto find =
      session.tables().db().Prepare("SELECT 1 FROM place WHERE up = ? AND state & 8 LIMIT 1");
  find << folder;
  return !find.Step();
}

// The spot that (parent, name) means, free or taken.
Result<Slot> SpotFor(Session& session, Ino parent, std::string_view name) {
  BOOST_OUTCOME_TRYV(CheckName(name));
  BOOST_OUTCOME_TRYA(folder, FolderFor(session, parent));
  return Slot{folder, std::string(name)};
}

}  // namespace

// Ids are new and the name is free, so nothing has to be merged or repaired.
Ino MakeAt(Session& session, const Slot& spot, const NewNode& node) {
  Tables& tables = session.tables();
  const Stamp stamp = session.Now();
  const bool pending = node.kind == Kind::kFile;  // until its first content
  if (!pending) session.PublishRemovalsAt(spot);
  const auto stamp_row = [&](RowHead& row) {
    row.stamp = stamp;
    if (!pending) row.dot = session.NextDot();
  };
  InodeRow inode;
  stamp_row(inode);
  inode.ino = tables.NextIno();
  inode.id = session.NewId<InodeId>();
  inode.kind = node.kind;
  if (node.kind == Kind::kSymlink) inode.target = node.target;
  if (node.kind == Kind::kCharDevice || node.kind == Kind::kBlockDevice) inode.rdev = node.rdev;
  AttributesRow attributes;
  stamp_row(attributes);
  attributes.mode = node.mode;
  attributes.owner = node.owner;
  attributes.acl_access = node.acl_access;
  attributes.acl_default = node.acl_default;
  tables.InsertInode(inode, attributes, pending);

  Link link;
  stamp_row(link);
  const bool folder = node.kind == Kind::kFolder;
  link.id = folder ? LinkId{inode.id.bytes} : session.NewId<LinkId>();
  link.ino = inode.ino;
  link.spot = spot;
  link.up = spot.folder;
  link.state = kOurs | kShown | (pending ? 0U : kAlive | kLive);
  tables.InsertLink(link, IsConflictName(spot.name));
  session.ChangedFolder(spot.folder, stamp.time_ns);
  if (folder) session.CountSubfolder(spot.folder, 1);
  return inode.ino;
}

Result<Node> Catalogue::Make(Ino parent, std::string_view name, const NewNode& node) {
  return impl_->Write(Record(Operation::kMake, parent, name, node),
                      [&](Session& session) -> Result<Node> {
                        BOOST_OUTCOME_TRYV(CheckNew(node));
                        BOOST_OUTCOME_TRYA(spot, SpotFor(session, parent, name));
                        if (IsShown(session, spot)) return Errno(EEXIST);
                        return NodeOf(session, MakeAt(session, spot, node));
                      });
}

Result<Node> Catalogue::Link(Ino ino, Ino parent, std::string_view name) {
  return impl_->Write(Record(Operation::kLink, ino, parent, name),
                      [&](Session& session) -> Result<Node> {
                        BOOST_OUTCOME_TRYA(spot, SpotFor(session, parent, name));
                        BOOST_OUTCOME_TRYA(node, NodeOf(session, ino));
                        if (node.kind == Kind::kFolder) return Errno(EPERM);
                        if (node.nlink == 0) return Errno(ENOENT);
                        if (IsShown(session, spot)) return Errno(EEXIST);
                        const InodeBrief inode = session.tables().Brief(ino);
                        if (!inode.pending) session.PublishRemovalsAt(spot);
                        PlaceRow place;
                        place.link = session.tables().LinkOf(session.NewId<LinkId>());
                        place.ino = ino;
                        place.spot = spot;
                        place.stamp = session.Now();
                        place.dot = DotFor(session, inode);
                        session.Merge(place);
                        return NodeOf(session, ino);
                      });
}

Result<Removed> Catalogue::Unlink(Ino parent, std::string_view name) {
  return impl_->WriteToFree(Record(Operation::kUnlink, parent, name),
                            [&](Session& session) -> Result<Removed> {
                              BOOST_OUTCOME_TRYA(spot, SpotFor(session, parent, name));
                              const AtName at = LinksAtName(session, spot);
                              if (!at.shown) return Errno(ENOENT);
                              const InodeBrief inode = session.tables().Brief(at.shown->ino);
                              if (inode.kind == Kind::kFolder) return Errno(EISDIR);
                              return RemoveName(session, at, inode);
                            });
}

Result<Removed> Catalogue::RemoveFolder(Ino parent, std::string_view name) {
  return impl_->WriteToFree(Record(Operation::kRemoveFolder, parent, name),
                            [&](Session& session) -> Result<Removed> {
                              BOOST_OUTCOME_TRYA(spot, SpotFor(session, parent, name));
                              const AtName at = LinksAtName(session, spot);
                              if (!at.shown) return Errno(ENOENT);
                              const InodeBrief inode = session.tables().Brief(at.shown->ino);
                              if (inode.kind != Kind::kFolder) return Errno(ENOTDIR);
                              if (!IsEmpty(session, inode.ino)) return Errno(ENOTEMPTY);
                              session.PublishRemovalsIn(inode.ino);
                              return RemoveName(session, at, inode);
                            });
}

Result<void> Catalogue::Forget(Ino ino) {
  // Of most files there is nothing to forget, and nothing to be written down.
  BOOST_OUTCOME_TRYA(waits, impl_->Read([&](Reader& reader) -> Result<bool> {
    auto find = reader.db().Prepare(
        "SELECT 1 FROM inode WHERE ino = ?1 AND nlink = 0 AND live_links = 0 "
        "AND (pending = 1 OR EXISTS (SELECT 1 FROM dirty WHERE ino = ?1))");
    find << ino;
    return find.Step();
  }));
  if (!waits) return Ok();
  return impl_->WriteToFree(Record(Operation::kForget, ino), [&](Session& session) -> Result<void> {
    auto find = session.tables().db().Prepare(
        "SELECT pending FROM inode WHERE ino = ? AND nlink = 0 AND live_links = 0");
    find << ino;
    if (!find.Step()) return Ok();
    if (find.Int(0) != 0) {
      session.DropPending(ino);
      return Ok();
    }
    auto drop = session.tables().db().Prepare("DELETE FROM dirty WHERE ino = ?");
    drop << ino;
    drop.Run();
    return Ok();
  });
}

}  // namespace btfc::index
