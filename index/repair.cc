#include "index/repair.h"

#include <algorithm>
#include <tuple>

#include "index/conflict_names.h"
#include "index/derived_ids.h"
#include "index/stamps.h"
#include "index/summaries.h"

namespace btfc::index {
namespace {

// Far above what any history takes; each round but the last writes rows.
constexpr int kRounds = 10000;
constexpr std::uint32_t kPrivateMode = 0700;

bool IsLive(const Link& link) { return (link.state & kLive) != 0; }
bool IsAlive(const Link& link) { return (link.state & kAlive) != 0; }

}  // namespace

void Repairer::Run() {
  for (int round = 0; round < kRounds; ++round) {
    if (ReviveEdited() || SettleHeads() || RepairParents() || BreakCycle() || RepairNames()) {
      continue;
    }
    return;
  }
  throw StorageFailure(Error::kCorrupt, "the repairs do not end");
}

// --- ordinary rows that repairs write

void Repairer::ReviveLink(const Link& link) {
  PlaceRow row = link;
  row.stamp = Revived(row.stamp);
  row.dot = s_.NextDot();
  s_.Merge(std::move(row));
}

// Keeps `previous`, so that a cycle is undone only once.
void Repairer::MoveLink(const Link& link, const Spot& to) {
  PlaceRow row = link;
  row.spot = to;
  row.stamp = Repaired(row.stamp);
  row.dot = s_.NextDot();
  s_.Merge(std::move(row));
}

void Repairer::RemoveLink(const Link& link, Ino merged_into) {
  RemovalRow row;
  row.link = link.link;
  row.seen = link.stamp;
  row.merged_into = merged_into;
  row.time_ns = link.stamp.time_ns;
  if (tables_.Brief(link.ino).live_links == 1) row.context = s_.SeenContext(link.ino);
  row.dot = s_.NextDot();
  s_.Merge(std::move(row));
}

std::string Repairer::HostName(const DeviceId& device) {
  const auto row = tables_.GetDevice(device);
  return row && !row->name.empty() ? row->name : ToHex(device).substr(0, 8);
}

// --- (1) edit beats deletion: a version that no deletion saw needs a live link

bool Repairer::ReviveEdited() {
  std::vector<std::pair<InodeId, Ino>> lost;
  for (const Ino ino : s_.versions_touched_) {
    const InodeBrief inode = tables_.Brief(ino);
    if (inode.kind != Kind::kFile || inode.pending || inode.live_links > 0 || !inode.undeleted) {
      continue;
    }
    lost.emplace_back(inode.id, ino);
  }
  std::sort(lost.begin(), lost.end());
  bool revived = false;
  for (const auto& [id, ino] : lost) {
    std::optional<Link> latest;
    for (const LinkNo no : tables_.LinksOf(ino)) {
      auto link = tables_.GetLink(no);
      if (link->dot.n == 0 || IsAlive(*link)) continue;
      if (!latest || std::tie(latest->stamp, latest->id) < std::tie(link->stamp, link->id)) {
        latest = std::move(link);
      }
    }
    if (!latest) continue;
    ReviveLink(*latest);
    revived = true;
  }
  return revived;
}

// --- (2) one head: the best covers the others, every other content becomes a conflict copy

bool Repairer::SettleHeads() {
  const auto touched = std::exchange(s_.versions_touched_, {});
  std::vector<std::pair<InodeId, Ino>> split;
  for (const Ino ino : touched) {
    const InodeBrief inode = tables_.Brief(ino);
    if (inode.kind != Kind::kFile || inode.live_links == 0) continue;
    auto count = tables_.db().Prepare("SELECT count(*) FROM version WHERE ino = ?");
    count << ino;
    count.Step();
    if (count.Int(0) > 1 && s_.Heads(ino).size() > 1) split.emplace_back(inode.id, ino);
  }
  std::sort(split.begin(), split.end());
  for (const auto& [id, ino] : split) SettleHeadsOf(ino);
  return !split.empty();
}

void Repairer::SettleHeadsOf(Ino ino) {
  const auto heads = s_.Heads(ino);
  std::set<ContentId> contents;
  VersionRow best = heads.front();
  for (const auto& head : heads) {
    if (!contents.empty() && !contents.contains(head.content)) WriteCopy(ino, head);
    contents.insert(head.content);
    JoinInto(best.context, head.commit);
  }
  best.dot = s_.NextDot();
  s_.Merge(std::move(best));
}

// The copy's ids and its commit come from the loser: made twice it is the same file, and a deletion
// or edit of one also covers the other.
void Repairer::WriteCopy(Ino inode, const HeldVersion& head) {
  const InodeId copy_id = CopyInodeOf(tables_.IdOfInode(inode), head.commit);
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
  version.context.clear();
  version.inline_bytes = tables_.InlineOf(head.version);
  version.dot = s_.NextDot();
  s_.Merge(std::move(version));
}

// --- (3) a live link in a dead folder: the folder comes back

bool Repairer::RepairParents() {
  const auto folders = std::exchange(s_.folders_to_check_, {});
  std::vector<std::pair<LinkId, LinkNo>> dead;
  for (const Ino folder : folders) {
    if (folder == kRootIno) continue;
    const auto link = tables_.FolderLink(folder);
    if (!link || IsAlive(*link)) continue;
    auto live = tables_.db().Prepare("SELECT 1 FROM place WHERE up = ? AND state & 2 LIMIT 1");
    live << folder;
    if (live.Step()) dead.emplace_back(link->id, link->link);
  }
  std::sort(dead.begin(), dead.end());
  for (const auto& [id, no] : dead) ReviveLink(*tables_.GetLink(no));
  return !dead.empty();
}

// --- (4) cycles of folders: the latest move is undone; failing that, it goes to the root

std::optional<Ino> Repairer::ParentOf(Ino folder) {
  const auto link = tables_.FolderLink(folder);
  if (!link) return std::nullopt;
  return s_.Follow(link->spot.folder);
}

Repairer::Way Repairer::Above(Ino folder) {
  Way way;
  std::unordered_set<Ino> seen;
  while (folder != kRootIno && seen.insert(folder).second) {
    way.folders.push_back(folder);
    const auto parent = ParentOf(folder);
    if (!parent) {
      folder = 0;
      break;
    }
    folder = *parent;
  }
  way.end = folder;
  return way;
}

// The cycle that a folder is in or below. `good` remembers folders that lead to the root.
std::optional<std::vector<Ino>> Repairer::CycleAbove(Ino folder, std::unordered_set<Ino>& good) {
  std::vector<Ino> way;
  std::unordered_set<Ino> seen;
  while (folder != kRootIno && !good.contains(folder)) {
    if (!seen.insert(folder).second) {
      const auto begin = std::find(way.begin(), way.end(), folder);
      return std::vector<Ino>(begin, way.end());
    }
    way.push_back(folder);
    const auto parent = ParentOf(folder);
    if (!parent) break;
    folder = *parent;
  }
  good.insert(way.begin(), way.end());
  return std::nullopt;
}

bool Repairer::BreakCycle() {
  std::unordered_set<Ino> good;
  std::unordered_set<Ino> bad;
  std::map<LinkId, std::vector<Ino>> cycles;  // by the lowest link in or below it
  std::set<std::set<Ino>> known;
  for (const Ino folder : s_.moved_folders_) {
    const auto link = tables_.FolderLink(folder);
    if (!link || !IsLive(*link)) continue;
    const auto cycle = CycleAbove(folder, good);
    if (!cycle) continue;
    bad.insert(folder);
    if (!known.insert({cycle->begin(), cycle->end()}).second) continue;
    // With several cycles all hosts have to begin with the same one.
    std::vector<Ino> below = *cycle;
    std::unordered_set<Ino> seen(below.begin(), below.end());
    std::optional<LinkId> lowest;
    while (!below.empty()) {
      const Ino next = below.back();
      below.pop_back();
      if (const LinkId id{tables_.IdOfInode(next).bytes}; !lowest || id < *lowest) lowest = id;
      auto children = tables_.db().Prepare(
          "SELECT p.ino FROM place p JOIN inode i ON i.ino = p.ino "
          "WHERE p.up = ? AND p.state & 2 AND i.kind = 2");
      children << next;
      while (children.Step()) {
        if (seen.insert(children.Unsigned(0)).second) below.push_back(children.Unsigned(0));
      }
    }
    cycles.emplace(*lowest, *cycle);
  }
  s_.moved_folders_ = std::move(bad);
  if (cycles.empty()) return false;
  UndoMove(cycles.begin()->second);
  return true;
}

void Repairer::UndoMove(const std::vector<Ino>& cycle) {
  std::optional<Link> last;
  for (const Ino folder : cycle) {
    auto link = tables_.FolderLink(folder);
    if (!last || std::tie(last->stamp, last->id) < std::tie(link->stamp, link->id)) {
      last = std::move(link);
    }
  }
  Spot to = last->previous.value_or(Spot{kRootIno, last->spot.name});
  bool undone = last->previous.has_value();
  const Way way = Above(to.folder);
  if (way.end != kRootIno ||
      std::find(way.folders.begin(), way.folders.end(), last->ino) != way.folders.end()) {
    to.folder = kRootIno;
    undone = false;
  }
  PlaceRow row = *last;
  row.spot = to;
  row.previous.reset();
  row.stamp = Repaired(row.stamp);
  row.dot = s_.NextDot();
  s_.Merge(std::move(row));
  if (undone) return;
  // Where it was meant to be, others may not have been able to look into it.
  auto attributes = tables_.GetAttributes(last->ino);
  if (!attributes || (attributes->mode == kPrivateMode && attributes->acl_access.empty())) return;
  attributes->mode = kPrivateMode;
  attributes->acl_access.clear();
  attributes->stamp = Repaired(attributes->stamp);
  attributes->dot = s_.NextDot();
  s_.Merge(std::move(*attributes));
}

// --- (5) unique names: folders merge, equal files become one, others get conflict names

bool Repairer::RepairNames() {
  struct Shared {
    InodeId folder;
    std::string name;
    std::vector<Link> links;
  };
  std::vector<Shared> shared;
  for (const Spot& spot : std::exchange(s_.collisions_, {})) {
    auto links = tables_.LinksAt(spot);
    std::erase_if(links, [](const Link& link) { return !IsLive(link); });
    if (links.size() < 2) continue;
    shared.push_back({tables_.IdOfInode(spot.folder), spot.name, std::move(links)});
  }
  std::sort(shared.begin(), shared.end(), [](const Shared& a, const Shared& b) {
    return std::tie(a.folder, a.name) < std::tie(b.folder, b.name);
  });
  for (auto& spot : shared) RepairName(std::move(spot.links));
  return !shared.empty();
}

Repairer::Lateness Repairer::LatenessOf(const Link& link) {
  const auto heads = s_.Heads(link.ino);
  return {heads.empty() ? link.stamp : std::max(link.stamp, heads.front().stamp), link.id};
}

void Repairer::RepairName(std::vector<Link> links) {
  std::sort(links.begin(), links.end(), [](const Link& a, const Link& b) { return a.id < b.id; });
  std::vector<InodeRow> inodes;
  for (const Link& link : links)
    inodes.push_back(*tables_.GetInode(link.ino));  // live: it has come
  Ino first_folder = 0;
  for (std::size_t i = 0; i < links.size(); ++i) {
    if (inodes[i].kind != Kind::kFolder) continue;
    if (first_folder != 0) RemoveLink(links[i], first_folder);
    if (first_folder == 0) first_folder = links[i].ino;
  }
  std::vector<std::pair<Lateness, Link>> files;
  // What makes two files one: kind, content, symlink target, device number.
  std::set<std::tuple<Kind, ContentId, std::string, std::uint64_t>> contents;
  for (std::size_t i = 0; i < links.size(); ++i) {
    const InodeRow& inode = inodes[i];
    if (inode.kind == Kind::kFolder) continue;
    const auto heads = s_.Heads(links[i].ino);
    const bool comparable = inode.kind != Kind::kFile || !heads.empty();
    const ContentId content = heads.empty() ? ContentId{} : heads.front().content;
    if (comparable && !contents.emplace(inode.kind, content, inode.target, inode.rdev).second) {
      RemoveLink(links[i], 0);
    } else {
      files.emplace_back(LatenessOf(links[i]), links[i]);
    }
  }
  std::sort(files.begin(), files.end(),
            [](const auto& a, const auto& b) { return a.first > b.first; });
  for (std::size_t i = first_folder == 0 ? 1 : 0; i < files.size(); ++i) {
    const auto& [lateness, link] = files[i];
    MoveLink(link, {link.spot.folder,
                    ConflictName(link.spot.name, HostName(lateness.stamp.device),
                                 lateness.stamp.time_ns, RenameSuffix(link.id, link.stamp))});
  }
}

}  // namespace btfc::index
