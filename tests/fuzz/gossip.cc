// A whole swarm, but for the connection: the input is what a member says.
#include <unistd.h>

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <string>

#include "index/derived_ids.h"
#include "take.h"
#include "targets.h"
#include "test_host.h"
#include "torrent/link.h"

namespace btfc::fuzz {
namespace {

using torrent::Kind;
using torrent::Link;
using torrent::LinkPtr;

constexpr std::uint64_t kPongToken = 0xF022;

class FakeLink final : public Link {
 public:
  using Link::Send;
  void Send(Kind kind, std::string_view payload) override {
    if (kind != Kind::kPong) return;
    const auto pong = torrent::Parse<torrent::wire::Pong>(payload);
    if (pong && pong->token() == kPongToken) Finish();
  }
  void Close(End) override {
    closed_ = true;
    Finish();
  }
  bool closed() const { return closed_; }
  // Everything before was dealt with, or the connection was ended.
  void AwaitEnd() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return finished_; });
  }

 private:
  void Finish() {
    const std::lock_guard lock(mutex_);
    finished_ = true;
    changed_.notify_all();
  }

  std::atomic<bool> closed_ = false;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool finished_ = false;
};

// Made once, and never ended: it has threads.
struct World {
  World() : host(torrent::NewCluster(), 1) {
    host.SetIp("127.0.0.1");
    // 'small', 'large' are here; of 'wanted' and 'wanted large' only the names are known.
    small = host.objects->Put(std::string(40'000, 's'));
    large = host.objects->Put(std::string(3'000'000, 'l'));
    host.Start();
    host.replica.Write("row");
    host.swarm->Want(index::ContentIdOf(std::string(40'000, 'w')));
    host.swarm->Want(index::ContentIdOf(std::string(3'000'000, 'w')));
  }
  torrent::TestHost host;
  index::ContentId small, large;
};

LinkPtr NewLink() {
  static std::uint64_t number = 0;
  auto link = std::make_shared<FakeLink>();
  link->number = ++number;
  link->ip = "127.0.0.2";
  link->address = "127.0.0.2:1";
  // A key of its own for each, or the first nonsense would ban all that follow.
  for (unsigned i = 0; i < 8; ++i) {
    link->node_key[i] = static_cast<std::uint8_t>(number >> (8 * i));
  }
  link->heard = Link::Clock::now().time_since_epoch().count();
  return link;
}

std::string Hello(const Link& link) {
  torrent::wire::Hello hello;
  hello.set_version(torrent::kProtocolVersion);
  hello.set_device(torrent::ToBytes(index::DeviceIdOf(link.node_key, 0)));
  hello.set_node_key(link.node_key.data(), link.node_key.size());
  hello.set_host("fuzz");
  hello.set_port(1);
  return hello.SerializeAsString();
}

}  // namespace

// A byte that says whether a good Hello comes first; then messages: their kind, their length in
// three bytes, their bytes.
void Gossip(std::string_view bytes) {
  static auto* const world = new World;
  torrent::LinkListener& swarm = world->host.swarm->links();
  const auto link = std::static_pointer_cast<FakeLink>(NewLink());
  const auto say = [&](Kind kind, std::string payload) {
    link->inbox_bytes += static_cast<std::int64_t>(payload.size()) + 1 + torrent::kMessageCost;
    swarm.OnMessage(link, kind, std::move(payload));
  };
  swarm.OnLinkUp(link);
  Take take(bytes);
  if (take.Number(1) % 2 == 0) say(Kind::kHello, Hello(*link));
  while (!take.empty() && !link->closed()) {
    const auto kind = static_cast<Kind>(take.Number(1));
    say(kind, std::string(take.LongPiece()));
  }
  torrent::wire::Ping ping;
  ping.set_token(kPongToken);
  say(Kind::kPing, ping.SerializeAsString());
  link->AwaitEnd();
  swarm.OnLinkDown(link);
}

}  // namespace btfc::fuzz
