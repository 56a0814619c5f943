// What follows from the rows: which links are alive, where folders that merged lead, which version
// is the head, what a name shows.
#include <algorithm>
#include <tuple>

#include "index/conflict_names.h"
#include "index/derived_ids.h"
#include "index/session.h"
#include "index/summaries.h"

namespace btfc::index {
namespace {

std::int64_t FromBigEndian(std::string_view bytes) {
  std::uint64_t value = 0;
  for (const char byte : bytes) value = value << 8U | static_cast<unsigned char>(byte);
  return static_cast<std::int64_t>(value);
}

int Bit(unsigned state, LinkState bit) { return (state & bit) != 0 ? 1 : 0; }

bool FromBefore(const Stamp& seen, const Stamp& placed) {
  return std::tie(seen.time_ns, seen.device) < std::tie(placed.time_ns, placed.device);
}

bool FromLifeBefore(const Stamp& seen, const Stamp& placed) {
  return std::tie(seen.time_ns, seen.device, seen.life) <
         std::tie(placed.time_ns, placed.device, placed.life);
}

}  // namespace

// --- folders

Ino Session::Follow(Ino folder) {
  // Ends: a folder merges only into one with a lower id (delta.cc refuses other rows).
  while (folder != kRootIno) {
    auto find = tables_.db().Prepare(
        "SELECT p.state, p.merged FROM inode i JOIN place p ON p.id = i.id AND p.ino = i.ino "
        "WHERE i.ino = ?");
    find << folder;
    if (!find.Step() || (find.Int(0) & kAlive) != 0 || find.IsNull(1)) break;
    folder = find.Unsigned(1);
  }
  return folder;
}

// A folder whose rows have come. Entries of one that has none are not shown.
bool Session::Usable(Ino folder) {
  if (folder == kRootIno) return true;
  auto find = tables_.db().Prepare(
      "SELECT 1 FROM inode i JOIN place p ON p.id = i.id AND p.ino = i.ino "
      "WHERE i.ino = ? AND i.kind = ?");
  find << folder << static_cast<int>(Kind::kFolder);
  return find.Step();
}

void Session::ChangedFolder(Ino folder, std::int64_t time_ns) {
  auto update = tables_.db().Prepare(
      "UPDATE inode SET changed = ?2, ctime = max(ctime, ?2), "
      "mtime = CASE WHEN ?2 > set_time THEN ?2 ELSE mtime END WHERE ino = ?1 AND changed < ?2");
  update << folder << time_ns;
  update.Run();
  // Also if what came to it went again in the same transaction.
  if (sqlite3_changes(tables_.db().handle()) > 0) NoteAttributes(folder);
}

void Session::Touched(Ino ino, std::int64_t time_ns) {
  auto update = tables_.db().Prepare("UPDATE inode SET ctime = ?2 WHERE ino = ?1 AND ctime < ?2");
  update << ino << time_ns;
  update.Run();
}

// --- links

// Dead if a removal saw this place, or a later one. Repairs that only move a link (sub) do not
// bring it back; a revival (life) counts for a file only while some version is not deleted.
bool Session::AliveAfter(const std::optional<Stamp>& seen, const Link& link,
                         const InodeBrief& inode) {
  if (!seen || FromBefore(*seen, link.stamp)) return true;
  const bool can_revive =
      inode.kind == Kind::kFolder || (inode.kind == Kind::kFile && inode.undeleted);
  return can_revive && FromLifeBefore(*seen, link.stamp);
}

bool Session::TakenByPending(const Link& link, const InodeBrief& inode) {
  auto find = tables_.db().Prepare(
      "SELECT seen_time, seen_dev, seen_life, seen_sub FROM pending_removal WHERE link = ?");
  find << link.link;
  while (find.Step()) {
    if (!AliveAfter(tables_.ReadStamp(find, 0), link, inode)) return true;
  }
  return false;
}

void Session::RefreshLink(LinkNo no, bool moved) {
  const auto held = tables_.GetLink(no);
  if (!held) return;
  const InodeBrief inode = tables_.Brief(held->ino);
  const bool folder = inode.kind == Kind::kFolder;
  const bool valid = inode.kind && (!folder || held->id.bytes == inode.id.bytes);
  const bool pending = held->dot.n == 0;
  const Ino led_to = folder ? Follow(held->ino) : 0;

  Link next = *held;
  std::optional<Stamp> seen;
  next.merged = 0;
  if (const auto removal = pending ? std::nullopt : tables_.GetRemoval(no)) {
    seen = removal->seen;
    next.merged = removal->merged_into;
  }
  next.state = 0;
  next.up = 0;
  const bool alive = valid && !pending && AliveAfter(seen, *held, inode);
  if (alive) next.state |= kAlive;
  if (alive || (valid && pending)) {
    next.up = Follow(held->spot.folder);
    const bool usable = Usable(next.up);
    if (alive && !usable) dangling_.insert(no);
    if (usable) {
      if (alive) next.state |= kLive;
      if (pending || !TakenByPending(*held, inode)) next.state |= kOurs;
      // Whether another link hides it is settled at the end.
      if ((next.state & kOurs) != 0) {
        next.state |= (held->state & kOurs) != 0 ? held->state & kShown : kShown;
      }
    }
  }
  const bool same = next.state == held->state && next.up == held->up && next.merged == held->merged;
  if (same && !moved) return;

  // A link that moved already has its new name here, which the old folder may never have shown.
  if (held->up != 0 && !moved) TouchSpot({held->up, held->spot.name});
  if (next.up != 0) TouchSpot({next.up, next.spot.name});
  Count(*held, next, inode);
  const bool conflict = (next.state & kShown) != 0 && IsConflictName(next.spot.name);
  if (!same || conflict) tables_.PutDerived(next, conflict);  // PutPlace has taken the mark away
  versions_touched_.insert(held->ino);
  if ((next.state & kLive) != 0) {
    folders_to_check_.insert(next.up);
    if (folder) moved_folders_.insert(held->ino);
  }
  if (!folder) return;
  if (Bit(held->state, kAlive) != 0 && !alive) folders_to_check_.insert(held->ino);
  if (Follow(held->ino) != led_to) RefreshLinksIn(led_to);
}

void Session::Count(const Link& was, const Link& is, const InodeBrief& inode) {
  const int live = Bit(is.state, kLive) - Bit(was.state, kLive);
  const int ours = Bit(is.state, kOurs) - Bit(was.state, kOurs);
  if (live != 0 || ours != 0) {
    auto update = tables_.db().Prepare(
        "UPDATE inode SET live_links = live_links + ?1, nlink = nlink + ?2, "
        "gone = CASE WHEN live_links + ?1 > 0 OR nlink + ?2 > 0 THEN 0 WHEN gone <> 0 THEN gone "
        "ELSE ?3 END WHERE ino = ?4");
    update << live << ours << context_.now_ns << was.ino;
    update.Run();
    if (ours != 0) NoteAttributes(was.ino);
    if (inode.nlink == 0 && ours > 0) Revive(was.ino);
    const bool named = inode.live_links + live > 0 || inode.nlink + ours > 0;
    if (named != (inode.live_links > 0 || inode.nlink > 0)) NoteObjectsOf(was.ino);
  }
  if (inode.kind != Kind::kFolder) return;
  const Ino from = Bit(was.state, kOurs) != 0 ? was.up : 0;
  const Ino to = Bit(is.state, kOurs) != 0 ? is.up : 0;
  if (from == to) return;
  if (from != 0) CountSubfolder(from, -1);
  if (to != 0) CountSubfolder(to, 1);
}

// Removed here and there again: what is being written to it is committed after all.
void Session::Revive(Ino ino) {
  auto update = tables_.db().Prepare("UPDATE dirty SET orphan = 0 WHERE ino = ?");
  update << ino;
  update.Run();
}

void Session::CountSubfolder(Ino folder, int difference) {
  auto update = tables_.db().Prepare("UPDATE inode SET subfolders = subfolders + ? WHERE ino = ?");
  update << difference << folder;
  update.Run();
  NoteAttributes(folder);
}

// Whether these are alive may depend on the versions.
void Session::RefreshRemovedLinksOf(Ino ino) {
  auto find = tables_.db().Prepare(
      "SELECT p.link FROM place p WHERE p.ino = ? AND "
      "(EXISTS (SELECT 1 FROM removal r WHERE r.link = p.link) "
      "OR EXISTS (SELECT 1 FROM pending_removal w WHERE w.link = p.link)) ORDER BY p.link");
  find << ino;
  std::vector<LinkNo> links;
  while (find.Step()) links.push_back(find.Int(0));
  for (const LinkNo link : links) RefreshLink(link);
}

void Session::RefreshLinksOf(Ino ino) {
  for (const LinkNo link : tables_.LinksOf(ino)) RefreshLink(link);
}

void Session::RefreshLinksIn(Ino folder) {
  for (const LinkNo link : tables_.LinksIn(folder)) RefreshLink(link);
}

// --- versions

std::vector<HeldVersion> Session::Heads(Ino ino, bool* undeleted) {
  return HeadsAmong(ino, tables_.Versions(ino), undeleted);
}

// Heads that a deletion saw do not count beside others.
std::vector<HeldVersion> Session::HeadsAmong(Ino ino, std::vector<HeldVersion> heads,
                                             bool* undeleted) {
  if (undeleted != nullptr) *undeleted = false;
  if (heads.empty() || (heads.size() == 1 && undeleted == nullptr)) return heads;
  const Summary removed = tables_.RemovedContext(ino);
  const auto deleted = [&removed](const auto& version) { return Covers(removed, version.commit); };
  if (!std::all_of(heads.begin(), heads.end(), deleted)) {
    std::erase_if(heads, deleted);
    if (undeleted != nullptr) *undeleted = true;
  }
  std::sort(heads.begin(), heads.end(), [](const auto& a, const auto& b) {
    return std::tie(a.stamp, a.commit) > std::tie(b.stamp, b.commit);
  });
  return heads;
}

// A user has the best head before him and so overwrites it.
Known Session::KnownOf(Ino ino, bool user) { return KnownOf(ino, tables_.Versions(ino), user); }

Known Session::KnownOf(Ino ino, std::vector<HeldVersion> versions, bool user) {
  Known known;
  for (const auto& version : versions) known = known.SetAside(version.known, version.commit);
  if (!user) return known;
  const auto heads = HeadsAmong(ino, std::move(versions), nullptr);
  if (!heads.empty()) known.aside.erase(heads.front().commit);
  return known;
}

std::vector<Stamp> Session::VersionStamps(Ino ino) {
  std::vector<Stamp> stamps;
  auto find = tables_.db().Prepare("SELECT time, dev, life, sub FROM version WHERE ino = ?");
  find << ino;
  while (find.Step()) stamps.push_back(tables_.ReadStamp(find, 0));
  return stamps;
}

void Session::RefreshHead(Ino ino) {
  const InodeBrief inode = tables_.Brief(ino);
  bool undeleted = false;
  const auto heads = Heads(ino, &undeleted);
  const VersionNo head = heads.empty() ? 0 : heads.front().version;
  versions_touched_.insert(ino);
  if (head != inode.head || undeleted != inode.undeleted) {
    NoteBefore(ino, inode);
    auto update =
        tables_.db().Prepare("UPDATE inode SET head = nullif(?, 0), undeleted = ? WHERE ino = ?");
    update << head << undeleted << ino;
    update.Run();
    if (head != inode.head) NoteObjectsOf(ino);
    if (undeleted != inode.undeleted) RefreshRemovedLinksOf(ino);
  }
  RefreshMtime(inode, heads.empty() ? nullptr : &heads.front());
}

// The mtime that somebody set holds until a later version, or a later change of a folder.
void Session::RefreshMtime(const InodeBrief& inode, const HeldVersion* head) {
  std::optional<RegisterRow> set;
  if (inode.set_time != 0) set = tables_.GetRegister(inode.ino, kMtimeRegister);
  std::optional<std::int64_t> mtime;
  if (set && set->value) mtime = FromBigEndian(*set->value);
  if (head != nullptr && (!set || set->stamp < head->stamp)) mtime = head->mtime_ns;
  if (!mtime || (inode.kind != Kind::kFolder && *mtime == inode.mtime_ns)) return;
  auto update = tables_.db().Prepare(
      "UPDATE inode SET mtime = CASE WHEN kind = ?3 AND changed > set_time THEN changed ELSE ?2 "
      "END WHERE ino = ?1");
  update << inode.ino << *mtime << static_cast<int>(Kind::kFolder);
  update.Run();
}

// --- objects

void Session::NoteObject(const ContentId& id) {
  if (id.size > kInlineMax) objects_.insert(id);
}

void Session::NoteObjectsOf(Ino ino) {
  auto find = tables_.db().Prepare(
      "SELECT root, size FROM version WHERE ino = ?1 AND size > 16384 "
      "UNION ALL SELECT root, size FROM history WHERE ino = ?1 AND size > 16384");
  find << ino;
  while (find.Step()) {
    objects_.insert({find.Fixed<std::array<std::uint8_t, 32>>(0), find.Unsigned(1)});
  }
}

void Session::RefreshObjects() {
  for (const ContentId& id : objects_) {
    auto find = tables_.db().Prepare(
        "SELECT "
        "EXISTS (SELECT 1 FROM version v JOIN inode i ON i.ino = v.ino AND i.head = v.version "
        "  WHERE v.root = ?1 AND v.size = ?2 AND v.size > 16384 "
        "  AND (i.live_links > 0 OR i.nlink > 0)), "
        "EXISTS (SELECT 1 FROM history h WHERE h.root = ?1 AND h.size = ?2 AND h.size > 16384) "
        "OR EXISTS (SELECT 1 FROM version v JOIN inode i ON i.ino = v.ino "
        "  WHERE v.root = ?1 AND v.size = ?2 AND v.size > 16384 AND i.gone > 0), "
        "coalesce((SELECT present FROM object WHERE root = ?1 AND size = ?2), 0), "
        "coalesce((SELECT needed FROM object WHERE root = ?1 AND size = ?2), 0)");
    find << id.root << id.size;
    find.Step();
    const bool needed = find.Int(0) != 0;
    const bool kept = find.Int(1) != 0;
    const bool present = find.Int(2) != 0;
    const bool was_needed = find.Int(3) != 0;
    if (needed || kept || present) {
      auto put = tables_.db().Prepare(
          "INSERT INTO object (root, size, needed, kept) VALUES (?, ?, ?, ?) "
          "ON CONFLICT (root, size) DO UPDATE SET needed = excluded.needed, kept = excluded.kept");
      put << id.root << id.size << needed << kept;
      put.Run();
    } else {
      auto drop = tables_.db().Prepare("DELETE FROM object WHERE root = ? AND size = ?");
      drop << id.root << id.size;
      drop.Run();
    }
    if (needed && !present && !was_needed) {
      changes_.push_back({.what = Change::What::kWanted, .content = id});
    }
    if (was_needed && !needed && !present) {
      changes_.push_back({.what = Change::What::kUnwanted, .content = id});
    }
  }
}

// --- what a name shows

void Session::TouchSpot(const Slot& spot) {
  collisions_.insert(spot);
  spots_.insert(spot);
  if (!watching_ || spot.folder >= first_new_) return;
  if (!shown_before_.contains(spot)) shown_before_.emplace(spot, ShownAt(spot));
}

// Two links may want one name while one of them is a file not published yet, which no repair may
// speak of: it hides the other until its first commit, when the repairs see both.
void Session::SettleSpots() {
  while (!spots_.empty()) {
    const auto spots = std::exchange(spots_, {});
    for (const Slot& spot : spots) {
      auto links = tables_.LinksAt(spot);
      std::erase_if(links, [](const Link& link) { return (link.state & kOurs) == 0; });
      if (!links.empty()) ShowOne(spot, links);
    }
  }
}

void Session::ShowOne(const Slot& spot, std::vector<Link>& links) {
  std::sort(links.begin(), links.end(), [](const Link& a, const Link& b) {
    return std::make_tuple(a.dot.n != 0, a.link) < std::make_tuple(b.dot.n != 0, b.link);
  });
  bool first = true;
  for (Link& link : links) {
    const bool show = std::exchange(first, false);
    if (!show && link.dot.n == 0) {
      MakeWay(link);
      continue;
    }
    if (show == ((link.state & kShown) != 0)) continue;
    if (show) uncovered_.insert(spot);
    link.state ^= kShown;
    tables_.PutDerived(link, show && IsConflictName(link.spot.name));
  }
}

// Two files not published yet at one name, since their folders became one. The rows are ours alone.
void Session::MakeWay(const Link& pending) {
  PlaceRow row = pending;
  row.stamp = Now({row.stamp});
  const auto name_with = [&](const std::string& suffix) {
    return ConflictName(pending.spot.name, context_.host_name, context_.now_ns, suffix);
  };
  row.spot.name = name_with(CopySuffix(pending.id));
  // Ids that were drawn at about the same time begin alike.
  if (row.spot.name == pending.spot.name) {
    row.spot.name = name_with(RenameSuffix(pending.id, row.stamp));
  }
  Merge(row);
}

}  // namespace btfc::index
