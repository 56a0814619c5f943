// Which horizon this host has, and whose rows it may take for it. tests/model/collection.py has the
// rules.
#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <tuple>
#include <utility>

#include "index/catalogue_impl.h"
#include "index/collection.h"
#include "index/summaries.h"

namespace btfc::index {
namespace {

// Of two groups that went on without each other the lower one goes on: the one whose horizon counts
// more devices, or the lowest one.
using Rank = std::tuple<std::int64_t, std::optional<DeviceId>, DeviceId>;

Rank RankOf(const Summary& horizon, const Parts& parts, const DeviceId& device) {
  std::int64_t counted = 0;
  std::optional<DeviceId> lowest;
  for (const auto& [one, n] : horizon) {
    if (!IsCounted(horizon, parts, one)) continue;
    ++counted;
    if (!lowest) lowest = one;
  }
  return {-counted, lowest, device};
}

}  // namespace

// --- what this host keeps of it

bool Collection::WasLeftBehind() {
  return db_.Number("SELECT count(*) FROM meta WHERE key = 'left'") > 0;
}

void Collection::NoteLeftBehind() {
  db_.Execute("INSERT OR REPLACE INTO meta (key, value) VALUES ('left', 1)");
}

// Of each host the latest row, whichever of its devices wrote it: a later device knows the rows of
// the one before, even where the clock went back between them.
Collection::Hosts Collection::ReadHosts() {
  Hosts hosts;
  auto find = db_.Prepare(
      "SELECT d.key, d.id, s.dev FROM device d LEFT JOIN seen s "
      "ON s.dev = d.dev WHERE d.key IS NOT NULL AND d.role <> 2 ORDER BY d.time, d.dev");
  while (find.Step()) {
    const auto key = find.Fixed<NodeKey>(0);
    if (removed_.contains(key)) continue;
    Host& host = hosts[key];
    host.devices.push_back(find.Fixed<DeviceId>(1));
    if (find.IsNull(2)) continue;
    auto row = tables_.GetSeen(host.devices.back());
    const bool earlier = row && host.said && Covers(host.said->known, row->dot);
    if (row && !earlier) host.said = std::move(row);
  }
  return hosts;
}

// Reading them takes as long as there are hosts, squared.
const Collection::Hosts& Collection::KnownHosts() {
  if (!hosts_) hosts_ = ReadHosts();
  return *hosts_;
}

// --- horizons

// Something deleted is open for writing: its next version would bring it back. As would the first
// one of a new file its folder.
bool Collection::Busy() {
  return db_.Number(
             "SELECT EXISTS (SELECT 1 FROM dirty d JOIN inode i ON i.ino = d.ino "
             "WHERE i.live_links = 0 AND i.pending = 0 AND i.kind IS NOT NULL AND d.orphan = 0) "
             "OR EXISTS (SELECT 1 FROM inode i JOIN place p ON p.ino = i.ino "
             "JOIN inode f ON f.ino = p.parent "
             "WHERE i.pending = 1 AND f.kind IS NOT NULL AND f.live_links = 0 AND f.ino <> 1)") > 0;
}

// It lives, but below the horizon it was dead: others may have let go of it. Who was left out
// cannot tell by the removals that it has now, as they may be later ones.
bool Collection::Strange(Ino ino, const Summary& horizon, bool left_out) {
  const auto inode = tables_.GetInode(ino);
  if (!inode || inode->dot.n == 0 || !Covers(horizon, inode->dot)) return false;
  for (const LinkNo no : tables_.LinksOf(ino)) {
    const auto removal = tables_.GetRemoval(no);
    if (removal && !left_out && !Covers(horizon, removal->dot)) return false;
    const auto link = tables_.GetLink(no);
    if (link && IsLive(*link) && link->dot.n != 0 && Covers(horizon, link->dot)) return false;
  }
  return true;
}

bool Collection::IsLeftOut(const Summary& horizon, const Parts& parts) {
  return horizon.contains(session_.self()) && !IsCounted(horizon, parts, session_.self());
}

bool Collection::Fits(const Summary& horizon, const Parts& parts) {
  if (!Covers(session_.known(), horizon)) return false;
  auto find = db_.Prepare(
      "SELECT DISTINCT p.ino FROM removal r CROSS JOIN place p ON p.link = r.link "
      "CROSS JOIN inode i ON i.ino = p.ino WHERE i.live_links > 0");
  std::vector<Ino> revived;
  while (find.Step()) revived.push_back(find.Unsigned(0));
  const bool left_out = IsLeftOut(horizon, parts);
  return std::none_of(revived.begin(), revived.end(),
                      [&](Ino ino) { return Strange(ino, horizon, left_out); });
}

void Collection::JoinHorizon(const Hosts& hosts, const Summary& raised, const Parts& raised_parts,
                             bool at_once) {
  const Horizon mine{horizon(), parts()};
  // What a device's host has said that it has.
  std::map<DeviceId, const Summary*> said;
  for (const auto& [key, host] : hosts) {
    const bool self = std::count(host.devices.begin(), host.devices.end(), session_.self()) > 0;
    if (!self && !host.said) continue;
    const Summary& its = self ? mine.summary : host.said->horizon;
    for (const DeviceId& device : host.devices) said[device] = &its;
  }
  const Promised promised = [&said](const DeviceId& device, const Summary& horizon) {
    const auto found = said.find(device);
    return found != said.end() && Covers(*found->second, horizon);
  };
  const auto joined = Joined(mine, {raised, raised_parts}, promised, at_once);
  if (!joined) return;
  tables_.PutMetaSummary("parts", joined->parts);
  tables_.PutMetaSummary("horizon", joined->summary);
}

// Whether a horizon is of all hosts that this one knows, or they have it.
bool Collection::NamesAll(const Hosts& hosts, const Summary& raised) {
  const DeviceId& self = session_.self();
  return std::all_of(hosts.begin(), hosts.end(), [&](const auto& entry) {
    const Host& host = entry.second;
    return std::any_of(
               host.devices.begin(), host.devices.end(),
               [&](const DeviceId& device) { return device == self || raised.contains(device); }) ||
           (host.said && Covers(host.said->horizon, raised));
  });
}

void Collection::Adopt(const Summary& raised, const Parts& raised_parts, Adoption adoption) {
  if (Covers(horizon(), raised) || !Covers(session_.known(), raised)) return;
  const Hosts& hosts = KnownHosts();
  // Who is not counted in it holds up nobody by having it.
  const bool at_once =
      adoption == Adoption::kDone || !IsCounted(raised, raised_parts, session_.self());
  if (!at_once && !NamesAll(hosts, raised)) return;
  // What looks at all that was deleted comes last: a horizon may wait for long to be adopted.
  if (!Busy() && Fits(raised, raised_parts)) JoinHorizon(hosts, raised, raised_parts, at_once);
}

// Who is not counted here has to have the horizon itself: it may bring back what others let go of.
bool Collection::IsBehind(const Giver& giver) {
  const auto split = Split(horizon(), parts());
  return std::any_of(split.begin(), split.end(), [&giver](const Part& part) {
    if (!KnowsAny(giver.until, part.horizon)) return false;
    return !Covers(giver.until, part.horizon) ||
           (!part.Counts(giver.device) && !Covers(giver.horizon, part.horizon));
  });
}

// Who counts has the part, and takes nothing from this host. All others wait, or have it
// themselves.
bool Collection::Agreed(const Part& part) {
  if (part.out.contains(session_.self())) return true;
  const Hosts& hosts = KnownHosts();
  return std::all_of(hosts.begin(), hosts.end(), [&](const auto& entry) {
    const Host& host = entry.second;
    return std::none_of(host.devices.begin(), host.devices.end(),
                        [&part](const DeviceId& device) { return part.Counts(device); }) ||
           std::count(host.devices.begin(), host.devices.end(), session_.self()) > 0 ||
           (host.said && Covers(host.said->horizon, part.horizon));
  });
}

// The giver let go of what lives here, or all who were counted, as this host was not, agreed to.
bool Collection::IsLost(const Giver& giver) {
  const Summary mine = horizon();
  if (!Ready(mine, giver.collected, giver.parts, session_.known()) &&
      !Fits(giver.collected, giver.parts)) {
    return true;
  }
  if (!Covers(session_.known(), giver.horizon)) return false;
  const auto without = KeptOut(session_.self(), mine, giver.horizon, giver.parts);
  return std::any_of(without.begin(), without.end(),
                     [this](const Part& part) { return Agreed(part); }) &&
         !Fits(giver.horizon, giver.parts);
}

// Each lacks something below the other's horizon, so none will take anything from the other, ever.
bool Collection::IsApart(const Giver& giver) {
  return Lacks(giver.device, giver.until, horizon(), parts()) &&
         Lacks(session_.self(), session_.known(), giver.horizon, giver.parts);
}

// Both of two that are apart agree on which is left behind, as they do if both are lost: parts may
// be that grew apart. Then the higher device begins anew.
bool Collection::LeftBy(const Giver& giver) {
  if (Busy()) return false;
  const Summary mine = horizon();
  if (IsApart(giver)) {
    return RankOf(giver.horizon, giver.parts, giver.device) <
           RankOf(mine, parts(), session_.self());
  }
  if (!IsLost(giver)) return false;
  const bool both =
      !Ready(giver.horizon, collected(), parts(), giver.until) ||
      (Covers(giver.until, mine) && !KeptOut(giver.device, giver.horizon, mine, parts()).empty());
  return !both || giver.device < session_.self();
}

Collection::Verdict Collection::Judge(const Giver& giver) {
  if (WasLeftBehind()) return Verdict::kLeftBehind;
  // It says more than it knows, as who goes on as a new device does for a while.
  if (!Covers(giver.until, giver.horizon) || !Covers(giver.until, giver.collected)) {
    return Verdict::kNotYet;
  }
  Adopt(giver.horizon, giver.parts, Adoption::kAgreed);
  Adopt(giver.collected, giver.parts, Adoption::kDone);
  known_before_ = session_.known();
  if (LeftBy(giver)) return Verdict::kLeftBehind;
  const bool take = !IsBehind(giver) && Ready(giver.horizon, collected(), parts(), giver.until) &&
                    Ready(horizon(), giver.collected, giver.parts, known_before_);
  return take ? Verdict::kTake : Verdict::kNotYet;
}

// The parts of which nothing was known before.
Summary Collection::StrangeOf(const Summary& summary, const Parts& parts) const {
  Summary strange;
  for (const Part& part : Split(summary, parts)) {
    if (KnowsAny(known_before_, part.horizon)) continue;
    strange.insert(part.horizon.begin(), part.horizon.end());
  }
  return strange;
}

// Who was new to a part lacks what the giver let go of as the giver does.
void Collection::Took(const Giver& giver) {
  hosts_.reset();
  if (const Summary strange = StrangeOf(giver.collected, giver.parts); !strange.empty()) {
    tables_.PutMetaSummary("collected", Join(collected(), strange));
  }
  if (const Summary strange = StrangeOf(giver.horizon, giver.parts); !strange.empty()) {
    JoinHorizon(KnownHosts(), strange, giver.parts, true);
  }
  Adopt(giver.horizon, giver.parts, Adoption::kAgreed);
  if (session_.heard_horizons()) AdoptWhatWasSaid();
  if (LeftBy(giver)) NoteLeftBehind();
}

void Collection::AdoptWhatWasSaid() {
  std::set<std::pair<Summary, Parts>> heard;  // many say the same
  auto find = db_.Prepare("SELECT horizon, parts FROM seen");
  while (find.Step()) {
    const DeviceTable& devices = tables_.devices();
    heard.emplace(devices.Decode(find.Bytes(0)), devices.Decode(find.Bytes(1)));
  }
  for (const auto& [one, its_parts] : heard) Adopt(one, its_parts, Adoption::kAgreed);
}

std::set<NodeKey> Collection::Silent(const Hosts& hosts, const Summary& dead,
                                     std::int64_t absence_ns) {
  std::set<NodeKey> silent;
  const NodeKey self = tables_.GetDevice(session_.self())->key;
  for (const auto& [key, host] : hosts) {
    if (key == self) continue;
    auto drop = db_.Prepare("DELETE FROM awaited WHERE key = ?1 AND (?2 OR said <> ?3)");
    const std::string said =
        host.said ? ToHex(host.said->device) + std::to_string(host.said->dot.n) : "";
    drop << key << (host.said && Covers(host.said->known, dead) ? 1 : 0) << said;
    drop.Run();
    if (host.said && Covers(host.said->known, dead)) continue;
    auto since = db_.Prepare("SELECT since FROM awaited WHERE key = ?");
    since << key;
    if (since.Step()) {
      if (session_.now_ns() - since.Int(0) > absence_ns) silent.insert(key);
      continue;
    }
    auto note = db_.Prepare("INSERT INTO awaited (key, since, said) VALUES (?, ?, ?)");
    note << key << session_.now_ns() << said;
    note.Run();
  }
  return silent;
}

void Collection::Raise(const Hosts& hosts, const Summary& known, const Summary& dead,
                       std::int64_t absence_ns) {
  auto silent = Silent(hosts, dead, absence_ns);
  // Of two parts only one may leave the other behind.
  const std::size_t counted = hosts.size() - silent.size();
  if (2 * counted < hosts.size() ||
      (2 * counted == hosts.size() && silent.contains(hosts.begin()->first))) {
    silent.clear();
  }
  const NodeKey self = tables_.GetDevice(session_.self())->key;
  Summary all = known;
  for (const auto& [key, host] : hosts) {
    if (key == self || silent.contains(key)) continue;
    MeetInto(all, host.said ? host.said->known : Summary());
  }
  // All devices that are in it count but those of who is silent, or a member no more.
  Parts raised;
  for (const auto& [device, n] : all) raised[device] = 1 | kNotCounted;
  for (const auto& [key, host] : hosts) {
    if (silent.contains(key)) continue;
    bool known_to_all = false;
    for (const DeviceId& device : host.devices) {
      if (!all.contains(device)) continue;
      raised[device] = 1;
      known_to_all = true;
    }
    if (!known_to_all) return;
  }
  Adopt(all, raised, Adoption::kAgreed);
}

void Collection::Tell(const Summary& known, const Summary& dead, std::int64_t absence_ns) {
  if (WasLeftBehind()) return;
  if (dead.empty() && horizon().empty()) return;
  const Hosts& hosts = KnownHosts();
  if (!dead.empty() && !Covers(horizon(), dead)) Raise(hosts, known, dead, absence_ns);
  if (Busy()) return;
  const auto held = tables_.GetSeen(session_.self());
  const Summary mine = horizon();
  if (held && Covers(held->known, dead) && held->horizon == mine && held->parts == parts()) return;
  SeenRow row;
  row.device = session_.self();
  row.known = known;
  row.horizon = mine;
  row.parts = parts();
  row.dot = session_.NextDot();
  session_.Merge(row);
  hosts_.reset();
}

}  // namespace btfc::index
