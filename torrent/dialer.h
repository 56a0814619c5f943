// Keeps dialling the hosts that were named by hand. Internal to torrent/.
#pragma once

#include <chrono>
#include <functional>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "torrent/loop.h"

namespace btfc::torrent {

struct HostPort {
  std::string host;
  std::uint16_t port = 0;
};
// HOST, HOST:PORT, [V6]:PORT or a bare V6 address; port 0 if the text is none of these.
HostPort ParseHostPort(const std::string& text, std::uint16_t default_port);

// Resolves names again and again, on a loop of its own because that may take long. The addresses
// are dialled for ever by the session, so a name only has to be looked up for new ones.
class Dialer {
 public:
  using Dial = std::function<void(const std::string& ip, std::uint16_t port)>;
  Dialer(const std::vector<std::string>& peers, Dial dial);
  void Stop() { loop_.Stop(); }
  // The hosts whose names led to no address when they were last looked up. Any thread.
  std::vector<std::string> Unresolved() const;

 private:
  void Resolve(std::size_t index, std::chrono::milliseconds backoff);
  void Note(const std::string& host, const std::string& problem);

  std::vector<HostPort> peers_;
  const Dial dial_;
  mutable std::mutex mutex_;
  std::set<std::string> unresolved_;  // guarded by mutex_
  Loop loop_;                         // last: its tasks use the others
};

}  // namespace btfc::torrent
