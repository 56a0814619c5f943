// What every operation of the kernel does. One file for each family: op_*.cc.
#pragma once

#include <sys/stat.h>

#include <atomic>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "fs/aside.h"
#include "fs/files.h"
#include "fs/folder_rules.h"
#include "fs/invalidator.h"
#include "fs/mount.h"
#include "fs/node_table.h"
#include "fs/open_files.h"
#include "fs/owner_map.h"
#include "fs/request.h"
#include "fs/session.h"
#include "fs/version_tree.h"
#include "index/catalogue.h"

namespace btfc::fs {

// The handlers run on the session's workers, several at once; none waits for a peer. No lock of
// this layer is held across a call of Catalogue or Files, or a reply.
class Filesystem {
 public:
  Filesystem(index::Catalogue& catalogue, Files& files, const MountOptions& options);

  // Names and attributes.
  void Lookup(Request request, NodeId parent, const char* name);
  void Forget(NodeId node, std::uint64_t count);
  void GetAttributes(Request request, NodeId node);
  void SetAttributes(Request request, NodeId node, const struct stat* wish, int to_set,
                     const fuse_file_info* info);
  void ReadLink(Request request, NodeId node);
  void Statfs(Request request, NodeId node);

  // The namespace.
  void MakeNode(Request request, NodeId parent, const char* name, mode_t mode, dev_t rdev);
  void MakeFolder(Request request, NodeId parent, const char* name, mode_t mode);
  void Symlink(Request request, const char* target, NodeId parent, const char* name);
  void Link(Request request, NodeId node, NodeId parent, const char* name);
  void Unlink(Request request, NodeId parent, const char* name);
  void RemoveFolder(Request request, NodeId parent, const char* name);
  void Rename(Request request, NodeId parent, const char* name, NodeId new_parent,
              const char* new_name, unsigned flags);

  // Files.
  void Create(Request request, NodeId parent, const char* name, mode_t mode,
              const fuse_file_info* info);
  void Open(Request request, NodeId node, const fuse_file_info* info);
  void Read(Request request, NodeId node, std::size_t size, off_t offset,
            const fuse_file_info* info);
  void Write(Request request, NodeId node, const char* bytes, std::size_t size, off_t offset,
             const fuse_file_info* info);
  void Flush(Request request, NodeId node, const fuse_file_info* info);
  void Release(Request request, NodeId node, const fuse_file_info* info);
  void Fsync(Request request, NodeId node, int data_only, const fuse_file_info* info);
  void Allocate(Request request, NodeId node, int mode, off_t offset, off_t length,
                const fuse_file_info* info);
  void Seek(Request request, NodeId node, off_t offset, int whence, const fuse_file_info* info);
  void CopyRange(Request request, NodeId in, off_t in_offset, const fuse_file_info* in_info,
                 NodeId out, off_t out_offset, const fuse_file_info* out_info, std::size_t length,
                 int flags);

  // Folders.
  void OpenFolder(Request request, NodeId node, const fuse_file_info* info);
  void ReadFolder(Request request, NodeId node, std::size_t size, off_t offset,
                  const fuse_file_info* info);
  void ReadFolderPlus(Request request, NodeId node, std::size_t size, off_t offset,
                      const fuse_file_info* info);
  void FsyncFolder(Request request, NodeId node, int data_only, const fuse_file_info* info);

  // Extended attributes.
  void SetXattr(Request request, NodeId node, const char* name, const char* value, std::size_t size,
                int flags);
  void GetXattr(Request request, NodeId node, const char* name, std::size_t size);
  void ListXattrs(Request request, NodeId node, std::size_t size);
  void RemoveXattr(Request request, NodeId node, const char* name);

  // Around the session. INIT was answered: no request comes before.
  void Agreed(const InitShim& shim, int device, bool passthrough);
  void StopNotifying() { invalidator_.Stop(); }
  void WaitNotified() { invalidator_.WaitSent(); }
  void Changed(const std::vector<index::Change>& changes);
  // A file's attributes moved without the kernel's knowing.
  void TimesMoved(index::Ino ino);
  // The kernel has gone: what it held is dropped.
  void Unmounted();

