#include "torrent/doorkeeper.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <memory>
#include <vector>

namespace btfc::torrent {
namespace {

constexpr std::chrono::seconds kHandshakeMax{5};
constexpr std::size_t kStrangersMax = 100;      // in handshakes at one time
constexpr std::size_t kStrangersOfOneMax = 40;  // of them from one address

struct CloseFolder {
  void operator()(DIR* folder) const { ::closedir(folder); }
};

struct Address {
  std::string ip;
  std::uint16_t port = 0;
  std::string endpoint() const {
    return (ip.find(':') != std::string::npos ? "[" + ip + "]" : ip) + ":" + std::to_string(port);
  }
};

Address FromStorage(const sockaddr_storage& storage) {
  Address address;
  std::array<char, INET6_ADDRSTRLEN> text{};
  if (storage.ss_family == AF_INET) {
    const auto* const v4 = reinterpret_cast<const sockaddr_in*>(&storage);
    ::inet_ntop(AF_INET, &v4->sin_addr, text.data(), text.size());
    address.port = ntohs(v4->sin_port);
  } else if (storage.ss_family == AF_INET6) {
    const auto* const v6 = reinterpret_cast<const sockaddr_in6*>(&storage);
    ::inet_ntop(AF_INET6, &v6->sin6_addr, text.data(), text.size());
    address.port = ntohs(v6->sin6_port);
  }
  address.ip = text.data();
  return address;
}

struct Visitor {
  int fd = -1;
  Address from;
  Doorkeeper::Clock::time_point since;
};

// The connections of this process that came in at the port.
std::vector<Visitor> Visitors(std::uint16_t port) {
  std::vector<Visitor> visitors;
  const std::unique_ptr<DIR, CloseFolder> folder(::opendir("/proc/self/fd"));
  if (!folder) return visitors;
  while (const dirent* const entry = ::readdir(folder.get())) {
    const int fd = std::atoi(entry->d_name);
    sockaddr_storage local{}, remote{};
    socklen_t size = sizeof local;
    if (fd <= 2 || ::getsockname(fd, reinterpret_cast<sockaddr*>(&local), &size) != 0 ||
        FromStorage(local).port != port) {
      continue;
    }
    size = sizeof remote;  // a socket that listens has none
    if (::getpeername(fd, reinterpret_cast<sockaddr*>(&remote), &size) != 0) continue;
    visitors.push_back({fd, FromStorage(remote), {}});
  }
  return visitors;
}

}  // namespace

void Doorkeeper::Leave(const std::string& endpoint) {
  const auto found = known_.find(endpoint);
  if (found != known_.end()) known_.erase(found);
}

std::size_t Doorkeeper::Look(Clock::time_point now) {
  if (port_ == 0) return 0;
  std::vector<Visitor> strangers;
  std::map<std::string, Clock::time_point> still;
  for (Visitor& visitor : Visitors(port_)) {
    const std::string endpoint = visitor.from.endpoint();
    if (known_.contains(endpoint)) continue;
    const auto before = strangers_.find(endpoint);
    visitor.since = before != strangers_.end() ? before->second : now;
    still[endpoint] = visitor.since;
    strangers.push_back(std::move(visitor));
  }
  strangers_ = std::move(still);
  // Who came last is most likely to be about to finish.
  std::sort(strangers.begin(), strangers.end(),
            [](const Visitor& a, const Visitor& b) { return a.since > b.since; });
  std::map<std::string, std::size_t> of_one;
  std::size_t kept = 0;
  std::size_t ended = 0;
  for (const Visitor& visitor : strangers) {
    const bool room = kept < kStrangersMax && of_one[visitor.from.ip] < kStrangersOfOneMax;
    if (room && now - visitor.since < kHandshakeMax) {
      ++kept;
      ++of_one[visitor.from.ip];
      continue;
    }
    ::shutdown(visitor.fd, SHUT_RDWR);  // its handshake fails, and libtorrent closes it
    ++ended;
  }
  return ended;
}

}  // namespace btfc::torrent
