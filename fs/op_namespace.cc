// Operations that make, remove and move names.
#include <cerrno>
#include <cstring>

#include "fs/acl.h"
#include "fs/attributes.h"
#include "fs/filesystem.h"
#include "index/fault_point.h"

namespace btfc::fs {

// As ext4 and the VFS do it: a set-group-id folder hands on its group, and to folders the bit; a
// default ACL stands in for the umask.
Result<index::NewNode> Filesystem::Inherit(const Request& request, index::Ino parent,
                                           index::Kind kind, mode_t mode) {
  BTFC_TRY(rules, folder_rules_.Of(parent));
  const FolderRules::Rules& folder = *rules;
  index::NewNode node;
  node.kind = kind;
  node.mode = mode & 07777U;
  node.owner = owners_.FromLocal({request.uid(), request.gid()});
  if ((folder.mode & S_ISGID) != 0) {
    node.owner.gid = folder.owner.gid;
    node.owner.group = folder.owner.group;
    node.owner.mounter_group = folder.owner.mounter_group;
    if (kind == index::Kind::kFolder) node.mode |= S_ISGID;
  }
  if (kind == index::Kind::kSymlink) return node;
  if (folder.acl_default.empty()) {
    node.mode &= ~request.umask();
    return node;
  }
  BTFC_TRY(acl, Acl::Parse(folder.acl_default));
  node.mode = (node.mode & ~0777U) | acl.Inherit(node.mode & 0777U);
  if (!acl.EqualsMode()) node.acl_access = acl.Format();
  if (kind == index::Kind::kFolder) node.acl_default = folder.acl_default;
  return node;
}

void Filesystem::MakeNode(Request request, NodeId parent, const char* name, mode_t mode,
                          dev_t rdev) {
  const auto folder = InoOf(request, parent);
  if (!folder) return;
  const auto kind = KindOf(mode);
  if (!kind) return request.Error(kind.error());
  auto node = Inherit(request, *folder, kind.value(), mode);
  if (!node) return request.Error(node.error());
  node.value().rdev = rdev;
  const std::uint64_t commits = files_.Commits();
  const auto made = catalogue_.Make(*folder, name, node.value());
  if (!made) return request.Error(made.error());
  NotePrivileges(made.value().mode);
  if (kind.value() == index::Kind::kFile) {
    // Nobody may ever open it: a writer that closes at once gives it its first, empty content.
    const auto opened = files_.Create(made.value().ino, O_WRONLY);
    if (!opened) return request.Error(opened.error());
    const auto flushed = files_.Flush(opened.value().handle);
    files_.Release(opened.value().handle);
    if (!flushed) return request.Error(flushed.error());
  }
  ReplyEntry(std::move(request), Complete(commits, made.value()));
}

void Filesystem::MakeFolder(Request request, NodeId parent, const char* name, mode_t mode) {
  const auto folder = InoOf(request, parent);
  if (!folder) return;
  const auto node = Inherit(request, *folder, index::Kind::kFolder, mode);
  if (!node) return request.Error(node.error());
  const auto made = catalogue_.Make(*folder, name, node.value());
  if (!made) return request.Error(made.error());
  ReplyEntry(std::move(request), {made.value(), std::nullopt});
}

void Filesystem::Symlink(Request request, const char* target, NodeId parent, const char* name) {
  const auto folder = InoOf(request, parent);
  if (!folder) return;
  auto node = Inherit(request, *folder, index::Kind::kSymlink, 0777);
  if (!node) return request.Error(node.error());
  node.value().target = target;
  const auto made = catalogue_.Make(*folder, name, node.value());
  if (!made) return request.Error(made.error());
  ReplyEntry(std::move(request), {made.value(), std::nullopt});
}

void Filesystem::Link(Request request, NodeId node, NodeId parent, const char* name) {
  const auto ino = InoOf(request, node);
  if (!ino) return;
  const auto folder = InoOf(request, parent);
  if (!folder) return;
  // The name would lead to the newer content, not to what the caller holds.
  if (nodes_.Superseded(node)) return request.Error(ESTALE);
  const std::uint64_t commits = files_.Commits();
  const auto linked = catalogue_.Link(*ino, *folder, name);
  if (!linked) return request.Error(linked.error());
  nodes_.SetNameless(*ino, false);
  ReplyEntry(std::move(request), Complete(commits, linked.value()));
}

void Filesystem::Unlink(Request request, NodeId parent, const char* name) {
  const auto folder = InoOf(request, parent);
  if (!folder) return;
  const auto removed = catalogue_.Unlink(*folder, name);
  if (!removed) return request.Error(removed.error());
  fault::Pass("unlink.done");
  NameRemoved(removed.value());
  request.Done();
}

void Filesystem::RemoveFolder(Request request, NodeId parent, const char* name) {
  const auto folder = InoOf(request, parent);
  if (!folder) return;
  const auto removed = catalogue_.RemoveFolder(*folder, name);
  if (!removed) return request.Error(removed.error());
  NameRemoved(removed.value());
  request.Done();
}

void Filesystem::Rename(Request request, NodeId parent, const char* name, NodeId new_parent,
                        const char* new_name, unsigned flags) {
  const auto from = InoOf(request, parent);
  if (!from) return;
  const auto to = InoOf(request, new_parent);
  if (!to) return;
  constexpr unsigned kKnown = index::kNoReplace | index::kExchange | index::kWhiteout;
  const bool contradictory =
      (flags & index::kExchange) != 0 && (flags & (index::kNoReplace | index::kWhiteout)) != 0;
  if ((flags & ~kKnown) != 0 || contradictory) return request.Error(EINVAL);
  // The kernel takes it for an empty folder that may be replaced.
  if (new_parent == index::kRootIno && new_name == VersionTree::kTopName) {
    return request.Error(EBUSY);
  }
  const auto replaced = catalogue_.Rename(*from, name, *to, new_name, flags);
  if (!replaced) return request.Error(replaced.error());
  fault::Pass("rename.done");
  if (replaced.value()) NameRemoved(*replaced.value());
  if ((flags & index::kWhiteout) != 0) {
    const auto whiteout = catalogue_.Lookup(*from, name);
    if (whiteout) {
      index::AttributeChange change;
      change.owner = owners_.FromLocal({request.uid(), request.gid()});
      const auto owned = catalogue_.SetAttributes(whiteout.value().ino, change);
      if (!owned) return request.Error(owned.error());
    }
  }
  request.Done();
}

}  // namespace btfc::fs
