// Takes deltas from peers. Internal to torrent/.
#pragma once

#include <map>
#include <memory>

#include "index/replica.h"
#include "torrent/delta_sender.h"
#include "torrent/loop.h"
#include "torrent/members.h"

namespace btfc::torrent {

// On a loop of its own: merging many rows takes seconds. Public calls from any thread.
class DeltaReceiver {
 public:
  DeltaReceiver(index::Replica& replica, Members& members, DeltaSender& sender);
  void Stop() { loop_.Stop(); }

  void PeerDown(const PeerPtr& peer);
  void Take(const PeerPtr& peer, wire::Delta delta);

 private:
  struct State {
    std::uint64_t id = 0;
    std::unique_ptr<index::DeltaWriter> writer;  // null when the rest of this delta is skipped
    std::uint64_t dealt_bytes = 0;
    std::uint64_t told_bytes = 0;
    bool refused = false;  // said so
  };

  void TakePart(const PeerPtr& peer, State& state, const wire::Delta& delta);
  void Finish(const PeerPtr& peer, State& state, const wire::Delta& delta);

  index::Replica& replica_;
  Members& members_;
  DeltaSender& sender_;
  std::map<const Peer*, State> states_;
  Loop loop_;  // last: its tasks use the others
};

}  // namespace btfc::torrent
