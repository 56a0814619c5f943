#include "torrent/doorkeeper.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <memory>
#include <optional>
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

int Option(int fd, int name) {
  int value = 0;
  socklen_t size = sizeof value;
  return ::getsockopt(fd, SOL_SOCKET, name, &value, &size) == 0 ? value : 0;
}

// The TCP sockets of this process at the port: those that listen, and those that came in. Nothing
// if that cannot be told now, for want of a descriptor.
std::optional<std::vector<int>> SocketsAt(std::uint16_t port) {
  std::vector<int> sockets;
  const std::unique_ptr<DIR, CloseFolder> folder(::opendir("/proc/self/fd"));
  if (!folder) return std::nullopt;
  while (const dirent* const entry = ::readdir(folder.get())) {
    const int fd = std::atoi(entry->d_name);
    sockaddr_storage local{};
    socklen_t size = sizeof local;
    if (fd > 2 && ::getsockname(fd, reinterpret_cast<sockaddr*>(&local), &size) == 0 &&
        FromStorage(local).port == port && Option(fd, SO_TYPE) == SOCK_STREAM) {
      sockets.push_back(fd);
    }
  }
  return sockets;
}

// Those that are connected now.
std::vector<Visitor> Visitors(std::uint16_t port) {
  std::vector<Visitor> visitors;
  for (const int fd : SocketsAt(port).value_or(std::vector<int>())) {
    sockaddr_storage remote{};
    socklen_t size = sizeof remote;
    if (::getpeername(fd, reinterpret_cast<sockaddr*>(&remote), &size) != 0) continue;
    visitors.push_back({fd, FromStorage(remote), {}});
  }
  return visitors;
}

}  // namespace

void Doorkeeper::Leave(int socket) {
  const auto found = known_.find(socket);
  if (found != known_.end()) known_.erase(found);
}

std::size_t Doorkeeper::Look(Clock::time_point now) {
  if (port_ == 0) return 0;
  std::vector<Visitor> strangers;
  std::map<std::string, Clock::time_point> still;
  for (Visitor& visitor : Visitors(port_)) {
    if (known_.contains(visitor.fd)) continue;
    const std::string endpoint = visitor.from.endpoint();
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

bool Doorkeeper::Close() {
  if (port_ == 0) return true;
  const auto sockets = SocketsAt(port_);
  if (!sockets) return false;
  bool closed = true;
  for (const int fd : *sockets) {
    if (known_.contains(fd) || closed_.contains(fd)) continue;
    const bool listens = Option(fd, SO_ACCEPTCONN) != 0;
    ::shutdown(fd, SHUT_RDWR);  // one that listens accepts no more; a handshake fails
    if (listens) {
      closed_.insert(fd);
    } else {
      closed = false;  // even one whose other end is gone, for libtorrent may not know it yet
    }
  }
  return closed;
}

}  // namespace btfc::torrent
