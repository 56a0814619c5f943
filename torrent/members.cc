#include "torrent/members.h"

#include <arpa/inet.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <utility>

#include "index/derived_ids.h"

namespace btfc::torrent {
namespace {

using std::chrono::seconds;

constexpr seconds kHelloMax{10};
constexpr seconds kQuiet{2};  // then a ping
constexpr seconds kDead{8};   // without a byte
constexpr seconds kSpareMax{5};
constexpr seconds kDialPatience{3};
constexpr seconds kBanFirst{2};  // doubled each time
constexpr seconds kBanMax{600};
constexpr seconds kBanSoon{30};         // over: dialled again every few seconds until then
constexpr seconds kBanForgotten{3600};  // after it ended
constexpr std::size_t kNamedMax = 1000;

std::int64_t WallClock() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

std::int64_t SteadyClock() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(Link::Clock::now().time_since_epoch())
      .count();
}

Link::Clock::time_point Heard(const Link& link) {
  return Link::Clock::time_point(Link::Clock::duration(link.heard.load()));
}

std::string IpToBytes(const std::string& text) {
  std::array<char, 16> bytes{};
  if (::inet_pton(AF_INET, text.c_str(), bytes.data()) == 1) return {bytes.data(), 4};
  if (::inet_pton(AF_INET6, text.c_str(), bytes.data()) == 1) return {bytes.data(), 16};
  return {};
}

std::string IpFromBytes(const std::string& bytes) {
  std::array<char, INET6_ADDRSTRLEN> text{};
  if (bytes.size() == 4) ::inet_ntop(AF_INET, bytes.data(), text.data(), text.size());
  if (bytes.size() == 16) ::inet_ntop(AF_INET6, bytes.data(), text.data(), text.size());
  return text.data();
}

void AddAddress(const Peer& peer, wire::Addresses* out) {
  auto* const address = out->add_addresses();
  address->set_device(ToBytes(peer.device));
  address->set_ip(IpToBytes(peer.link->ip));
  address->set_port(peer.port);
}

}  // namespace

Members::Members(MembersOptions options, Loop& loop, Events events)
    : options_(std::move(options)), loop_(loop), events_(std::move(events)) {}

void Members::LinkUp(const LinkPtr& link) {
  {
    const std::lock_guard lock(mutex_);
    const auto ban = bans_.find(link->node_key);
    if (ban != bans_.end() && Link::Clock::now() < ban->second.until) {
      const bool soon = ban->second.until - Link::Clock::now() < kBanSoon;
      link->Close(soon ? Link::End::kNormal : Link::End::kDuplicate);
      return;
    }
  }
  connections_[link->number] = {link, nullptr, false, Link::Clock::now()};
  SendHello(link);
}

void Members::LinkDown(const LinkPtr& link) {
  const auto found = connections_.find(link->number);
  if (found == connections_.end()) return;
  const Connection connection = found->second;
  connections_.erase(found);
  if (!connection.peer || connection.spare) return;
  {
    const std::lock_guard lock(mutex_);
    used_.erase(connection.peer->device);
  }
  events_.down(connection.peer);
  // Another connection to the same host may have been waiting.
  for (auto& [number, other] : connections_) {
    if (other.peer && other.spare && other.peer->device == connection.peer->device) {
      other.spare = false;
      Settle(other);
      return;
    }
  }
  const auto given_up = given_up_.find(connection.peer->device);
  if (given_up == given_up_.end()) return;
  events_.redial(given_up->second->ip, given_up->second->port);
  given_up_.erase(given_up);
}

void Members::SendHello(const LinkPtr& link) {
  wire::Hello hello;
  hello.set_version(kProtocolVersion);
  hello.set_device(ToBytes(options_.self));
  hello.set_node_key(options_.node_key.data(), options_.node_key.size());
  hello.set_host(options_.host_name.substr(0, kHostNameMax));
  hello.set_port(port_);
  hello.set_clock_ns(WallClock());
  hello.set_read_only(options_.read_only);
  hello.set_incarnation(options_.incarnation);
  link->Send(Kind::kHello, hello);
}

