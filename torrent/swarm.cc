#include "torrent/swarm.h"

#include <spdlog/spdlog.h>

#include <chrono>
#include <mutex>
#include <set>
#include <utility>

#include "torrent/delta_receiver.h"
#include "torrent/delta_sender.h"
#include "torrent/dialer.h"
#include "torrent/loop.h"
#include "torrent/members.h"
#include "torrent/session.h"

namespace btfc::torrent {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kTick{1000};
constexpr milliseconds kAddressCheck{5000};
constexpr std::size_t kRefusedNamedMax = 1000;

}  // namespace

// Puts the parts together. Messages come in on the network thread and are passed to the loop,
// which keeps their order; deltas go on to loops of their own.
class Swarm::Impl final : public LinkListener {
 public:
  Impl(const SwarmOptions& options, index::Replica& replica, ObjectPort& objects)
      : options_(options),
        loop_("btfc-swarm"),
        members_({replica.self(), options.node.node_key, options.host_name, options.read_only},
                 loop_,
                 {[this](const PeerPtr& peer) { PeerUp(peer); },
                  [this](const PeerPtr& peer) { PeerDown(peer); },
                  [this](const std::string& ip, std::uint16_t port) { session_->Dial(ip, port); }}),
        sender_({options.state_dir, options.read_only}, replica, members_),
        receiver_(replica, members_, sender_) {
    (void)objects;
  }
  ~Impl() override { Stop(); }

  Result<void> Start(std::string* why) {
    std::error_code error;
    std::filesystem::create_directories(options_.state_dir, error);
    if (error) {
      *why = "cannot make " + options_.state_dir.string() + ": " + error.message();
      return Errno(error.value());
    }
    SessionOptions options;
    options.cluster = options_.cluster;
    options.node = options_.node;
    options.state_dir = options_.state_dir;
    options.listen = options_.listen;
    options.port = options_.port;
    options.trackers = options_.trackers;
    options.lpd = options_.lpd;
    options.dht = options_.dht;
    auto session = Session::Start(
        options, loop_, *this,
        [this](const std::string& ip, const std::string& what) { Refused(ip, what); }, why);
    if (!session) return session.error();
    session_ = std::move(session).value();
    // What came in before is waiting in the loop's queue.
    loop_.Post([this] {
      members_.SetPort(session_->port());
      started_ = true;
      Tick();
      CheckAddresses();
      for (auto& task : std::exchange(early_, {})) task();
    });
    dialer_.emplace(options_.peers, [this](const std::string& ip, std::uint16_t port) {
      session_->Dial(ip, port);
    });
    return Ok();
  }

  void Stop() {
    const std::lock_guard lock(stop_mutex_);
    if (std::exchange(stopped_, true)) return;
    if (dialer_) dialer_->Stop();
    loop_.Stop();
    sender_.Stop();
    receiver_.Stop();
    if (session_) session_->Stop();
  }

  void Published() { sender_.Published(); }

  SwarmStatus Status() const {
    SwarmStatus status;
    status.port = session_->port();
    for (const PeerPtr& peer : members_.Peers()) {
      PeerStatus entry;
      entry.device = peer->device;
      entry.name = peer->name;
      entry.address = peer->link->address;
      entry.in_sync = peer->in_sync;
      entry.clock_offset_ns = peer->clock_offset_ns;
      entry.sent_bytes = peer->link->sent_bytes + peer->content_sent_bytes;
      entry.received_bytes = peer->link->received_bytes + peer->content_received_bytes;
      status.peers.push_back(std::move(entry));
    }
    status.refused_peers = refused_;
    status.bad_messages = members_.bad_messages();
    return status;
  }

  // --- LinkListener, on the network thread
  void OnLinkUp(const LinkPtr& link) override {
    Later([this, link] { members_.LinkUp(link); });
  }
  void OnMessage(const LinkPtr& link, Kind kind, std::string payload) override {
    Later([this, link, kind, payload = std::move(payload)] { Take(link, kind, payload); });
  }
  void OnLinkDown(const LinkPtr& link) override {
    Later([this, link] { members_.LinkDown(link); });
  }
  void OnNonsense(const LinkPtr& link, std::string_view what) override {
    members_.Nonsense(link, what);
  }

 private:
  // Keeps what comes in before Start is through.
  void Later(Loop::Task task) {
    loop_.Post([this, task = std::move(task)]() mutable {
      if (started_) {
        task();
      } else {
        early_.push_back(std::move(task));
      }
    });
  }

