// Extended attributes, and the ACLs that travel as such.
#include <linux/fuse.h>
#include <sys/xattr.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "fs/acl.h"
#include "fs/attributes.h"
#include "fs/filesystem.h"
#include "fs/init_shim.h"

namespace btfc::fs {
namespace {

constexpr std::string_view kAccess = "system.posix_acl_access";
constexpr std::string_view kDefault = "system.posix_acl_default";
constexpr std::string_view kTrusted = "trusted.";
constexpr std::string_view kLabel = "security.selinux";
// Of the root only, and not listed: `btfc` finds the daemon's socket by it.
constexpr std::string_view kCacheFolder = "user.btfc.cache";

// Of fuse_setxattr_in::setxattr_flags.
constexpr std::uint32_t kKillSetGroupId = 1;

constexpr std::string_view kFamilies[] = {"user.", "security.", kTrusted};

bool Supported(std::string_view name) {
  return std::ranges::any_of(kFamilies, [&](auto family) { return name.starts_with(family); });
}
bool IsFamily(std::string_view name) {
  return std::ranges::find(kFamilies, name) != std::end(kFamilies);
}

// SETXATTR as the kernel sent it. What libfuse hands on is right only if libfuse itself asked for
// the long form of the request, and it has no room for setxattr_flags.
struct SetXattrRequest {
  std::string_view name;
  std::string_view value;
  std::uint32_t extra_flags = 0;
};

std::optional<SetXattrRequest> ParseSetXattr() {
  const auto* in = InitShim::CurrentArgument<fuse_setxattr_in>();
  if (in == nullptr) return std::nullopt;
  const auto* begin = reinterpret_cast<const char*>(in + 1);                     // NOLINT
  const auto* end = reinterpret_cast<const char*>(InitShim::CurrentRequest()) +  // NOLINT
                    InitShim::CurrentSize();
  const std::string_view rest(begin, static_cast<std::size_t>(end - begin));
  const std::size_t zero = rest.find('\0');
  if (zero == std::string_view::npos || rest.size() - zero - 1 < in->size) return std::nullopt;
  return SetXattrRequest{rest.substr(0, zero), rest.substr(zero + 1, in->size), in->setxattr_flags};
}

}  // namespace

void Filesystem::SetXattr(Request request, NodeId node, const char* name, const char* value,
                          std::size_t size, int flags) {
  const auto ino = InoOf(request, node);
  if (!ino) return;
  SetXattrRequest parsed{name, {value, size}, 0};
  if (setxattr_extended_) {
    const auto raw = ParseSetXattr();
    if (!raw) return request.Error(EINVAL);
    parsed = *raw;
  }
  const auto& [key, bytes, extra_flags] = parsed;
  if (bytes.size() > XATTR_SIZE_MAX) return request.Error(E2BIG);
  if (IsFamily(key)) return request.Error(EINVAL);  // no name behind the dot
  Result<void> set = Ok();
  if (key == kAccess || key == kDefault) {
    set = SetAcl(*ino, key == kAccess, bytes, (extra_flags & kKillSetGroupId) != 0);
  } else if (Supported(key)) {
    set = catalogue_.SetXattr(*ino, key, bytes, flags);
    if (key.starts_with("security.")) ++privilege_epoch_;
  } else {
    set = Errno(EOPNOTSUPP);
  }
  request.Error(set ? 0 : ToErrno(set.error()));
}

// An empty value takes the ACL away.
Result<void> Filesystem::SetAcl(index::Ino ino, bool access, std::string_view value,
                                bool kill_set_group_id) {
  BTFC_TRY(inode, catalogue_.Get(ino));
  index::AttributeChange change;
  if (!access) {
    if (inode.kind != index::Kind::kFolder) {
      if (value.empty()) return Ok();
      return Errno(EACCES);
    }
    if (!value.empty()) {
      BTFC_TRY(acl, Acl::Parse(value));
      change.acl_default = acl.Format();
    } else {
      change.acl_default = std::string();
    }
  } else if (value.empty()) {
    change.acl_access = std::string();
  } else {
    BTFC_TRY(acl, Acl::Parse(value));
    change.mode = (inode.mode & ~0777U) | acl.Mode();
    if (kill_set_group_id) *change.mode &= ~static_cast<std::uint32_t>(S_ISGID);
    change.acl_access = acl.EqualsMode() ? std::string() : acl.Format();
  }
  const auto changed = catalogue_.SetAttributes(ino, change);
  if (!changed) return changed.error();
  if (inode.kind == index::Kind::kFolder) folder_rules_.Changed();
  return Ok();
}

Result<std::string> Filesystem::XattrValue(index::Ino ino, std::string_view name) {
  if (name == kAccess || name == kDefault) {
    BTFC_TRY(value, name == kAccess ? catalogue_.AclAccess(ino) : catalogue_.AclDefault(ino));
    if (value.empty()) return Errno(ENODATA);
    return value;
  }
  if (!Supported(name)) return Errno(EOPNOTSUPP);
  if (ino == index::kRootIno && name == kCacheFolder) return cache_.native();
  auto value = catalogue_.GetXattr(ino, name);
  // A kernel with SELinux asks nobody for labels. Without it `ls -l` asks for one of every file, of
  // which the kernel keeps nothing; but not again once it was told that there are none here.
  if (!value && name == kLabel && value.error() == Errno(ENODATA)) return Errno(EOPNOTSUPP);
  return value;
}

void Filesystem::GetXattr(Request request, NodeId node, const char* name, std::size_t size) {
  if (VersionTree::Owns(node)) return request.Error(ENODATA);
  const auto ino = InoOf(request, node);
  if (!ino) return;
  if (std::string_view(name) == kCapabilityXattr &&
      open_files_.Known(node, OpenFiles::Without::kCapabilities, privilege_epoch_)) {
    return request.Error(ENODATA);
  }
  const auto value = XattrValue(*ino, name);
  if (!value) return request.Error(value.error());
  ReplyXattr(std::move(request), value.value(), size);
}

void Filesystem::ListXattrs(Request request, NodeId node, std::size_t size) {
  if (VersionTree::Owns(node)) return ReplyXattr(std::move(request), {}, size);
  const auto ino = InoOf(request, node);
  if (!ino) return;
  const auto names = catalogue_.ListXattrs(*ino);
  if (!names) return request.Error(names.error());
  std::string list;
  const auto add = [&list](std::string_view name) {
    list += name;
    list += '\0';
  };
  for (const std::string_view acl : {kAccess, kDefault}) {
    const auto value = XattrValue(*ino, acl);
    if (value) add(acl);
  }
  for (const std::string& name : names.value()) {
    if (request.uid() == 0 || !name.starts_with(kTrusted)) add(name);
  }
  ReplyXattr(std::move(request), list, size);
}

void Filesystem::RemoveXattr(Request request, NodeId node, const char* name) {
  const auto ino = InoOf(request, node);
  if (!ino) return;
  const std::string_view key(name);
  Result<void> removed = Ok();
  if (key == kAccess || key == kDefault) {
    removed = SetAcl(*ino, key == kAccess, {}, false);
  } else if (Supported(key)) {
    removed = catalogue_.RemoveXattr(*ino, key);
  } else {
    removed = Errno(EOPNOTSUPP);
  }
  request.Error(removed ? 0 : ToErrno(removed.error()));
}

void Filesystem::ReplyXattr(Request request, std::string_view value, std::size_t size) {
  if (size == 0) return request.XattrSize(value.size());
  if (value.size() > size) return request.Error(ERANGE);
  request.Bytes(value);
}

}  // namespace btfc::fs
