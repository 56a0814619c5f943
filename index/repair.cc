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

}  // namespace

void Repairer::Run() {
  for (int round = 0; round < kRounds; ++round) {
    const bool repaired = Bury() || ReviveEdited() || SettleHeads() || WithdrawCopies() ||
                          RepairParents() || BreakCycle() || RepairNames();
    if (!repaired) return;
  }
  throw StorageFailure(Error::kCorrupt, "the repairs do not end");
}

// --- ordinary rows that repairs write

void Repairer::ReviveLink(const Link& link) {
  PlaceRow row = link;
  row.stamp = Revived(row.stamp);
  row.dot = s_.NextDot();
  s_.Merge(row);
}

// Keeps `previous`, so that a cycle is undone only once.
void Repairer::MoveLink(const Link& link, const Slot& to) {
  PlaceRow row = link;
  row.spot = to;
  row.stamp = Repaired(row.stamp);
  row.dot = s_.NextDot();
  s_.Merge(row);
}

void Repairer::RemoveLink(const Link& link, Ino merged_into) {
  RemovalRow row;
  row.link = link.link;
  row.seen = link.stamp;
  row.merged_into = merged_into;
  row.time_ns = link.stamp.time_ns;
  if (tables_.Brief(link.ino).live_links == 1) row.known = s_.KnownOf(link.ino, false);
  row.dot = s_.NextDot();
  s_.Merge(std::move(row));
}

std::string Repairer::HostName(const DeviceId& device) {
  const auto row = tables_.GetDevice(device);
  return row && !row->name.empty() ? row->name : ToHex(device).substr(0, 8);
}

// A removal that saw no version.
void Repairer::WithdrawLink(const Link& link) {
  RemovalRow row;
  row.link = link.link;
  row.seen = link.stamp;
  row.time_ns = link.stamp.time_ns;
  row.dot = s_.NextDot();
  s_.Merge(std::move(row));
}

// --- a live link in a dead folder: the folder comes back

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
  return RescueDangling() || !dead.empty();
}

// No host writes an entry of a folder without the folder; if one does, the entry goes to the root
// rather than out of everybody's sight.
bool Repairer::RescueDangling() {
  std::vector<std::pair<LinkId, LinkNo>> lost;
  for (const LinkNo no : std::exchange(s_.dangling_, {})) {
    const auto link = tables_.GetLink(no);
    if (link && IsAlive(*link) && !IsLive(*link)) lost.emplace_back(link->id, no);
  }
  std::sort(lost.begin(), lost.end());
  for (const auto& [id, no] : lost) {
    const auto link = tables_.GetLink(no);
    MoveLink(*link, {kRootIno, link->spot.name});
  }
  return !lost.empty();
}

// --- cycles of folders: the latest move is undone; failing that, it goes to the root

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
  Slot to = last->previous.value_or(Slot{kRootIno, last->spot.name});
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
  s_.Merge(row);
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

// --- unique names: folders merge, equal files become one, others get conflict names

bool Repairer::RepairNames() {
  struct Shared {
    InodeId folder;
    std::string name;
    std::vector<Link> links;
  };
  std::vector<Shared> shared;
  for (const Slot& spot : std::exchange(s_.collisions_, {})) {
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
  inodes.reserve(links.size());
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
