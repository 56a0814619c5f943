// Removals that only an index which was left behind knows of are repeated.
#include <algorithm>

#include "index/catalogue_impl.h"
#include "index/operations.h"
#include "index/salvage.h"

namespace btfc::index {
namespace {

// Repairs that moved the link since do not count: no user did.
bool IsWhereItWas(const Link& link, const Stamp& seen) {
  return link.stamp.time_ns == seen.time_ns && link.stamp.device == seen.device;
}

bool IsFileOfOneName(const InodeBrief& inode) {
  return inode.kind == Kind::kFile && inode.live_links == 1 && inode.nlink == 1;
}

bool OverwroteAll(const Known& known, const std::vector<HeldVersion>& heads) {
  return !heads.empty() && std::ranges::all_of(heads, [&known](const HeldVersion& head) {
    return known.Overwrote(head.commit);
  });
}

}  // namespace

Result<bool> Catalogue::RemoveAgain(const SalvagedRemoval& removal) {
  return impl_->Write([&](Session& session) -> Result<bool> {
    Tables& tables = session.tables();
    const auto number = tables.FindLink(removal.link);
    const auto link = number ? tables.GetLink(*number) : std::nullopt;
    if (!link || !IsLive(*link) || !IsWhereItWas(*link, removal.seen)) return false;
    const InodeBrief inode = tables.Brief(link->ino);
    if (!IsFileOfOneName(inode) || IsBeingWritten(session, inode.ino)) return false;
    if (!OverwroteAll(removal.known, session.Heads(inode.ino))) return false;
    session.WatchChanges();  // nobody here asked for it
    session.Unlink(*link, inode, false);
    return true;
  });
}

}  // namespace btfc::index
