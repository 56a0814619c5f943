// Which rows of what was deleted may go. The rules are those of tests/model/collection.py.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "index/horizon_parts.h"
#include "index/session.h"

namespace btfc::index {

// What a delta says of its giver.
struct Giver {
  DeviceId device;
  Summary until;
  Summary horizon;
  Parts parts;  // of the horizon
  Summary collected;
};

// Inside a transaction of the thread that writes.
class Collection {
 public:
  // `removed`: hosts that are members no more.
  Collection(Session& session, std::set<NodeKey> removed)
      : session_(session),
        tables_(session.tables()),
        db_(session.tables().db()),
        removed_(std::move(removed)) {}

  Summary horizon() { return tables_.MetaSummary("horizon"); }
  Parts parts() { return tables_.MetaSummary("parts"); }
  Summary collected() { return tables_.MetaSummary("collected"); }

  // Whether this host may take the delta. If not, it may be that it was left behind, for good.
  enum class Verdict { kTake, kNotYet, kLeftBehind };
  Verdict Judge(const Giver& giver);
  // After the rows are merged.
  void Took(const Giver& giver);
  bool WasLeftBehind();
  void NoteLeftBehind();

  // Says what this host knows, where others wait for it, and raises the horizon. `known`: what it
  // knows on the disk; `dead`: rows of what is deleted here, all of them known. A host that is
  // silent for longer than `absence_ns` is waited for no more.
  void Tell(const Summary& known, const Summary& dead, std::int64_t absence_ns);
  // Rows below it may go.
  Summary Floor(std::int64_t absence_ns);
  // An inode without a name, or a removed name of a file that has others. False if it is to stay.
  bool LetGo(Ino ino, const Summary& floor);
  bool LetNameGo(LinkNo link, const Summary& floor);

 private:
  struct Host {
    std::vector<DeviceId> devices;
    std::optional<SeenRow> said;
  };
  using Hosts = std::map<NodeKey, Host>;
  // What a horizon is adopted for: to wait for all who know of each other, or because somebody has
  // acted by it.
  enum class Adoption { kAgreed, kDone };

  Hosts ReadHosts();
  const Hosts& KnownHosts();
  bool Busy();
  bool Fits(const Summary& horizon, const Parts& parts);
  bool Strange(Ino ino, const Summary& horizon, bool left_out);
  bool IsLeftOut(const Summary& horizon, const Parts& parts);
  bool IsBehind(const Giver& giver);
  bool Agreed(const Part& part);
  bool IsLost(const Giver& giver);
  bool IsApart(const Giver& giver);
  bool LeftBy(const Giver& giver);
  bool NamesAll(const Hosts& hosts, const Summary& raised);
  void AdoptWhatWasSaid();
  bool IsLeftBehind(const Hosts& hosts, const Host& host);
  Summary StrangeOf(const Summary& summary, const Parts& parts) const;
  void JoinHorizon(const Hosts& hosts, const Summary& raised, const Parts& raised_parts,
                   bool at_once);
  void Adopt(const Summary& raised, const Parts& raised_parts, Adoption adoption);
  void Raise(const Hosts& hosts, const Summary& known, const Summary& dead,
             std::int64_t absence_ns);
  std::set<NodeKey> Silent(const Hosts& hosts, const Summary& dead, std::int64_t absence_ns);
  bool AllBelow(Sql sql, std::int64_t key, const Summary& floor, Summary* dots);
  void Drop(Sql sql, std::int64_t key);
  bool IsNamed(Ino ino);

  Session& session_;
  Tables& tables_;
  Database& db_;
  const std::set<NodeKey> removed_;
  std::optional<Hosts> hosts_;  // as they were read, if nothing was written since
  Summary known_before_;        // when a delta was judged
};

}  // namespace btfc::index
