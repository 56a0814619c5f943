#include "torrent/dialer.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <spdlog/spdlog.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <memory>
#include <utility>

namespace btfc::torrent {
namespace {

using std::chrono::milliseconds;

constexpr std::uint16_t kDefaultPort = 51413;
constexpr milliseconds kBackoffFirst{1000};
constexpr milliseconds kBackoffMax{30'000};
constexpr milliseconds kAgain{60'000};  // addresses of a name change

std::uint16_t ParsePort(std::string_view text) {
  std::uint16_t port = 0;
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), port);
  return parsed.ec == std::errc() && parsed.ptr == text.data() + text.size() ? port : 0;
}

// With what is wrong if there are none.
std::vector<std::string> Addresses(const std::string& host, std::string* problem) {
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* raw = nullptr;
  if (const int error = ::getaddrinfo(host.c_str(), nullptr, &hints, &raw); error != 0) {
    *problem = ::gai_strerror(error);
    return {};
  }
  const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> list(raw, ::freeaddrinfo);
  std::vector<std::string> addresses;
  for (const addrinfo* entry = raw; entry != nullptr; entry = entry->ai_next) {
    std::array<char, NI_MAXHOST> text{};
    if (::getnameinfo(entry->ai_addr, entry->ai_addrlen, text.data(), text.size(), nullptr, 0,
                      NI_NUMERICHOST) == 0) {
      addresses.emplace_back(text.data());
    }
  }
  return addresses;
}

}  // namespace

HostPort ParseHostPort(const std::string& text, std::uint16_t default_port) {
  if (text.starts_with('[')) {
    const auto end = text.find(']');
    if (end == std::string::npos) return {};
    const std::string host = text.substr(1, end - 1);
    if (end + 1 == text.size()) return {host, default_port};
    if (text[end + 1] != ':') return {};
    return {host, ParsePort(std::string_view(text).substr(end + 2))};
  }
  const auto colon = text.find(':');
  if (colon == std::string::npos || text.find(':', colon + 1) != std::string::npos) {
    return {text, text.empty() ? std::uint16_t{0} : default_port};
  }
  if (colon == 0) return {};
  return {text.substr(0, colon), ParsePort(std::string_view(text).substr(colon + 1))};
}

Dialer::Dialer(const std::vector<std::string>& peers, Dial dial)
    : dial_(std::move(dial)), loop_("btfc-dialer") {
  for (const std::string& text : peers) {
    HostPort peer = ParseHostPort(text, kDefaultPort);
    if (peer.port == 0) {
      spdlog::error("peer={} is not HOST or HOST:PORT", text);
      continue;
    }
    peers_.push_back(std::move(peer));
  }
  for (std::size_t i = 0; i < peers_.size(); ++i) {
    loop_.Post([this, i] { Resolve(i, kBackoffFirst); });
  }
}

void Dialer::Resolve(std::size_t index, milliseconds backoff) {
  const HostPort& peer = peers_[index];
  std::string problem;
  const auto addresses = Addresses(peer.host, &problem);
  Note(peer.host, problem);
  for (const std::string& address : addresses) dial_(address, peer.port);
  const milliseconds wait = addresses.empty() ? backoff : kAgain;
  loop_.PostAfter(
      wait, [this, index, next = std::min(backoff * 2, kBackoffMax)] { Resolve(index, next); });
}

// One line when a name begins to lead nowhere, one when that is over.
void Dialer::Note(const std::string& host, const std::string& problem) {
  const std::lock_guard lock(mutex_);
  if (problem.empty()) {
    if (unresolved_.erase(host) > 0) spdlog::info("peer={}: the name is known now", host);
  } else if (unresolved_.insert(host).second) {
    spdlog::warn("peer={}: no host of that name is known ({}); looked up again from time to time",
                 host, problem);
  }
}

std::vector<std::string> Dialer::Unresolved() const {
  const std::lock_guard lock(mutex_);
  return {unresolved_.begin(), unresolved_.end()};
}

}  // namespace btfc::torrent