PeerPtr Members::Take(const LinkPtr& link, Kind kind, std::string_view payload) {
  const auto found = connections_.find(link->number);
  if (found == connections_.end()) return nullptr;
  Connection& connection = found->second;
  if (kind == Kind::kHello) {
    TakeHello(connection, payload);
    return nullptr;
  }
  if (!connection.peer) {
    Nonsense(link, "a message before its hello");
    return nullptr;
  }
  if (kind == Kind::kPing) {
    TakePing(link, payload);
  } else if (kind == Kind::kPong) {
    TakePong(connection, payload);
  } else if (kind == Kind::kAddresses) {
    TakeAddresses(link, payload);
  } else if (!connection.spare) {
    return connection.peer;
  }
  return nullptr;
}

void Members::TakeHello(Connection& connection, std::string_view payload) {
  const LinkPtr link = connection.link;
  const auto hello = Parse<wire::Hello>(payload);
  const auto device = hello ? ToDevice(hello->device()) : std::nullopt;
  if (!hello || !device || connection.peer || hello->port() == 0 || hello->port() > 65535 ||
      hello->host().size() > kHostNameMax) {
    return Nonsense(link, "a malformed hello");
  }
  if (hello->version() < kProtocolVersion) {
    return Nonsense(link, "the hello of an older btfc, which has to be updated");
  }
  const std::string_view shown(reinterpret_cast<const char*>(link->node_key.data()),
                               link->node_key.size());
  if (hello->node_key() != shown) {
    return Nonsense(link, "a key that is not its certificate's");
  }
  if (index::DeviceIdOf(link->node_key, hello->incarnation()) != *device) {
    return Nonsense(link, "a device that is not its certificate's");
  }
  if (*device == options_.self) {  // ourselves, by some other address
    link->Close(Link::End::kDuplicate);
    return;
  }
  auto peer = std::make_shared<Peer>();
  peer->link = link;
  peer->device = *device;
  peer->name = SafeName(hello->host());
  peer->port = static_cast<std::uint16_t>(hello->port());
  peer->read_only = hello->read_only() || link->read_only;
  peer->clock_offset_ns = hello->clock_ns() - WallClock();
  connection.peer = std::move(peer);
  Settle(connection);
}

bool Members::Preferred(const Link& fresh, const Peer& used) const {
  if (fresh.outgoing == used.link->outgoing) return fresh.number > used.link->number;
  // Both ends must choose the same: the connection that the lower device made.
  const bool ours = options_.self < used.device;
  return fresh.outgoing == ours;
}

// Decides whether the connection is the one that is used for its host.
void Members::Settle(Connection& connection) {
  const PeerPtr peer = connection.peer;
  PeerPtr before;
  bool refused = false;
  {
    const std::lock_guard lock(mutex_);
    const auto found = used_.find(peer->device);
    if (found != used_.end()) before = found->second;
    if (before && before->link->node_key != peer->link->node_key) {
      refused = true;
    } else if (!before || Preferred(*peer->link, *before)) {
      used_[peer->device] = peer;
      if (before) {
        peer->content_sent_bytes = before->content_sent_bytes.load();
        peer->content_received_bytes = before->content_received_bytes.load();
      }
    }
  }
  if (refused) return Nonsense(peer->link, "the device of another host");
  if (before && !Preferred(*peer->link, *before)) return MakeSpare(connection);
  if (before) {
    events_.down(before);
    const auto old = connections_.find(before->link->number);
    if (old != connections_.end()) MakeSpare(old->second);
  }
  spdlog::info("connected to {} at {}", peer->name, peer->link->address);
  events_.up(peer);
  Announce(peer);
}

// The end that dialled closes it, so that it learns not to dial there again soon.
void Members::MakeSpare(Connection& connection) {
  connection.spare = true;
  connection.since = Link::Clock::now();
  if (!connection.link->outgoing) return;
  given_up_[connection.peer->device] = connection.link;
  connection.link->Close(Link::End::kDuplicate);
}

// Tells the new one of the others and the others of the new one.
void Members::Announce(const PeerPtr& peer) {
  wire::Addresses others;
  wire::Addresses fresh;
  AddAddress(*peer, &fresh);
  for (const PeerPtr& other : Peers()) {
    if (other->device == peer->device) continue;
    if (others.addresses_size() < kAddressesMax) AddAddress(*other, &others);
    other->link->Send(Kind::kAddresses, fresh);
  }
  if (others.addresses_size() > 0) peer->link->Send(Kind::kAddresses, others);
}

