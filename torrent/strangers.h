// Connections that were refused, by the address that they came from. Internal to torrent/.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "torrent/swarm.h"

namespace btfc::torrent {

// All calls from any thread.
class Strangers {
 public:
  // The first connection of each address is named in the log; `what` is libtorrent's or TLS's word.
  void Note(const std::string& ip, const std::string& what);

  std::uint64_t connections() const { return connections_; }
  // Those first that came most, at most 20.
  std::vector<RefusedAddress> Addresses() const;

 private:
  mutable std::mutex mutex_;
  std::map<std::string, std::uint64_t> by_address_;  // guarded by mutex_
  std::atomic<std::uint64_t> connections_ = 0;
};

}  // namespace btfc::torrent
