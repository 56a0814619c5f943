// Who may be connected. Ends connections of strangers, which libtorrent would keep: it waits for
// ever for a TLS handshake to end, and takes as many of them as there are descriptors. And it knows
// who is a member no more. Internal to torrent/.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>

#include "torrent/certificates.h"

namespace btfc::torrent {

// Used on libtorrent's network thread, on which sockets are closed: what is found here stays open
// meanwhile.
class Doorkeeper {
 public:
  using Clock = std::chrono::steady_clock;

  // `refuses` answers from memory.
  explicit Doorkeeper(std::function<bool(const Sha256& node_key)> refuses)
      : refuses_(std::move(refuses)) {}

  // A certificate of the cluster is not enough: this key's host was removed. Ask now and then.
  bool Refuses(const Sha256& node_key) const { return refuses_ && refuses_(node_key); }

  // Everything that came in at this port is a stranger's until it is known.
  void Guard(std::uint16_t port) { port_ = port; }
  // A peer of ours, by its socket, which stays open until it has left; as often as it enters it
  // must leave.
  void Enter(int socket) { known_.insert(socket); }
  void Leave(int socket);
  // Some times a second. Answers how many it ended.
  std::size_t Look(Clock::time_point now);
  // For the end: nobody comes in any more, and strangers are ended. Answers whether libtorrent has
  // closed all of them; to be asked again until it has.
  bool Close();

 private:
  const std::function<bool(const Sha256&)> refuses_;
  std::uint16_t port_ = 0;
  std::multiset<int> known_;
  std::set<int> closed_;                                // sockets that listened
  std::map<std::string, Clock::time_point> strangers_;  // and since when they are here
};

// A peer that is known, for as long as this lives.
class Visit {
 public:
  Visit(std::shared_ptr<Doorkeeper> doorkeeper, int socket)
      : doorkeeper_(std::move(doorkeeper)), socket_(socket) {
    doorkeeper_->Enter(socket_);
  }
  ~Visit() { doorkeeper_->Leave(socket_); }
  Visit(const Visit&) = delete;
  Visit& operator=(const Visit&) = delete;

 private:
  const std::shared_ptr<Doorkeeper> doorkeeper_;
  const int socket_;
};

}  // namespace btfc::torrent