void Members::TakePing(const LinkPtr& link, std::string_view payload) {
  const auto ping = Parse<wire::Ping>(payload);
  if (!ping) return Nonsense(link, "a malformed ping");
  wire::Pong pong;
  pong.set_token(ping->token());
  pong.set_clock_ns(WallClock());
  link->Send(Kind::kPong, pong);
}

void Members::TakePong(Connection& connection, std::string_view payload) {
  const auto pong = Parse<wire::Pong>(payload);
  if (!pong) return Nonsense(connection.link, "a malformed pong");
  const std::int64_t round_trip = SteadyClock() - static_cast<std::int64_t>(pong->token());
  if (round_trip < 0 || round_trip > std::chrono::nanoseconds(kDead).count()) return;
  connection.peer->clock_offset_ns = pong->clock_ns() + round_trip / 2 - WallClock();
}

void Members::TakeAddresses(const LinkPtr& link, std::string_view payload) {
  const auto addresses = Parse<wire::Addresses>(payload);
  if (!addresses || addresses->addresses_size() > kAddressesMax) {
    return Nonsense(link, "malformed addresses");
  }
  for (const auto& address : addresses->addresses()) {
    const auto device = ToDevice(address.device());
    const std::string ip = IpFromBytes(address.ip());
    if (!device || ip.empty() || address.port() == 0 || address.port() > 65535) {
      return Nonsense(link, "a malformed address");
    }
    if (*device == options_.self || Connected(*device)) continue;
    const auto port = static_cast<std::uint16_t>(address.port());
    // Both are told at once; if both dialled, one connection would be for nothing.
    if (options_.self < *device) {
      DialUnlessConnected(*device, ip, port);
    } else {
      loop_.PostAfter(kDialPatience, [this, device = *device, ip, port] {
        DialUnlessConnected(device, ip, port);
      });
    }
  }
}

void Members::DialUnlessConnected(const index::DeviceId& device, const std::string& ip,
                                  std::uint16_t port) {
  if (!Connected(device)) events_.dial(ip, port);
}

bool Members::Connected(const index::DeviceId& device) const {
  const std::lock_guard lock(mutex_);
  return used_.contains(device);
}

void Members::Tick() {
  const auto now = Link::Clock::now();
  wire::Ping ping;
  ping.set_token(static_cast<std::uint64_t>(SteadyClock()));
  for (auto& [number, connection] : connections_) {
    const auto quiet = now - Heard(*connection.link);
    if (connection.peer ? quiet > kDead : now - connection.since > kHelloMax) {
      if (connection.peer) spdlog::info("{} does not answer any more", connection.peer->name);
      connection.link->Close(Link::End::kNormal);
    } else if (connection.spare && now - connection.since > kSpareMax) {
      connection.link->Close(Link::End::kDuplicate);
    } else if (connection.peer && quiet > kQuiet) {
      connection.link->Send(Kind::kPing, ping);
    }
  }
}

void Members::Nonsense(const LinkPtr& link, std::string_view what) {
  ++bad_messages_;
  bool first = false;
  {
    const std::lock_guard lock(mutex_);
    Ban& ban = bans_[link->node_key];
    const auto now = Link::Clock::now();
    if (now > ban.until + kBanForgotten) ban.length = seconds(0);
    ban.length = std::clamp(ban.length * 2, kBanFirst, kBanMax);
    ban.until = now + ban.length;
    if (named_.size() < kNamedMax) first = named_.insert(link->ip + " " + std::string(what)).second;
  }
  if (first) {
    spdlog::warn("{} sent {}: connection ended; further ones are counted only", link->address,
                 what);
  }
  link->Close(Link::End::kNormal);
}

void Members::Unknown(const LinkPtr& link, Kind kind) {
  ++bad_messages_;
  bool first = false;
  {
    const std::lock_guard lock(mutex_);
    if (named_.size() < kNamedMax) first = named_.insert(link->ip + " unknown").second;
  }
  if (first) {
    spdlog::warn("{} sent a message of unknown kind {}: ignored, further ones are counted only",
                 link->address, static_cast<int>(kind));
  }
}

std::vector<PeerPtr> Members::Peers() const {
  const std::lock_guard lock(mutex_);
  std::vector<PeerPtr> peers;
  peers.reserve(used_.size());
  for (const auto& [device, peer] : used_) peers.push_back(peer);
  return peers;
}

}  // namespace btfc::torrent
