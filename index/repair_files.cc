// The repairs of files: lost edits, several heads, conflict copies.
#include <algorithm>
#include <tuple>

#include "index/conflict_names.h"
#include "index/derived_ids.h"
#include "index/repair.h"
#include "index/stamps.h"

namespace btfc::index {

// What merging touched goes to every repair that looks at files, with the conflict copies, whose
// fate depends on the file.
void Repairer::TakeTouched() {
  for (const Ino ino : std::exchange(s_.versions_touched_, {})) {
    Sort(ino);
    auto copies = tables_.db().Prepare("SELECT ino FROM inode WHERE copy_of = ?");
    copies << ino;
    while (copies.Step()) Sort(copies.Unsigned(0));
  }
}

// Most files are none of the repairs' business: one question finds that out. What changes later
// on comes here again.
void Repairer::Sort(Ino ino) {
  auto find = tables_.db().Prepare(
      "SELECT live_links, undeleted, copy_of, "
      "EXISTS (SELECT 1 FROM version v WHERE v.ino = i.ino AND v.version <> i.head), "
      "EXISTS (SELECT 1 FROM place p WHERE p.ino = i.ino AND p.life > 0 AND p.state & 1 = 0) "
      "FROM inode i WHERE ino = ? AND kind = 1 AND pending = 0");
  find << ino;
  if (!find.Step()) return;
  const bool live = find.Int(0) > 0;
  if (find.Int(4) != 0) to_bury_.insert(ino);
  if (!live && find.Int(1) != 0) to_revive_.insert(ino);
  if (live && find.Int(3) != 0) to_settle_.insert(ino);
  if (live && !find.IsNull(2)) to_withdraw_.insert(ino);
}

// The files of a set, in the order that all hosts agree on. The set is empty afterwards.
std::vector<InodeBrief> Repairer::Take(std::set<Ino>& todo) {
  TakeTouched();
  std::vector<InodeBrief> inodes;
  for (const Ino ino : std::exchange(todo, {})) {
    inodes.push_back(tables_.Brief(ino));
  }
  std::sort(inodes.begin(), inodes.end(),
            [](const InodeBrief& a, const InodeBrief& b) { return a.id < b.id; });
  return inodes;
}

// --- a revival that deletions have overtaken ends for good: a later edit through another link must
// not bring this one back

bool Repairer::Bury() {
  bool buried = false;
  for (const InodeBrief& inode : Take(to_bury_)) {
    auto find = tables_.db().Prepare(
        "SELECT p.link FROM place p JOIN removal r ON r.link = p.link "
        "WHERE p.ino = ? AND p.life > 0 AND p.state & 1 = 0 "
        "AND (r.seen_time, r.seen_dev) = (p.time, p.dev) AND r.seen_life < p.life ORDER BY p.id");
    find << inode.ino;
    std::vector<LinkNo> ended;
    while (find.Step()) ended.push_back(find.Int(0));
    for (const LinkNo no : ended) WithdrawLink(*tables_.GetLink(no));
    buried = buried || !ended.empty();
  }
  return buried;
}

// --- edit beats deletion: a version that no deletion saw needs a live link

bool Repairer::ReviveEdited() {
  bool revived = false;
  for (const InodeBrief& inode : Take(to_revive_)) {
    if (inode.live_links > 0 || !inode.undeleted || IsSurplus(inode)) continue;
    std::optional<Link> latest;
    for (const LinkNo no : tables_.LinksOf(inode.ino)) {
      auto link = tables_.GetLink(no);
      if (link->dot.n == 0) continue;
      if (!latest || std::tie(latest->stamp, latest->id) < std::tie(link->stamp, link->id)) {
        latest = std::move(link);
      }
    }
    if (!latest || IsAlive(*latest)) continue;
    ReviveLink(*latest);
    revived = true;
  }
  return revived;
}

// --- one head: the best covers the others, every other content becomes a conflict copy

bool Repairer::SettleHeads() {
  std::vector<Ino> split;
  for (const InodeBrief& inode : Take(to_settle_)) {
    if (inode.live_links > 0 && s_.Heads(inode.ino).size() > 1) split.push_back(inode.ino);
  }
  for (const Ino ino : split) SettleHeadsOf(ino);
  return !split.empty();
}

void Repairer::SettleHeadsOf(Ino ino) {
  const auto heads = s_.Heads(ino);
  std::set<ContentId> contents;
  VersionRow best = heads.front();
  for (const auto& head : heads) {
    if (!contents.empty() && !contents.contains(head.content)) WriteCopy(ino, head);
    contents.insert(head.content);
    if (head.commit != best.commit) best.known = best.known.SetAside(head.known, head.commit);
  }
  best.dot = s_.NextDot();
  s_.Merge(std::move(best));
}

// The copy's ids and its commit come from the loser: made twice it is the same file, and a deletion
// or edit of one also covers the other.
void Repairer::WriteCopy(Ino inode, const HeldVersion& head) {
  const InodeId copy_id = CopyInodeOf(tables_.IdOfInode(inode), head.stamp);
  const LinkId link_id = CopyLinkOf(copy_id);
  const LinkNo link = tables_.LinkOf(link_id);
  if (tables_.GetLink(link)) return;
  std::optional<Link> beside;
  for (const LinkNo no : tables_.LinksOf(inode)) {
    auto candidate = tables_.GetLink(no);
    if (!IsLive(*candidate)) continue;
    if (!beside ||
        std::tie(candidate->stamp, candidate->id) < std::tie(beside->stamp, beside->id)) {
      beside = std::move(candidate);
    }
  }
  const Ino copy = tables_.InoOf(copy_id);
  const auto stamped = [this, &head](auto row) {
    row.stamp = Repaired(head.stamp);
    row.extra.clear();
    row.dot = s_.NextDot();
    return row;
  };
  InodeRow file;
  file.ino = copy;
  file.copy_of = inode;
  s_.Merge(stamped(file));
  if (auto attributes = tables_.GetAttributes(inode)) {
    attributes->ino = copy;
    s_.Merge(stamped(*attributes));
  }
  for (auto& xattr : tables_.GetRegisters(inode)) {
    if (!xattr.value || xattr.name == kMtimeRegister) continue;
    xattr.ino = copy;
    s_.Merge(stamped(xattr));
  }
  PlaceRow place;
  place.link = link;
  place.ino = copy;
  place.spot = {beside->spot.folder, ConflictName(beside->spot.name, HostName(head.stamp.device),
                                                  head.stamp.time_ns, CopySuffix(link_id))};
  s_.Merge(stamped(place));
  VersionRow version = head;
  version.ino = copy;
  version.known = {};
  version.inline_bytes = tables_.InlineOf(head.version);
  version.dot = s_.NextDot();
  s_.Merge(std::move(version));
}

// --- a surplus copy goes, by a removal that saw no version: if somebody touched it meanwhile, it
// is not surplus, and comes back as edited

bool Repairer::WithdrawCopies() {
  std::vector<LinkNo> late;
  for (const InodeBrief& inode : Take(to_withdraw_)) {
    if (inode.live_links > 0 && IsSurplus(inode))
      late.push_back(tables_.LinksOf(inode.ino).front());
  }
  for (const LinkNo no : late) WithdrawLink(*tables_.GetLink(no));
  return !late.empty();
}

// A conflict copy of what somebody who had it before him overwrote or deleted in the file, if all
// of the copy's rows are still a repair's.
bool Repairer::IsSurplus(const InodeBrief& inode) {
  if (inode.copy_of == 0) return false;
  const auto links = tables_.LinksOf(inode.ino);
  const auto versions = tables_.Versions(inode.ino);
  if (links.size() != 1 || versions.size() != 1) return false;
  const Stamp made = tables_.GetInode(inode.ino)->stamp;
  const auto untouched = [&made](const Stamp& stamp) {
    return stamp.time_ns == made.time_ns && stamp.device == made.device;
  };
  if (!untouched(tables_.GetLink(links.front())->stamp)) return false;
  if (!untouched(versions.front().stamp)) return false;
  const auto attributes = tables_.GetAttributes(inode.ino);
  if (attributes && !untouched(attributes->stamp)) return false;
  for (const auto& row : tables_.GetRegisters(inode.ino)) {
    if (!untouched(row.stamp)) return false;
  }
  return WasOverwritten(inode.copy_of, versions.front().commit);
}

// Somebody overwrote or deleted this commit and had it before him.
bool Repairer::WasOverwritten(Ino ino, const Dot& commit) {
  for (const auto& version : tables_.Versions(ino)) {
    if (version.known.Overwrote(commit)) return true;
  }
  for (const LinkNo no : tables_.LinksOf(ino)) {
    const auto removal = tables_.GetRemoval(no);
    if (removal && removal->known.Overwrote(commit)) return true;
  }
  return false;
}

}  // namespace btfc::index
