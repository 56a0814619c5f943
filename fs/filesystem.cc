#include "fs/filesystem.h"

#include <spdlog/spdlog.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <unordered_set>

#include "fs/attributes.h"

namespace btfc::fs {
namespace {

constexpr std::size_t kAsideThreads = 4;

}  // namespace

Filesystem::Filesystem(index::Catalogue& catalogue, Files& files, const MountOptions& options)
    : catalogue_(catalogue),
      files_(files),
      read_only_(options.read_only),
      cache_(options.cache),
      folder_rules_(catalogue),
      owners_(options.owner, {::getuid(), ::getgid()}),
      versions_(catalogue, files, owners_),
      aside_(kAsideThreads) {
  nodes_.Reference(index::kRootIno);  // the kernel holds it without having looked it up
}

void Filesystem::Agreed(const InitShim& shim, int device, bool passthrough) {
  passthrough_ = passthrough;
  setxattr_extended_ = (shim.flags() & kInitSetxattrExt) != 0;
  invalidator_.Start(device);
}

std::optional<index::Ino> Filesystem::InoOf(Request& request, NodeId node) {
  if (VersionTree::Owns(node)) {
    request.Error(EROFS);
    return std::nullopt;
  }
  const index::Ino ino = nodes_.InoOf(node);
  if (ino != 0) return ino;
  request.Error(ESTALE);
  return std::nullopt;
}

Filesystem::Seen Filesystem::Complete(std::uint64_t commits, index::Node inode) {
  Seen seen{std::move(inode), std::nullopt};
  while (seen.inode.kind == index::Kind::kFile) {
    seen.live = files_.Stat(seen.inode.ino);
    if (seen.live || files_.Commits() == commits) break;
    // The working file may have become a version after the catalogue was asked.
    commits = files_.Commits();
    auto again = catalogue_.Get(seen.inode.ino);
    if (!again) break;
    seen.inode = std::move(again.value());
  }
  return seen;
}

struct stat Filesystem::StatOf(const Seen& seen, NodeId node) {
  std::optional<LiveStat> live = seen.live;
  if (seen.inode.kind == index::Kind::kFile && nodes_.Superseded(node)) {
    // The catalogue has the newer content's figures; those who hold the old one keep its own.
    const auto handle = open_files_.AnyOf(node);
    live = handle ? files_.StatOfOpen(*handle) : std::nullopt;
  }
  auto stat = MakeStat(seen.inode, live, node, owners_.ToLocal(seen.inode.owner));
  if (!live && seen.inode.kind == index::Kind::kFile) {
    if (const auto blocks = files_.BlocksOf(seen.inode.content)) {
      stat.st_blocks = static_cast<blkcnt_t>(*blocks);
    }
  }
  return stat;
}

fuse_entry_param Filesystem::EntryOf(const Seen& seen, NodeId node) {
  fuse_entry_param entry{};
  entry.ino = node;
  entry.attr = StatOf(seen, node);
  entry.attr_timeout = kCacheTimeout_s;
  entry.entry_timeout = kCacheTimeout_s;
  return entry;
}

void Filesystem::ReplyEntry(Request request, const Seen& seen) {
  const NodeId node = nodes_.Reference(seen.inode.ino);
  if (!request.Entry(EntryOf(seen, node))) Forget(node, 1);
}

void Filesystem::ReplyAttributes(Request request, NodeId node, index::Ino ino) {
  const std::uint64_t commits = files_.Commits();
  const auto inode = catalogue_.Get(ino);
  if (!inode) return request.Error(inode.error());
  request.Attributes(StatOf(Complete(commits, inode.value()), node), kCacheTimeout_s);
}

void Filesystem::NameRemoved(const index::Removed& removed) {
  if (removed.nlink > 0) return;
  if (removed.kind == index::Kind::kFile) files_.Unlinked(removed.ino);
  if (!nodes_.SetNameless(removed.ino, true)) Drop(removed.ino);
}

void Filesystem::Drop(index::Ino ino) { files_.Forgotten(ino); }

void Filesystem::Forget(NodeId node, std::uint64_t count) {
  if (VersionTree::Owns(node)) return versions_.Forget(node, count);
  const auto forgotten = nodes_.Forget(node, count);
  if (forgotten && forgotten->nameless) Drop(forgotten->ino);
}

void Filesystem::Unmounted() {
  aside_.Stop();
  for (const index::Ino ino : nodes_.Clear()) Drop(ino);
}

void Filesystem::Interrupted(fuse_req_t request, void* ticket) {
  Session::User<Filesystem>(request)->files_.Cancel(
      reinterpret_cast<Files::Ticket>(ticket));  // NOLINT: it is a number
}

void Filesystem::TimesMoved(index::Ino ino) {
  const NodeId node = nodes_.Current(ino);
  if (nodes_.Knows(node)) {
    invalidator_.Queue({{Invalidator::Notice::What::kAttributes, node, {}}},
                       Invalidator::Repeat::kNo);
  }
}

void Filesystem::NoticeContent(index::Ino ino, bool superseded,
                               std::vector<Invalidator::Notice>* notices) {
  using What = Invalidator::Notice::What;
  if (!superseded) {
    const NodeId node = nodes_.Current(ino);
    if (nodes_.Knows(node)) notices->push_back({What::kContent, node, {}});
    return;
  }
  if (!nodes_.Supersede(ino)) return;
  const auto links = catalogue_.LinksOf(ino);
  if (!links) {
    spdlog::warn("the names of inode {} cannot be read: {}", ino, links.error().message());
    return;
  }
  for (const auto& link : links.value()) {
    notices->push_back({What::kEntry, nodes_.Current(link.parent), link.name});
  }
}

// Nothing while the file is busy: the kernel is told afterwards.
std::optional<bool> Filesystem::ChangeContent(index::Ino ino) {
  return files_.ContentChanged(ino, [this, ino](bool superseded) {
    std::vector<Invalidator::Notice> notices;
    NoticeContent(ino, superseded, &notices);
    invalidator_.Queue(std::move(notices));
  });
}

void Filesystem::NoticeNameless(index::Ino ino) {
  const auto inode = catalogue_.Get(ino);
  if (inode) nodes_.SetNameless(ino, inode.value().nlink == 0);
}

void Filesystem::Changed(const std::vector<index::Change>& changes) {
  using What = Invalidator::Notice::What;
  ++privilege_epoch_;
  folder_rules_.Changed();
  std::vector<Invalidator::Notice> notices;
  std::unordered_set<NodeId> folders;
  std::unordered_set<index::Ino> inodes;
  for (const index::Change& change : changes) {
    switch (change.what) {
      case index::Change::What::kEntry: {
        const NodeId parent = nodes_.Current(change.parent);
        if (!nodes_.Knows(parent)) break;
        folders.insert(parent);
        notices.push_back({What::kEntry, parent, change.name});
        if (change.ino != 0) inodes.insert(change.ino);
        break;
      }
      case index::Change::What::kAttributes:
        inodes.insert(change.ino);
        break;
      case index::Change::What::kContent:
        if (const auto superseded = ChangeContent(change.ino)) {
          NoticeContent(change.ino, *superseded, &notices);
        }
        break;
      case index::Change::What::kWanted:
      case index::Change::What::kUnwanted:
        break;
    }
  }
  for (const NodeId folder : folders) notices.push_back({What::kFolder, folder, {}});
  for (const index::Ino ino : inodes) {
    const NodeId node = nodes_.Current(ino);
    if (!nodes_.Knows(node)) continue;
    notices.push_back({What::kAttributes, node, {}});
    NoticeNameless(ino);
  }
  invalidator_.Queue(std::move(notices));
}

}  // namespace btfc::fs
