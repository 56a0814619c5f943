// Lookups, references, symlink targets, figures of the filesystem.
#include <spdlog/spdlog.h>
#include <sys/statvfs.h>

#include <cerrno>
#include <cstring>

#include "fs/attributes.h"
#include "fs/filesystem.h"

namespace btfc::fs {

void Filesystem::Lookup(Request request, NodeId parent, const char* name) {
  if (VersionTree::Owns(parent)) return versions_.Lookup(std::move(request), parent, name);
  if (parent == index::kRootIno && name == VersionTree::kTopName) {
    return versions_.LookupTop(std::move(request));
  }
  const auto folder = InoOf(request, parent);
  if (!folder) return;
  if (std::strcmp(name, ".") == 0) return LookupNode(std::move(request), parent, *folder);
  if (std::strcmp(name, "..") == 0) {
    const auto above = catalogue_.Parent(*folder);
    if (!above) return request.Error(above.error());
    return LookupNode(std::move(request), nodes_.Current(above.value()), above.value());
  }
  if (std::strlen(name) > index::kNameMax) return request.Error(ENAMETOOLONG);
  const std::uint64_t commits = files_.Commits();
  const auto found = catalogue_.Lookup(*folder, name);
  if (found) return ReplyEntry(std::move(request), Complete(commits, found.value()));
  if (ToErrno(found.error()) != ENOENT) return request.Error(found.error());
  fuse_entry_param missing{};  // node 0: the kernel may remember that there is none
  missing.entry_timeout = kCacheTimeout_s;
  request.Entry(missing);
}

// What a file handle stands for (open_by_handle_at(2), NFS) when the kernel has forgotten the node:
// it looks up "." there, and ".." of folders (Linux, fs/fuse/inode.c, fuse_get_dentry).
void Filesystem::LookupNode(Request request, NodeId node, index::Ino ino) {
  // The inode has got another node since, and what the handle stood for is gone.
  if (nodes_.Current(ino) != node) return request.Error(ENOENT);
  const std::uint64_t commits = files_.Commits();
  const auto inode = catalogue_.Get(ino);
  if (!inode) return request.Error(inode.error());
  if (inode.value().nlink == 0) return request.Error(ENOENT);
  ReplyEntry(std::move(request), Complete(commits, inode.value()));
}

void Filesystem::ReadLink(Request request, NodeId node) {
  const auto ino = InoOf(request, node);
  if (!ino) return;
  const auto target = catalogue_.Target(*ino);
  if (!target) return request.Error(target.error());
  request.Link(target.value().c_str());
}

void Filesystem::Statfs(Request request, NodeId /*node*/) {
  struct statvfs figures {};
  if (::statvfs(cache_.c_str(), &figures) != 0) return request.Error(errno);
  figures.f_namemax = index::kNameMax;
  request.Statfs(figures);
}

}  // namespace btfc::fs