 private:
  // A new inode's owner, mode and ACLs, by the rules of its folder and the caller's umask.
  Result<index::NewNode> Inherit(const Request& request, index::Ino parent, index::Kind kind,
                                 mode_t mode);
  // The inode of a node; nothing (and an answered request) if the kernel made it up, or if it is
  // one of .btfc/, where nothing can be changed.
  std::optional<index::Ino> InoOf(Request& request, NodeId node);
  void LookupNode(Request request, NodeId node, index::Ino ino);

  // An inode, with the working file's figures if it is being written here. `commits` was
  // Files::Commits before the catalogue was asked for `inode`.
  struct Seen {
    index::Node inode;
    std::optional<LiveStat> live;
  };
  Seen Complete(std::uint64_t commits, index::Node inode);
  // Everything that stat shows of what the kernel knows as `node`.
  struct stat StatOf(const Seen& seen, NodeId node);
  fuse_entry_param EntryOf(const Seen& seen, NodeId node);
  // Answers an entry and counts the kernel's reference.
  void ReplyEntry(Request request, const Seen& seen);
  void ReplyAttributes(Request request, NodeId node, index::Ino ino);
  void ReplyOpen(Request request, NodeId node, int flags, const Opened& opened);
  void ReplyCreate(Request request, const Seen& seen, int flags, const Opened& opened,
                   std::uint64_t epoch);

  void OpenNow(Request request, NodeId node, index::Ino ino, int flags);
  void ListInto(Request request, NodeId node, std::size_t size, off_t offset, bool plus);
  // As many as there is room for.
  class Listing;
  Result<void> AddNames(Listing& listing, index::Ino folder, std::uint64_t cookie);
  Result<void> AddEntries(Listing& listing, index::Ino folder, std::uint64_t cookie,
                          std::vector<NodeId>* referenced);
  // The rest of SetAttributes, after the size was set.
  void ApplyAttributes(Request request, NodeId node, index::Ino ino, const struct stat& wish,
                       int to_set, bool strip);
  Result<void> ApplyTimes(index::Ino ino, index::Kind kind, const struct stat& wish, int to_set,
                          index::AttributeChange* change);
  Result<void> ApplyMode(index::Ino ino, mode_t mode, index::AttributeChange* change);
  // Takes set-user-id, set-group-id and file capabilities away, as a write does.
  Result<void> StripPrivileges(const Request& request, index::Ino ino);
  Result<void> StripCapabilities(index::Ino ino);
  Result<void> StripForWrite(const Request& request, NodeId node, bool set_id_too);
  Result<void> SetAcl(index::Ino ino, bool access, std::string_view value, bool kill_set_group_id);
  static void ReplyXattr(Request request, std::string_view value, std::size_t size);
  Result<std::string> XattrValue(index::Ino ino, std::string_view name);
  // After an operation took a name from an inode.
  void NameRemoved(const index::Removed& removed);
  void Drop(index::Ino ino);
  // A file got this mode: writers have to ask again whether there is something to strip.
  void NotePrivileges(std::uint32_t mode) {
    if ((mode & (S_ISUID | S_ISGID)) != 0) ++privilege_epoch_;
  }
  std::optional<bool> ChangeContent(index::Ino ino);
  void NoticeContent(index::Ino ino, bool superseded, std::vector<Invalidator::Notice>* notices);
  void NoticeNameless(index::Ino ino);

  static void Interrupted(fuse_req_t request, void* ticket);

  index::Catalogue& catalogue_;
  Files& files_;
  const bool read_only_;
  const std::filesystem::path cache_;
  // Constant after Agreed.
  bool setxattr_extended_ = false;  // the kernel sends the long form
  bool passthrough_ = false;
  FolderRules folder_rules_;
  OwnerMap owners_;
  VersionTree versions_;
  NodeTable nodes_;
  OpenFiles open_files_;
  Invalidator invalidator_;
  // Raised whenever some inode may have got a set-id bit or file capabilities.
  std::atomic<std::uint64_t> privilege_epoch_{1};
  Aside aside_;  // last: its threads use the others
};

// The table for libfuse; `user` of the session is the Filesystem.
const fuse_lowlevel_ops& Operations();

}  // namespace btfc::fs
