#include "torrent/listen_addresses.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <memory>
#include <optional>

namespace btfc::torrent {
namespace {

constexpr int kPortTries = 100;

struct Interface {
  std::string name;
  std::string address;
  bool usual = false;  // neither loopback nor link-local
};

struct FreeIfaddrs {
  void operator()(ifaddrs* list) const { ::freeifaddrs(list); }
};

std::optional<Interface> Describe(const ifaddrs& entry) {
  if (entry.ifa_addr == nullptr || (entry.ifa_flags & IFF_UP) == 0) return std::nullopt;
  Interface result;
  result.name = entry.ifa_name;
  result.usual = (entry.ifa_flags & IFF_LOOPBACK) == 0;
  std::array<char, INET6_ADDRSTRLEN> text{};
  if (entry.ifa_addr->sa_family == AF_INET) {
    const auto* const v4 = reinterpret_cast<const sockaddr_in*>(entry.ifa_addr);
    ::inet_ntop(AF_INET, &v4->sin_addr, text.data(), text.size());
  } else if (entry.ifa_addr->sa_family == AF_INET6) {
    const auto* const v6 = reinterpret_cast<const sockaddr_in6*>(entry.ifa_addr);
    // They mean nothing without their interface, and libtorrent takes none as a peer.
    if (IN6_IS_ADDR_LINKLOCAL(&v6->sin6_addr)) return std::nullopt;
    ::inet_ntop(AF_INET6, &v6->sin6_addr, text.data(), text.size());
  } else {
    return std::nullopt;
  }
  result.address = text.data();
  return result;
}

std::vector<Interface> Interfaces() {
  ifaddrs* raw = nullptr;
  if (::getifaddrs(&raw) != 0) return {};
  const std::unique_ptr<ifaddrs, FreeIfaddrs> list(raw);
  std::vector<Interface> interfaces;
  for (const ifaddrs* entry = raw; entry != nullptr; entry = entry->ifa_next) {
    if (auto found = Describe(*entry)) interfaces.push_back(std::move(*found));
  }
  return interfaces;
}

struct SocketAddress {
  sockaddr_storage storage{};
  socklen_t size = 0;
};

std::optional<SocketAddress> Parse(const std::string& address, std::uint16_t port) {
  SocketAddress result;
  auto* const v4 = reinterpret_cast<sockaddr_in*>(&result.storage);
  auto* const v6 = reinterpret_cast<sockaddr_in6*>(&result.storage);
  if (::inet_pton(AF_INET, address.c_str(), &v4->sin_addr) == 1) {
    v4->sin_family = AF_INET;
    v4->sin_port = htons(port);
    result.size = sizeof(sockaddr_in);
  } else if (::inet_pton(AF_INET6, address.c_str(), &v6->sin6_addr) == 1) {
    v6->sin6_family = AF_INET6;
    v6->sin6_port = htons(port);
    result.size = sizeof(sockaddr_in6);
  } else {
    return std::nullopt;
  }
  return result;
}

// Binds and lets go again; 0 or an errno. `port` is what was bound, for port 0.
int Try(const std::string& address, std::uint16_t& port, int type) {
  const auto where = Parse(address, port);
  if (!where) return EINVAL;
  const int fd = ::socket(where->storage.ss_family, type | SOCK_CLOEXEC, 0);
  if (fd < 0) return errno;
  const int yes = 1;
  // As libtorrent does, so that connections that are still closing do not count.
  if (type == SOCK_STREAM) ::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
  if (where->storage.ss_family == AF_INET6) {
    ::setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &yes, sizeof(yes));
  }
  int error = 0;
  // It does not listen: who dialled meanwhile would be let in, and dropped.
  if (::bind(fd, reinterpret_cast<const sockaddr*>(&where->storage), where->size) != 0) {
    error = errno;
  } else if (port == 0) {
    sockaddr_storage bound{};
    socklen_t size = sizeof(bound);
    ::getsockname(fd, reinterpret_cast<sockaddr*>(&bound), &size);
    port = ntohs(bound.ss_family == AF_INET6 ? reinterpret_cast<sockaddr_in6*>(&bound)->sin6_port
                                             : reinterpret_cast<sockaddr_in*>(&bound)->sin_port);
  }
  ::close(fd);
  return error;
}

int TryAll(const std::vector<std::string>& addresses, std::uint16_t& port, std::string* failed) {
  for (const std::string& address : addresses) {
    for (const int type : {SOCK_STREAM, SOCK_DGRAM}) {
      if (const int error = Try(address, port, type)) {
        *failed = address;
        return error;
      }
    }
  }
  return 0;
}

}  // namespace

std::vector<std::string> ListenAddresses(const std::vector<std::string>& wanted) {
  std::vector<std::string> addresses;
  const auto interfaces = Interfaces();
  for (const auto& interface : interfaces) {
    const bool named = std::find(wanted.begin(), wanted.end(), interface.name) != wanted.end();
    if (wanted.empty() ? interface.usual : named) addresses.push_back(interface.address);
  }
  // An interface that has just come up has IPv6 addresses that cannot be bound for a second or two
  // (RFC 4862, 5.4). Who asks again finds them.
  std::erase_if(addresses, [](const std::string& address) {
    std::uint16_t any = 0;
    return Try(address, any, SOCK_DGRAM) == EADDRNOTAVAIL;
  });
  for (const std::string& text : wanted) {
    if (Parse(text, 0)) addresses.push_back(text);
  }
  if (addresses.empty() && wanted.empty()) addresses.emplace_back("127.0.0.1");
  std::sort(addresses.begin(), addresses.end());
  addresses.erase(std::unique(addresses.begin(), addresses.end()), addresses.end());
  return addresses;
}

std::vector<std::string> AbsentFrom(const std::vector<std::string>& wanted) {
  std::vector<std::string> absent;
  for (const std::string& text : wanted) {
    if (!Parse(text, 0) && ::if_nametoindex(text.c_str()) == 0) absent.push_back(text);
  }
  return absent;
}

Result<std::uint16_t> FreePort(const std::vector<std::string>& addresses, std::uint16_t first,
                               std::string* failed) {
  int error = EADDRINUSE;
  for (int i = 0; i < kPortTries; ++i) {
    std::uint16_t port = 0;
    if (first != 0) {
      if (first + i > 65535) break;
      port = static_cast<std::uint16_t>(first + i);
    }
    error = TryAll(addresses, port, failed);
    if (error == 0) return port;
    if (error != EADDRINUSE) break;
  }
  return Errno(error);
}

}  // namespace btfc::torrent