  void PeerUp(const PeerPtr& peer) { sender_.PeerUp(peer); }

  void PeerDown(const PeerPtr& peer) {
    sender_.PeerDown(peer);
    receiver_.PeerDown(peer);
  }

  void Take(const LinkPtr& link, Kind kind, const std::string& payload) {
    auto cost = static_cast<std::int64_t>(payload.size()) + 1;
    if (const PeerPtr peer = members_.Take(link, kind, payload)) {
      cost -= TakeGossip(peer, kind, payload);
    }
    link->inbox_bytes -= cost;
  }

  // Answers how many bytes somebody else still has to deal with.
  std::int64_t TakeGossip(const PeerPtr& peer, Kind kind, const std::string& payload) {
    switch (kind) {
      case Kind::kSummary: {
        const auto summary = Parse<wire::Summary>(payload);
        auto known = summary ? FromWire(*summary) : std::nullopt;
        if (!known) {
          members_.Nonsense(peer->link, "a malformed summary");
        } else {
          sender_.PeerKnows(peer, std::move(*known));
        }
        return 0;
      }
      case Kind::kDelta: {
        auto delta = Parse<wire::Delta>(payload);
        if (!delta || peer->read_only) {
          members_.Nonsense(peer->link,
                            delta ? "rows, though it is read-only" : "a malformed delta");
          return 0;
        }
        const auto size = static_cast<std::int64_t>(delta->part().size());
        receiver_.Take(peer, std::move(*delta));
        return size;
      }
      case Kind::kDeltaResult: {
        auto result = Parse<wire::DeltaResult>(payload);
        if (!result) {
          members_.Nonsense(peer->link, "a malformed answer to a delta");
        } else {
          sender_.TakeResult(peer, std::move(*result));
        }
        return 0;
      }
      case Kind::kProgress: {
        const auto progress = Parse<wire::Progress>(payload);
        if (!progress) {
          members_.Nonsense(peer->link, "malformed progress");
        } else {
          sender_.TakeProgress(peer, progress->delta_bytes());
        }
        return 0;
      }
      default:
        members_.Unknown(peer->link, kind);
        return 0;
    }
  }

  void Tick() {
    members_.Tick();
    loop_.PostAfter(kTick, [this] { Tick(); });
  }

  void CheckAddresses() {
    session_->RefreshAddresses();
    loop_.PostAfter(kAddressCheck, [this] { CheckAddresses(); });
  }

  void Refused(const std::string& ip, const std::string& what) {
    ++refused_;
    if (refused_named_.size() < kRefusedNamedMax && refused_named_.insert(ip).second) {
      spdlog::warn("refused a connection with {}: {}; further ones are counted only", ip, what);
    }
  }

  const SwarmOptions options_;
  Loop loop_;
  Members members_;
  DeltaSender sender_;
  DeltaReceiver receiver_;
  std::unique_ptr<Session> session_;
  std::optional<Dialer> dialer_;
  bool started_ = false;                 // on the loop
  std::vector<Loop::Task> early_;        // on the loop
  std::set<std::string> refused_named_;  // on the loop
  std::atomic<std::uint64_t> refused_ = 0;
  std::mutex stop_mutex_;
  bool stopped_ = false;  // guarded by stop_mutex_
};

Swarm::Swarm(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Swarm::~Swarm() = default;

Result<std::unique_ptr<Swarm>> Swarm::Start(const SwarmOptions& options, index::Replica& replica,
                                            ObjectPort& objects, std::string* why) {
  std::string ignored;
  if (why == nullptr) why = &ignored;
  auto impl = std::make_unique<Impl>(options, replica, objects);
  BOOST_OUTCOME_TRY(impl->Start(why));
  return std::unique_ptr<Swarm>(new Swarm(std::move(impl)));
}

void Swarm::Stop() { impl_->Stop(); }
void Swarm::Published() { impl_->Published(); }
void Swarm::Want(const index::ContentId&) {}
void Swarm::Unwant(const index::ContentId&) {}
std::uint64_t Swarm::Read(const index::ContentId&, std::uint64_t, std::uint64_t, Done) { return 0; }
void Swarm::CancelRead(std::uint64_t) {}
void Swarm::Available(const index::ContentId&) {}
void Swarm::Withdraw(const index::ContentId&, std::function<void()> done) { done(); }
SwarmStatus Swarm::Status() const { return impl_->Status(); }

}  // namespace btfc::torrent
