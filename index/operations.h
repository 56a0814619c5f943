// What several local operations have in common. Inside a write transaction.
#pragma once

#include <string_view>

#include "index/catalogue.h"
#include "index/session.h"

namespace btfc::index {

inline constexpr std::size_t kTargetMax = 4095;       // bytes of a symlink's target
inline constexpr std::size_t kAclMax = 32 * 1024;     // bytes
inline constexpr std::size_t kXattrValueMax = 65536;  // bytes, as the kernel's limit
inline constexpr std::size_t kOwnerNameMax = 256;     // bytes

// The folder that a caller means by this number: it may have merged into another one since.
// ENOENT, ENOTDIR.
Result<Ino> FolderFor(Session& session, Ino folder);
// The link that a name shows; ENOENT.
Result<Link> ShownLink(Session& session, const Slot& spot);
struct AtName {
  std::optional<Link> shown;
  bool others = false;  // that are not shown
};
AtName LinksAtName(Session& session, const Slot& spot);
bool IsShown(Session& session, const Slot& spot);
Result<Node> NodeOf(Session& session, Ino ino);
// Or it waits for its first content.
bool IsBeingWritten(Session& session, Ino ino);
// The mtime that somebody set, from now on.
void WriteMtime(Session& session, Ino ino, std::int64_t mtime_ns);
// A name goes, with its link. See Session::Unlink.
Removed RemoveName(Session& session, const AtName& name, const InodeBrief& inode, Ino waiting = 0);
// A dot for a row of this inode, none while it waits for its first content.
Dot DotFor(Session& session, const InodeBrief& inode);
Result<void> CheckAttributes(const AttributesRow& row);
// A new inode at a free name, without further checks.
Ino MakeAt(Session& session, const Slot& spot, const NewNode& node);

}  // namespace btfc::index
