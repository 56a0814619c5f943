#include "rude_member.h"

#include <algorithm>
#include <chrono>

#include "raw_peer.h"

namespace btfc::torrent {
namespace {

constexpr std::chrono::seconds kPatience{60};

}  // namespace

RudeMember::RudeMember(const ClusterKey& cluster, std::uint8_t number) : loop_("rude") {
  std::string why;
  node_ = LoadOrMakeNode(dir_.path(), cluster, &why).value();
  SessionOptions options;
  options.cluster = cluster;
  options.node = node_;
  options.state_dir = dir_.path();
  options.listen = {"127.0.0." + std::to_string(number)};
  options.lpd = false;
  auto session = Session::Start(
      options, loop_, *this, [](const std::string&, Refusal, const std::string&) {}, &why);
  EXPECT_TRUE(session) << why;
  session_ = std::move(session).value();
}

RudeMember::~RudeMember() {
  loop_.Stop();
  session_->Stop();
}

LinkPtr RudeMember::Connect(const TestHost& host) {
  session_->Dial(host.ip(), host.swarm->Status().port);
  std::unique_lock lock(mutex_);
  changed_.wait_for(lock, kPatience, [this] { return link_ != nullptr; });
  return link_;
}

LinkPtr RudeMember::Greet(const TestHost& host) {
  const LinkPtr link = Connect(host);
  if (link) link->Send(Kind::kHello, Hello());
  return link;
}

wire::Hello RudeMember::Hello() const { return HelloOf(node_, "rude\n\x1b[31m"); }

std::size_t RudeMember::Count(Kind kind) const {
  const std::lock_guard lock(mutex_);
  return static_cast<std::size_t>(
      std::ranges::count(heard_, kind, [](const auto& message) { return message.first; }));
}

std::optional<std::string> RudeMember::TakePayload(Kind kind) {
  std::unique_lock lock(mutex_);
  auto found = heard_.end();
  changed_.wait_for(lock, kPatience, [&] {
    found = std::ranges::find(heard_, kind, [](const auto& message) { return message.first; });
    return found != heard_.end();
  });
  if (found == heard_.end()) return std::nullopt;
  auto payload = std::move(found->second);
  heard_.erase(found);
  return payload;
}

void RudeMember::OnLinkUp(const LinkPtr& link) {
  const std::lock_guard lock(mutex_);
  link_ = link;
  changed_.notify_all();
}

void RudeMember::OnMessage(const LinkPtr& link, Kind kind, std::string payload) {
  link->inbox_bytes -= static_cast<std::int64_t>(payload.size()) + 1 + kMessageCost;
  if (const auto ping = kind == Kind::kPing ? Parse<wire::Ping>(payload) : std::nullopt) {
    wire::Pong pong;
    pong.set_token(ping->token());
    link->Send(Kind::kPong, pong);
  }
  const std::lock_guard lock(mutex_);
  heard_.emplace_back(kind, std::move(payload));
  changed_.notify_all();
}

}  // namespace btfc::torrent
