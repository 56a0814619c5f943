// The swarm: this host's connections to the others, gossip of the index, and objects to and fro.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "index/content.h"
#include "index/ids.h"
#include "index/merkle.h"
#include "index/replica.h"
#include "index/result.h"
#include "torrent/identity.h"
#include "torrent/object_port.h"

namespace btfc::torrent {

class LinkListener;

struct SwarmOptions {
  ClusterKey cluster;
  NodeIdentity node;
  std::string host_name;
  std::filesystem::path state_dir;    // resume data, piece layers
  std::vector<std::string> listen;    // addresses or interface names; empty: all but loopback
  std::uint16_t port = 51413;         // the next free one if it is taken
  std::vector<std::string> peers;     // HOST[:PORT]
  std::vector<std::string> trackers;  // URLs
  bool lpd = true;
  bool dht = false;
  bool read_only = false;  // serves objects, sends no rows
  bool lazy = false;       // fetches only what is read
};

struct PeerStatus {
  index::DeviceId device;
  std::string name;
  std::string address;   // host:port
  bool in_sync = false;  // its summary covers ours and ours its
  // What it still has to fetch; not known for up to a second after its index grew.
  struct Missing {
    std::uint64_t objects = 0;
    std::uint64_t bytes = 0;
  };
  std::optional<Missing> missing;
  bool lazy = false;  // it fetches only what is read
  std::int64_t clock_offset_ns = 0;
  std::uint64_t sent_bytes = 0;
  std::uint64_t received_bytes = 0;
};

struct TransferStatus {
  index::ContentId id;
  std::uint64_t done_bytes = 0;
  int sources = 0;
};

struct RefusedAddress {
  std::string ip;
  std::uint64_t connections = 0;
};

struct SwarmStatus {
  std::uint16_t port = 0;
  std::vector<PeerStatus> peers;
  std::vector<TransferStatus> fetching;
  std::uint64_t waiting = 0;            // objects wanted, not begun
  bool no_room = false;                 // the disk is too full to fetch what nobody waits for
  std::uint64_t refused_peers = 0;      // bad certificates
  std::vector<RefusedAddress> refused;  // where they came from, those first that came most
  std::uint64_t late_connections = 0;   // of members, to an object's torrent that was unloaded
  std::uint64_t bad_messages = 0;
  std::vector<std::string> unresolved_peers;  // of SwarmOptions::peers: names without an address
  std::vector<std::string> absent_listen;     // of SwarmOptions::listen: not on this host now
};

// All calls from any thread; callbacks come on the swarm's own threads with no lock held.
class Swarm {
 public:
  using Done = std::function<void(Result<void>)>;

  // Opens the port and starts; peers are looked for in the background. `replica` and `objects`
  // outlive the swarm.
  static Result<std::unique_ptr<Swarm>> Start(const SwarmOptions& options, index::Replica& replica,
                                              ObjectPort& objects, std::string* why);
  ~Swarm();
  // Ends transfers, saves their state and closes; afterwards no callback comes any more.
  void Stop();

  // The index has new rows for the others.
  void Published();
  // Fetch this object whole, when it is its turn; from whichever peer has it, whenever one comes.
  void Want(const index::ContentId& id);
  // Nobody needs it any more.
  void Unwant(const index::ContentId& id);
  // Bytes [offset, offset + length) of an object are needed now (also in lazy mode). `done` comes
  // once: with success when pread of those bytes in ObjectPort::PartialPath (or in the whole
  // object, if it arrived meanwhile) gives verified bytes; Error::kCancelled after CancelRead or
  // Stop. It waits for ever otherwise: the deadline is the caller's.
  std::uint64_t Read(const index::ContentId& id, std::uint64_t offset, std::uint64_t length,
                     Done done);
  void CancelRead(std::uint64_t read);
  // The hashes of the pieces of an object that will soon be in the store; optional.
  void Hashed(const index::ContentId& id, const std::vector<index::Hash>& pieces);
  // The same of any object, if they were kept: of the pieces that Hashed names. Reads the disk.
  std::optional<std::vector<index::Hash>> PiecesOf(const index::ContentId& id) const;
  // An object is in the store, ready to be served.
  void Available(const index::ContentId& id);
  // Stop serving an object whose file is about to change or go. `done` when the swarm has no
  // descriptor or mapping of it any more.
  void Withdraw(const index::ContentId& id, std::function<void()> done);

  SwarmStatus Status() const;

  // Where messages come in. For tests that play a member without a connection.
  LinkListener& links();

 private:
  class Impl;
  explicit Swarm(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace btfc::torrent
