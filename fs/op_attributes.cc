// stat and what changes it.
#include <linux/fuse.h>

#include <cerrno>
#include <chrono>

#include "fs/acl.h"
#include "fs/attributes.h"
#include "fs/filesystem.h"
#include "fs/init_shim.h"

namespace btfc::fs {
namespace {

// Of fuse_setattr_in::valid. libfuse masks it away.
constexpr std::uint32_t kKillSetId = 1U << 11U;

constexpr int kTimes =
    FUSE_SET_ATTR_ATIME | FUSE_SET_ATTR_MTIME | FUSE_SET_ATTR_ATIME_NOW | FUSE_SET_ATTR_MTIME_NOW;

constexpr int kHandled = FUSE_SET_ATTR_MODE | FUSE_SET_ATTR_UID | FUSE_SET_ATTR_GID |
                         FUSE_SET_ATTR_SIZE | FUSE_SET_ATTR_ATIME | FUSE_SET_ATTR_MTIME |
                         FUSE_SET_ATTR_ATIME_NOW | FUSE_SET_ATTR_MTIME_NOW;

std::int64_t Now_ns() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

std::optional<std::int64_t> TimeToSet(int to_set, int now_bit, int bit, const timespec& time) {
  if ((to_set & now_bit) != 0) return Now_ns();
  if ((to_set & bit) != 0) return FromTimespec(time);
  return std::nullopt;
}

}  // namespace

void Filesystem::GetAttributes(Request request, NodeId node) {
  if (VersionTree::Owns(node)) return versions_.GetAttributes(std::move(request), node);
  const auto ino = InoOf(request, node);
  if (ino) ReplyAttributes(std::move(request), node, *ino);
}

void Filesystem::SetAttributes(Request request, NodeId node, const struct stat* wish, int to_set,
                               const fuse_file_info* info) {
  const auto ino = InoOf(request, node);
  if (!ino) return;
  const auto* raw = InitShim::CurrentArgument<fuse_setattr_in>();
  const bool strip = (to_set & kHandled) == 0 || (raw != nullptr && (raw->valid & kKillSetId) != 0);
  if ((to_set & FUSE_SET_ATTR_SIZE) == 0) {
    if ((to_set & kTimes) != 0 && files_.Busy(*ino)) {
      // A large file may be copied for a writer just now: no worker waits for that.
      auto parked = std::make_shared<Request>(std::move(request));
      return aside_.Run([this, parked, node, ino = *ino, wish = *wish, to_set, strip] {
        ApplyAttributes(std::move(*parked), node, ino, wish, to_set, strip);
      });
    }
    return ApplyAttributes(std::move(request), node, *ino, *wish, to_set, strip);
  }
  // Whoever has the old content open for writing has it under its new node too, so this is
  // somebody who came by an old path.
  if (nodes_.Superseded(node)) return request.Error(ESTALE);
  const std::optional<Handle> handle =
      info != nullptr ? std::optional<Handle>(info->fh) : std::nullopt;
  const auto size = static_cast<std::uint64_t>(wish->st_size);
  const std::uint64_t commits = files_.Commits();
  auto inode = catalogue_.Get(*ino);
  if (!inode) return request.Error(inode.error());
  const Seen seen = Complete(commits, std::move(inode.value()));
  // POSIX lets the time move even if the size does not; Files takes no note of what changes
  // nothing.
  if ((seen.live ? seen.live->size : seen.inode.size) == size &&
      (to_set & FUSE_SET_ATTR_MTIME) == 0) {
    to_set |= FUSE_SET_ATTR_MTIME_NOW;
  }
  Parked<void>::Start(
      std::move(request),
      [this, node, ino = *ino, wish = *wish, to_set, strip](Request waiting, Result<void> result) {
        if (!result) return waiting.Error(result.error());
        ApplyAttributes(std::move(waiting), node, ino, wish, to_set, strip);
      },
      Interrupted,
      [&](Files::Done<void> done) { return files_.Truncate(*ino, handle, size, std::move(done)); });
}

void Filesystem::ApplyAttributes(Request request, NodeId node, index::Ino ino,
                                 const struct stat& wish, int to_set, bool strip) {
  const auto inode = catalogue_.Get(ino);
  if (!inode) return request.Error(inode.error());
  index::AttributeChange change;
  Result<void> applied = Ok();
  if (strip) applied = StripPrivileges(request, ino);
  if (applied && (to_set & FUSE_SET_ATTR_MODE) != 0)
    applied = ApplyMode(ino, wish.st_mode, &change);
  if ((to_set & (FUSE_SET_ATTR_UID | FUSE_SET_ATTR_GID)) != 0) {
    // What is not set keeps its name and flag, which may mean somebody on other hosts only.
    const index::Owner wanted = owners_.FromLocal({wish.st_uid, wish.st_gid});
    index::Owner owner = inode.value().owner;
    if ((to_set & FUSE_SET_ATTR_UID) != 0) {
      owner.uid = wanted.uid;
      owner.user = wanted.user;
      owner.mounter = wanted.mounter;
    }
    if ((to_set & FUSE_SET_ATTR_GID) != 0) {
      owner.gid = wanted.gid;
      owner.group = wanted.group;
      owner.mounter_group = wanted.mounter_group;
    }
    change.owner = owner;
  }
  if (applied) applied = ApplyTimes(ino, inode.value().kind, wish, to_set, &change);
  const bool anything =
      change.mode || change.owner || change.acl_access || change.mtime_ns || change.atime_ns;
  if (applied && anything) {
    const auto changed = catalogue_.SetAttributes(ino, change);
    if (!changed) applied = changed.error();
    if (change.mode) NotePrivileges(*change.mode);
    if (inode.value().kind == index::Kind::kFolder) folder_rules_.Changed();
  }
  if (!applied) return request.Error(applied.error());
  ReplyAttributes(std::move(request), node, ino);
}

Result<void> Filesystem::ApplyMode(index::Ino ino, mode_t mode, index::AttributeChange* change) {
  change->mode = mode & 07777U;
  BTFC_TRY(stored, catalogue_.AclAccess(ino));
  if (stored.empty()) return Ok();
  BTFC_TRY(acl, Acl::Parse(stored));
  acl.SetMode(mode);
  change->acl_access = acl.Format();
  return Ok();
}

Result<void> Filesystem::ApplyTimes(index::Ino ino, index::Kind kind, const struct stat& wish,
                                    int to_set, index::AttributeChange* change) {
  const auto atime_ns =
      TimeToSet(to_set, FUSE_SET_ATTR_ATIME_NOW, FUSE_SET_ATTR_ATIME, wish.st_atim);
  const auto mtime_ns =
      TimeToSet(to_set, FUSE_SET_ATTR_MTIME_NOW, FUSE_SET_ATTR_MTIME, wish.st_mtim);
  if (!atime_ns && !mtime_ns) return Ok();
  if (kind == index::Kind::kFile) {
    BTFC_TRY(taken, files_.SetTimes(ino, atime_ns, mtime_ns));
    // The working file has the time of the version to come; the other one is only the catalogue's.
    change->atime_ns = atime_ns;
    if (taken) return Ok();
  }
  change->atime_ns = atime_ns;
  change->mtime_ns = mtime_ns;
  return Ok();
}

// Set-group-id without the right to execute (once mandatory locking) goes as well, unless the
// caller, whom the kernel found to be no CAP_FSETID, belongs to the group.
Result<void> Filesystem::StripPrivileges(const Request& request, index::Ino ino) {
  BTFC_TRY(inode, catalogue_.Get(ino));
  if (inode.kind == index::Kind::kFolder) return Ok();
  std::uint32_t mode = inode.mode & ~static_cast<std::uint32_t>(S_ISUID);
  const bool set_group_id = (mode & S_ISGID) != 0;
  if (set_group_id &&
      ((mode & S_IXGRP) != 0 || !request.InGroup(owners_.ToLocal(inode.owner).gid))) {
    mode &= ~static_cast<std::uint32_t>(S_ISGID);
  }
  if (mode != inode.mode) {
    index::AttributeChange change;
    change.mode = mode;
    BOOST_OUTCOME_TRYV(catalogue_.SetAttributes(ino, change));
  }
  return StripCapabilities(ino);
}

Result<void> Filesystem::StripCapabilities(index::Ino ino) {
  if (!catalogue_.GetXattr(ino, kCapabilityXattr)) return Ok();
  return catalogue_.RemoveXattr(ino, kCapabilityXattr);
}

// Called for every write: asks the catalogue only after something changed.
Result<void> Filesystem::StripForWrite(const Request& request, NodeId node, bool set_id_too) {
  using Without = OpenFiles::Without;
  const Without what = set_id_too ? Without::kCapabilitiesAndSetId : Without::kCapabilities;
  const std::uint64_t epoch = privilege_epoch_;
  if (open_files_.Known(node, what, epoch)) return Ok();
  const index::Ino ino = nodes_.InoOf(node);
  if (set_id_too) {
    BOOST_OUTCOME_TRYV(StripPrivileges(request, ino));
    BTFC_TRY(left, catalogue_.Get(ino));
    if ((left.mode & S_ISGID) != 0) return Ok();  // another writer may be of another group
  } else {
    BOOST_OUTCOME_TRYV(StripCapabilities(ino));
  }
  open_files_.Remember(node, what, epoch);
  return Ok();
}

}  // namespace btfc::fs
