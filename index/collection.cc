#include "index/collection.h"

#include <algorithm>

#include "index/catalogue_impl.h"
#include "index/summaries.h"

namespace btfc::index {
namespace {

constexpr std::size_t kLetGoAtOnce = 256;  // in one transaction
// What may go by its age, or because somebody is silent, is looked for without a cause, too.
constexpr std::int64_t kLookAnyway_ns = std::int64_t{3600} * 1'000'000'000;

// All rows of an inode, as (dot_dev, dot_n); and those of one link.
constexpr char kRowsOfInode[] =
    "SELECT dot_dev, dot_n FROM inode WHERE ino = ?1 AND kind IS NOT NULL "
    "UNION ALL SELECT a_dot_dev, a_dot_n FROM inode WHERE ino = ?1 AND a_dot_dev IS NOT NULL "
    "UNION ALL SELECT dot_dev, dot_n FROM attr WHERE ino = ?1 "
    "UNION ALL SELECT dot_dev, dot_n FROM place WHERE ino = ?1 "
    "UNION ALL SELECT r.dot_dev, r.dot_n FROM place p JOIN removal r ON r.link = p.link "
    "  WHERE p.ino = ?1 "
    "UNION ALL SELECT dot_dev, dot_n FROM version WHERE ino = ?1";
constexpr char kRowsOfLink[] =
    "SELECT dot_dev, dot_n FROM place WHERE link = ?1 AND ino IS NOT NULL "
    "UNION ALL SELECT dot_dev, dot_n FROM removal WHERE link = ?1";

// The dots of what is deleted here, where it is not let go of yet.
Summary DeadRowsIn(Database& db, const DeviceTable& devices) {
  Summary dead;
  auto find = db.Prepare(
      "SELECT dot_dev, max(dot_n) FROM ("
      "  SELECT dot_dev, dot_n FROM removal "
      "  UNION ALL SELECT dot_dev, dot_n FROM inode WHERE gone <> 0 "
      "  UNION ALL SELECT a_dot_dev, a_dot_n FROM inode WHERE gone <> 0 "
      "  UNION ALL SELECT a.dot_dev, a.dot_n FROM inode i JOIN attr a ON a.ino = i.ino "
      "    WHERE i.gone <> 0 "
      "  UNION ALL SELECT p.dot_dev, p.dot_n FROM removal r JOIN place p ON p.link = r.link "
      "  UNION ALL SELECT v.dot_dev, v.dot_n FROM inode i JOIN version v ON v.ino = i.ino "
      "    WHERE i.gone <> 0) "
      "WHERE dot_n IS NOT NULL GROUP BY dot_dev");
  while (find.Step()) JoinInto(dead, Dot{devices.IdOf(find.Int(0)), find.Unsigned(1)});
  return dead;
}

}  // namespace

// --- letting go

bool Collection::AllBelow(Sql sql, std::int64_t key, const Summary& floor, Summary* dots) {
  auto find = db_.Prepare(sql);
  find << key;
  while (find.Step()) {
    if (find.IsNull(0) || find.Int(1) == 0) return false;
    const Dot dot = tables_.ReadDot(find, 0);
    if (!Covers(floor, dot)) return false;
    if (dots != nullptr) JoinInto(*dots, dot);
  }
  return true;
}

// All who count agree not to count it, so nobody takes what it may bring back.
bool Collection::IsLeftBehind(const Hosts& hosts, const Host& host) {
  const Summary mine = horizon();
  const Parts mine_parts = parts();
  const auto left_out = [&](const Host& one) {
    return std::any_of(one.devices.begin(), one.devices.end(), [&](const DeviceId& device) {
      return mine.contains(device) && !IsCounted(mine, mine_parts, device);
    });
  };
  const auto counts = [&host](const Summary& horizon, const Parts& parts) {
    return std::any_of(host.devices.begin(), host.devices.end(),
                       [&](const DeviceId& device) { return IsCounted(horizon, parts, device); });
  };
  if (!left_out(host) || counts(mine, mine_parts)) return false;
  return std::none_of(hosts.begin(), hosts.end(), [&](const auto& entry) {
    const Host& other = entry.second;
    return other.said && !left_out(other) && counts(other.said->horizon, other.said->parts);
  });
}

Summary Collection::Floor(std::int64_t absence_ns) {
  const bool waits_for_all = absence_ns >= VersionLimits::kForEver_ns;
  const Hosts& hosts = KnownHosts();
  const NodeKey self = tables_.GetDevice(session_.self())->key;
  Summary floor = horizon();
  for (const auto& [key, host] : hosts) {
    if (key == self || (!waits_for_all && IsLeftBehind(hosts, host))) continue;
    MeetInto(floor, host.said ? host.said->horizon : Summary());
  }
  return floor;
}

void Collection::Drop(Sql sql, std::int64_t key) {
  auto drop = db_.Prepare(sql);
  drop << key;
  drop.Run();
}

// A folder stays while a row is in it.
bool Collection::IsNamed(Ino ino) {
  auto find = db_.Prepare(
      "SELECT EXISTS (SELECT 1 FROM place WHERE parent = ?1 AND up IS NULL) "
      "OR EXISTS (SELECT 1 FROM place WHERE up = ?2 AND parent = ?1) "
      "OR EXISTS (SELECT 1 FROM removal WHERE merged = ?1) "
      "OR EXISTS (SELECT 1 FROM inode WHERE copy_of = ?1) "
      "OR EXISTS (SELECT 1 FROM dirty WHERE ino = ?1) "
      "OR EXISTS (SELECT 1 FROM place p JOIN pending_removal w ON w.link = p.link "
      "  WHERE p.ino = ?1) "
      "OR EXISTS (SELECT 1 FROM place p JOIN inode i ON i.ino = p.ino "
      "  WHERE p.prev_parent = ?1 AND p.state & 1 AND i.kind = 2)");
  find << ino << session_.Follow(ino);
  return find.Step() && find.Int(0) != 0;
}

// An inode without a name, which is not kept any more.
bool Collection::LetGo(Ino ino, const Summary& floor) {
  auto still = db_.Prepare("SELECT 1 FROM inode WHERE ino = ? AND gone = -1 AND pending = 0");
  still << ino;
  if (!still.Step() || IsNamed(ino)) return false;
  Summary dots;
  const auto key = static_cast<std::int64_t>(ino);
  if (!AllBelow(kRowsOfInode, key, floor, &dots)) return false;
  const InodeId id = tables_.IdOfInode(ino);
  session_.DropGone(ino);
  Drop("DELETE FROM removal WHERE link IN (SELECT link FROM place WHERE ino = ?)", key);
  Drop("DELETE FROM place WHERE ino = ?", key);
  Drop("DELETE FROM version WHERE ino = ?", key);
  Drop("DELETE FROM attr WHERE ino = ?", key);
  Drop("DELETE FROM inode WHERE ino = ?", key);
  // Where a name came from is kept with it, as an id that leads nowhere.
  auto from = db_.Prepare("SELECT 1 FROM place WHERE prev_parent = ? LIMIT 1");
  from << ino;
  if (from.Step()) {
    auto stub = db_.Prepare("INSERT INTO inode (ino, id) VALUES (?, ?)");
    stub << ino << id;
    stub.Run();
  }
  tables_.PutMetaSummary("collected", Join(collected(), dots));
  return true;
}

// A removed name of a file that has others.
bool Collection::LetNameGo(LinkNo no, const Summary& floor) {
  const auto removal = tables_.GetRemoval(no);
  if (!removal) return false;
  const auto link = tables_.GetLink(no);
  if (link) {
    const InodeBrief inode = tables_.Brief(link->ino);
    if (inode.live_links == 0 || inode.copy_of != 0 || IsAlive(*link) ||
        inode.kind == Kind::kFolder) {
      return false;
    }
    auto named = db_.Prepare(
        "SELECT EXISTS (SELECT 1 FROM inode WHERE copy_of = ?1) "
        "OR EXISTS (SELECT 1 FROM pending_removal WHERE link = ?2)");
    named << link->ino << no;
    if (named.Step() && named.Int(0) != 0) return false;
    for (const auto& version : tables_.Versions(link->ino)) {
      if (Covers(removal->known.context, version.commit)) return false;
    }
  }
  Summary dots;
  if (!AllBelow(kRowsOfLink, no, floor, &dots)) return false;
  Drop("DELETE FROM removal WHERE link = ?", no);
  Drop("DELETE FROM place WHERE link = ?", no);
  tables_.PutMetaSummary("collected", Join(collected(), dots));
  return true;
}

// --- the catalogue's

namespace {

struct Candidates {
  Summary dead;
  std::vector<Ino> inodes;
  std::vector<LinkNo> names;
};

// What may go as far as this host is concerned. Read without holding up who writes.
Candidates ReadCandidates(Database& db, std::int64_t before_ns) {
  Candidates found;
  // Entries before their folders, as a rule.
  auto inodes =
      db.Prepare("SELECT ino FROM inode WHERE gone = -1 AND pending = 0 ORDER BY ino DESC");
  while (inodes.Step()) found.inodes.push_back(inodes.Unsigned(0));
  auto names = db.Prepare(
      "SELECT r.link FROM removal r LEFT JOIN place p ON p.link = r.link AND p.ino IS NOT NULL "
      "LEFT JOIN inode i ON i.ino = p.ino "
      "WHERE (p.link IS NULL OR i.live_links > 0) AND r.time < ?");
  names << before_ns;
  while (names.Step()) found.names.push_back(names.Int(0));
  return found;
}

}  // namespace

Result<std::uint64_t> Catalogue::Collect(const VersionLimits& limits,
                                         const std::unordered_set<Ino>& in_use,
                                         const std::function<bool()>& stopped) {
  BOOST_OUTCOME_TRYV(impl_->Settle());
  Impl::Look look{impl_->commits(), impl_->MakeContext().now_ns, limits};
  const auto last = impl_->LastLook();
  if (last && last->commits == look.commits && last->limits.age_ns == limits.age_ns &&
      last->limits.absence_ns == limits.absence_ns && look.at_ns >= last->at_ns &&
      look.at_ns - last->at_ns < kLookAnyway_ns) {
    return std::uint64_t{0};
  }
  impl_->NoteLook({});
  const auto removed = impl_->Removed();
  DeviceTable& devices = impl_->devices();
  BTFC_TRY(dead, impl_->ReadLong([&](Reader& reader) -> Result<Summary> {
    return DeadRowsIn(reader.db(), devices);
  }));
  // Others let go of what this host says to know: it has to know it after a power cut, too.
  const Summary known = impl_->Known();
  if (!dead.empty()) {
    BOOST_OUTCOME_TRYV(impl_->Sync());
  }
  BTFC_TRY(floor, impl_->WriteToFree({}, [&](Session& session) -> Result<Summary> {
    Collection collection(session, removed);
    collection.Tell(known, dead, limits.absence_ns);
    return collection.Floor(limits.absence_ns);
  }));
  // Nobody but this wrote meanwhile, and there is nothing to be done: the next look is spared.
  const bool alone = impl_->commits() == ++look.commits;
  if (floor.empty() && alone) impl_->NoteLook(look);
  if (floor.empty()) return std::uint64_t{0};
  std::uint64_t all = 0;
  bool held = false;
  bool ended = false;
  for (std::uint64_t gone = 1; gone > 0 && !ended; all += gone) {
    gone = 0;
    const std::int64_t before_ns = impl_->MakeContext().now_ns - limits.age_ns;
    BTFC_TRY(found, impl_->ReadLong([&](Reader& reader) -> Result<Candidates> {
      return ReadCandidates(reader.db(), before_ns);
    }));
    held = std::erase_if(found.inodes, [&](Ino ino) { return in_use.contains(ino); }) > 0;
    if (all == 0 && !impl_->NoteExamined(floor, found.inodes.size(), found.names.size())) break;
    const auto each = [&](const auto& numbers, const auto& let_go) -> Result<void> {
      for (std::size_t at = 0; at < numbers.size();) {
        ended = stopped && stopped();
        if (ended) return Ok();
        const std::size_t end = std::min(numbers.size(), at + kLetGoAtOnce);
        BOOST_OUTCOME_TRYV(impl_->WriteToFree({}, [&](Session& session) -> Result<void> {
          Collection collection(session, removed);
          for (; at < end; ++at) gone += let_go(collection, numbers[at]) ? 1 : 0;
          return Ok();
        }));
        impl_->GiveWay();
      }
      return Ok();
    };
    BOOST_OUTCOME_TRYV(each(found.inodes, [&](Collection& collection, Ino ino) {
      return collection.LetGo(ino, floor);
    }));
    BOOST_OUTCOME_TRYV(each(found.names, [&](Collection& collection, LinkNo link) {
      return collection.LetNameGo(link, floor);
    }));
  }
  if (all == 0 && alone && !held && !ended) impl_->NoteLook(look);
  return all;
}

Result<bool> Catalogue::WasLeftBehind() {
  return impl_->Read([&](Reader& reader) -> Result<bool> {
    return reader.db().Number("SELECT count(*) FROM meta WHERE key = 'left'") > 0;
  });
}

}  // namespace btfc::index
