// Cuts and sends deltas to the peers that lack rows. Internal to torrent/.
#pragma once

#include <atomic>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <set>

#include "index/replica.h"
#include "torrent/delta_spool.h"
#include "torrent/loop.h"
#include "torrent/members.h"
#include "torrent/object_port.h"

namespace btfc::torrent {

struct DeltaSenderOptions {
  std::filesystem::path folder;  // for large deltas on their way
  bool read_only = false;
  bool lazy = false;
};

// Lives on a loop of its own, so that a large delta that comes in does not hold up what goes out.
// Public calls from any thread.
class DeltaSender {
 public:
  DeltaSender(DeltaSenderOptions options, index::Replica& replica, ObjectPort& objects,
              Members& members);
  void Stop() { loop_.Stop(); }

  void PeerUp(const PeerPtr& peer);
  void PeerDown(const PeerPtr& peer);
  // This host wrote rows: they go out at once.
  void Published();
  // Rows of others came in: our summary is told, and who still lacks them after a while gets them.
  void Learned();
  // What the peer says of itself; `all`: nothing beyond that.
  void PeerKnows(const PeerPtr& peer, index::Summary summary);
  void TakeResult(const PeerPtr& peer, wire::DeltaResult result);
  void TakeProgress(const PeerPtr& peer, std::uint64_t delta_bytes);
  // What a peer says that it lacks.
  void TakeHolding(const PeerPtr& peer, const wire::Holding& holding);
  // Once a second: tells what this host lacks, where that may be news.
  void Tick();
  // A result for a delta of this peer's, with what grew of our summary.
  void SendResult(const PeerPtr& peer, std::uint64_t id, wire::DeltaResult::Status status);

 private:
  struct Outgoing {
    std::uint64_t id = 0;
    DeltaSpool spool;
    index::Summary until;
  };
  struct State {
    PeerPtr peer;
    bool heard = false;        // its first summary is here
    index::Summary confirmed;  // it said that it knows this
    index::Summary believed;   // and will when it has taken what is on its way
    index::Summary told;       // what we said that we know
    bool grown = true;         // that was more than at the last word on what we lack
    ObjectPort::Lack lacking;  // in that word
    std::optional<Outgoing> outgoing;
    std::set<std::uint64_t> unanswered;  // complete deltas without a result
    std::uint64_t last_id = 0;
    std::uint64_t stale_id = 0;  // results up to here belong to deltas that were given up
    std::uint64_t sent_bytes = 0;
    std::uint64_t dealt_bytes = 0;
    bool paused = false;
  };

  State* Find(const PeerPtr& peer);
  void PumpAll();
  void Pump(State& state);
  bool SendParts(State& state);
  bool CutNext(State& state, const index::Summary& known);
  void Pause(State& state);
  void StartOver(State& state, const index::Summary& summary);
  void TellAll();
  static void Confirm(State& state, const index::Summary& summary);
  void UpdateSync(State& state, const index::Summary& known);
  static void Grown(State& state, const index::Summary& known, wire::Summary* out);

  const DeltaSenderOptions options_;
  index::Replica& replica_;
  ObjectPort& objects_;
  Members& members_;
  std::map<const Peer*, State> states_;
  std::atomic<bool> pump_posted_ = false;
  bool tell_posted_ = false;
  bool relay_posted_ = false;
  Loop::Clock::time_point last_told_;
  Loop loop_;  // last: its tasks use the others
};

}  // namespace btfc::torrent
