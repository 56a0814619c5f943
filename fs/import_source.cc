#include "fs/import_source.h"

#include <dirent.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cerrno>
#include <memory>

#include "fs/attributes.h"

namespace btfc::fs {
namespace {

constexpr char kAclAccess[] = "system.posix_acl_access";
constexpr char kAclDefault[] = "system.posix_acl_default";

bool HasNoXattrs(int error) { return error == ENOTSUP || error == ENODATA; }

Result<std::string> XattrOf(int fd, const char* name) {
  for (;;) {
    const auto size = ::fgetxattr(fd, name, nullptr, 0);
    if (size < 0) return LastError();
    std::string value(static_cast<std::size_t>(size), '\0');
    const auto got = ::fgetxattr(fd, name, value.data(), value.size());
    if (got < 0 && errno == ERANGE) continue;  // it grew meanwhile
    if (got < 0) return LastError();
    value.resize(static_cast<std::size_t>(got));
    return value;
  }
}

Result<std::vector<std::string>> XattrNamesOf(int fd) {
  std::string list;
  for (;;) {
    const auto size = ::flistxattr(fd, nullptr, 0);
    if (size < 0 && HasNoXattrs(errno)) return std::vector<std::string>();
    if (size < 0) return LastError();
    list.resize(static_cast<std::size_t>(size));
    const auto got = ::flistxattr(fd, list.data(), list.size());
    if (got < 0 && errno == ERANGE) continue;
    if (got < 0) return LastError();
    list.resize(static_cast<std::size_t>(got));
    break;
  }
  std::vector<std::string> names;
  for (std::size_t at = 0; at < list.size();) {
    const auto end = list.find('\0', at);
    names.push_back(list.substr(at, end - at));
    at = end == std::string::npos ? list.size() : end + 1;
  }
  return names;
}

Result<void> AddXattrs(FoundFile& found, bool system_xattrs) {
  BOOST_OUTCOME_TRYA(names, XattrNamesOf(found.fd.get()));
  for (const auto& name : names) {
    const bool is_user = name.starts_with("user.");
    const bool is_system = name.starts_with("security.") || name.starts_with("trusted.");
    const bool is_acl = name == kAclAccess || name == kAclDefault;
    if (!is_user && !is_acl && !(is_system && system_xattrs)) continue;
    auto value = XattrOf(found.fd.get(), name.c_str());
    if (!value && HasNoXattrs(value.error().value())) continue;
    if (!value) return value.error();
    if (name == kAclAccess) {
      found.node.acl_access = std::move(value.value());
    } else if (name == kAclDefault) {
      found.node.acl_default = std::move(value.value());
    } else {
      found.xattrs.emplace_back(name, std::move(value.value()));
    }
  }
  return Ok();
}

Result<std::string> TargetOf(int folder, const std::string& name) {
  std::string target(4096, '\0');
  const auto size = ::readlinkat(folder, name.c_str(), target.data(), target.size());
  if (size < 0) return LastError();
  target.resize(static_cast<std::size_t>(size));
  return target;
}

}  // namespace

Result<std::vector<std::string>> NamesIn(int folder) {
  // A description of its own: the caller's may have been read already.
  Fd again(::openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!again) return LastError();
  const std::unique_ptr<DIR, int (*)(DIR*)> stream(::fdopendir(again.get()), ::closedir);
  if (!stream) return LastError();
  again.Release();
  std::vector<std::string> names;
  for (;;) {
    errno = 0;
    const dirent* entry = ::readdir(stream.get());
    if (entry == nullptr) break;
    const std::string name = entry->d_name;
    if (name != "." && name != "..") names.push_back(name);
  }
  if (errno != 0) return LastError();
  return names;
}

Result<FoundFile> LookAt(int folder, const std::string& name, OwnerMap& owners,
                         bool system_xattrs) {
  FoundFile found;
  found.name = name;
  if (::fstatat(folder, name.c_str(), &found.stat, AT_SYMLINK_NOFOLLOW) != 0) return LastError();
  if (S_ISREG(found.stat.st_mode) || S_ISDIR(found.stat.st_mode)) {
    // What was a file a moment ago may be a pipe now: O_NONBLOCK.
    found.fd = Fd(
        ::openat(folder, name.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC));
    if (!found.fd) return LastError();
    const auto kind = found.stat.st_mode & S_IFMT;
    BOOST_OUTCOME_TRYA(now, StatOf(found.fd.get()));
    found.stat = now;
    if ((found.stat.st_mode & S_IFMT) != kind) return Errno(EAGAIN);
  }
  BOOST_OUTCOME_TRYA(kind, KindOf(found.stat.st_mode));
  found.node.kind = kind;
  found.node.mode = found.stat.st_mode & 07777;
  found.node.owner = owners.FromLocal({found.stat.st_uid, found.stat.st_gid});
  found.node.rdev = found.stat.st_rdev;
  if (kind == index::Kind::kSymlink) {
    BOOST_OUTCOME_TRYA(target, TargetOf(folder, name));
    found.node.target = target;
  }
  if (found.fd) {
    BOOST_OUTCOME_TRYV(AddXattrs(found, system_xattrs));
  }
  return found;
}

}  // namespace btfc::fs
