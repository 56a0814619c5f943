// The hosts that this one is connected to: who they are, and which of several connections to one
// host is used. Internal to torrent/.
#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "index/ids.h"
#include "torrent/link.h"
#include "torrent/loop.h"
#include "torrent/swarm.h"

namespace btfc::torrent {

// A connected host. What is not atomic is constant.
struct Peer {
  LinkPtr link;
  index::DeviceId device;
  std::string name;
  std::uint16_t port = 0;  // where it takes TLS connections
  bool read_only = false;
  std::atomic<std::int64_t> clock_offset_ns = 0;  // its wall clock less ours
  std::atomic<bool> in_sync = false;
  // What it said of the contents that it lacks, if nothing came that may have changed it since.
  std::atomic<bool> holding_known = false;
  std::atomic<bool> lazy = false;
  std::atomic<std::uint64_t> missing_objects = 0;
  std::atomic<std::uint64_t> missing_bytes = 0;
  std::atomic<std::uint64_t> content_sent_bytes = 0;
  std::atomic<std::uint64_t> content_received_bytes = 0;
};
using PeerPtr = std::shared_ptr<Peer>;

struct MembersOptions {
  index::DeviceId self;
  std::uint64_t incarnation = 0;  // of self
  Sha256 node_key{};
  std::string host_name;
  bool read_only = false;
};

// Used on the swarm's loop, except where noted.
class Members {
 public:
  struct Events {
    std::function<void(const PeerPtr&)> up;
    std::function<void(const PeerPtr&)> down;
    std::function<void(const std::string& ip, std::uint16_t port)> dial;
    std::function<void(const std::string& ip, std::uint16_t port)> redial;
  };

  Members(MembersOptions options, Loop& loop, Events events);

  void SetPort(std::uint16_t port) { port_ = port; }
  void LinkUp(const LinkPtr& link);
  void LinkDown(const LinkPtr& link);
  // Deals with what concerns the connection itself. Answers the peer if the message is for others.
  PeerPtr Take(const LinkPtr& link, Kind kind, std::string_view payload);
  // Once a second: asks for a sign of life, ends what is dead.
  void Tick();

  // Any thread. The other end sent what no host of this protocol sends: it is counted, named once,
  // and kept away for a while.
  void Nonsense(const LinkPtr& link, std::string_view what);
  // Any thread. A message that a newer host may send: counted, named once.
  void Unknown(const LinkPtr& link, Kind kind);
  // Any thread.
  std::vector<PeerPtr> Peers() const;
  std::uint64_t bad_messages() const { return bad_messages_; }

 private:
  struct Connection {
    LinkPtr link;
    PeerPtr peer;        // after its hello
    bool spare = false;  // its host is connected by another link
    Link::Clock::time_point since;
  };

  void SendHello(const LinkPtr& link);
  void TakeHello(Connection& connection, std::string_view payload);
  void TakePing(const LinkPtr& link, std::string_view payload);
  void TakePong(Connection& connection, std::string_view payload);
  void TakeAddresses(const LinkPtr& link, std::string_view payload);
  void Settle(Connection& connection);
  void MakeSpare(Connection& connection);
  void Announce(const PeerPtr& peer);
  void DialUnlessConnected(const index::DeviceId& device, const std::string& ip,
                           std::uint16_t port);
  bool Preferred(const Link& fresh, const Peer& used) const;
  bool Connected(const index::DeviceId& device) const;

  const MembersOptions options_;
  Loop& loop_;
  const Events events_;
  std::uint16_t port_ = 0;
  std::map<std::uint64_t, Connection> connections_;  // by link number
  // The last one that this host made and gave up for another: its address is not dialled soon, but
  // for the device to be lost.
  std::map<index::DeviceId, LinkPtr> given_up_;

  struct Ban {
    Link::Clock::time_point until;
    std::chrono::seconds length{0};
  };

  mutable std::mutex mutex_;
  std::map<index::DeviceId, PeerPtr> used_;  // guarded by mutex_
  std::map<Sha256, Ban> bans_;               // guarded by mutex_; by node key
  std::set<std::string> named_;              // guarded by mutex_
  std::atomic<std::uint64_t> bad_messages_ = 0;
};

}  // namespace btfc::torrent
