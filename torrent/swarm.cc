#include "torrent/swarm.h"

#include <algorithm>
#include <chrono>
#include <functional>
#include <future>
#include <mutex>
#include <utility>

#include "torrent/content_info.h"
#include "torrent/content_torrents.h"
#include "torrent/delta_receiver.h"
#include "torrent/delta_sender.h"
#include "torrent/dialer.h"
#include "torrent/exchange.h"
#include "torrent/fetcher.h"
#include "torrent/holder.h"
#include "torrent/layers.h"
#include "torrent/listen_addresses.h"
#include "torrent/loop.h"
#include "torrent/members.h"
#include "torrent/session.h"
#include "torrent/strangers.h"

namespace btfc::torrent {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kTick{1000};
constexpr milliseconds kFetcherTick{100};
constexpr milliseconds kAddressCheck{5000};
constexpr milliseconds kDropUnneeded{60'000};
constexpr std::chrono::minutes kLateMax{5};    // a fetch tries its holders again for so long
constexpr milliseconds kHandshakeMax{10'000};  // libtorrent waits so long

}  // namespace

// Puts the parts together. Messages come in on the network thread and are passed to the loop,
// which keeps their order; deltas go on to loops of their own.
class Swarm::Impl final : public LinkListener {
 public:
  Impl(const SwarmOptions& options, index::Replica& replica, ObjectPort& objects)
      : options_(options),
        self_(replica.self()),
        replica_(replica),
        objects_(objects),
        loop_("btfc-swarm"),
        disk_("btfc-disk"),
        hashing_("btfc-hash"),
        members_(
            {replica.self(), replica.incarnation(), options.node.node_key, options.host_name,
             options.read_only},
            loop_,
            {[this](const PeerPtr& peer) { PeerUp(peer); },
             [this](const PeerPtr& peer) { PeerDown(peer); },
             [this](const std::string& ip, std::uint16_t port) { session_->Dial(ip, port); },
             [this](const std::string& ip, std::uint16_t port) { session_->Redial(ip, port); }}),
        sender_({options.state_dir, options.read_only, options.lazy}, replica, objects, members_),
        receiver_(replica, members_, sender_),
        layers_(options.state_dir / "layers") {}
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
    options.removed = [this](const Sha256& node_key) { return replica_.IsRemoved(node_key); };
    auto session = Session::Start(
        options, loop_, *this,
        [this](const std::string& ip, Refusal refusal, const std::string& what) {
          Refused(ip, refusal, what);
        },
        why);
    if (!session) return session.error();
    session_ = std::move(session).value();
    // On the loop, where alerts and messages have been coming in since the session began.
    const auto made = std::make_shared<std::promise<void>>();
    loop_.Post([this, made] {
      MakeExchange();
      members_.SetPort(session_->port());
      started_ = true;
      Tick();
      TickFetcher();
      CheckAddresses();
      DropUnneeded();
      made->set_value();
      for (auto& task : std::exchange(early_, {})) task();
    });
    made->get_future().wait();
    dialer_.emplace(options_.peers, [this](const std::string& ip, std::uint16_t port) {
      session_->Dial(ip, port);
    });
    return Ok();
  }

  void Stop() {
    const std::lock_guard lock(stop_mutex_);
    if (std::exchange(stopped_, true)) return;
    stopping_ = true;
    if (dialer_) dialer_->Stop();
    loop_.Stop();
    hashing_.Stop();
    disk_.Stop();
    sender_.Stop();
    receiver_.Stop();
    if (session_) session_->Stop();
    if (fetcher_) fetcher_->Close();
  }

  void Published() { sender_.Published(); }
  void Want(const index::ContentId& id) {
    loop_.Post([this, id] { fetcher_->Want(id); });
  }
  void Unwant(const index::ContentId& id) {
    loop_.Post([this, id] { fetcher_->Unwant(id); });
  }
  std::uint64_t Read(const index::ContentId& id, std::uint64_t offset, std::uint64_t length,
                     Done done) {
    const std::uint64_t number = ++last_read_;
    loop_.Post([this, number, id, offset, length, done = std::move(done)] {
      fetcher_->Read(number, id, offset, length, done);
    });
    return number;
  }
  void CancelRead(std::uint64_t read) {
    loop_.Post([this, read] { fetcher_->CancelRead(read); });
  }
  void Hashed(const index::ContentId& id, const std::vector<index::Hash>& pieces) {
    if (id.size <= kSmallMax || !IsLayerOf(id, pieces)) return;
    // Who asks for the object is answered by the same loop, later.
    disk_.Post([this, id, pieces] { layers_.Keep(id, pieces); });
  }
  std::optional<std::vector<index::Hash>> PiecesOf(const index::ContentId& id) const {
    return layers_.Find(id);
  }
  void Available(const index::ContentId& id) {
    loop_.Post([this, id] { holder_->Available(id); });
  }
  void Withdraw(const index::ContentId& id, std::function<void()> done) {
    loop_.Post([this, id, done = std::move(done)] { holder_->Withdraw(id, done); });
  }

  SwarmStatus Status() const {
    SwarmStatus status;
    status.port = session_->port();
    for (const PeerPtr& peer : members_.Peers()) {
      PeerStatus entry;
      entry.device = peer->device;
      entry.name = peer->name;
      entry.address = peer->link->address;
      entry.in_sync = peer->in_sync;
      entry.lazy = peer->lazy;
      if (peer->holding_known) entry.missing = {peer->missing_objects, peer->missing_bytes};
      entry.clock_offset_ns = peer->clock_offset_ns;
      entry.sent_bytes = peer->link->sent_bytes + peer->content_sent_bytes;
      entry.received_bytes = peer->link->received_bytes + peer->content_received_bytes;
      status.peers.push_back(std::move(entry));
    }
    fetcher_->Fill(status);
    status.refused_peers = strangers_.connections();
    status.refused = strangers_.Addresses();
    status.late_connections = late_;
    status.bad_messages = members_.bad_messages();
    if (dialer_) status.unresolved_peers = dialer_->Unresolved();
    status.absent_listen = AbsentFrom(options_.listen);
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

  void MakeExchange() {
    ContentTorrents::Events events;
    events.ready = [this](const index::ContentId& id) {
      if (!holder_->TorrentReady(id)) fetcher_->TorrentReady(id);
    };
    events.have = [this](const index::ContentId& id, std::uint64_t piece) {
      fetcher_->TorrentHas(id, piece);
    };
    events.failed = [this](const index::ContentId& id, std::error_code error) {
      if (!holder_->TorrentFailed(id, error)) fetcher_->TorrentFailed(id, error);
    };
    events.traffic = [this](const std::string& ip, std::uint64_t sent, std::uint64_t received) {
      Account(ip, sent, received);
    };
    torrents_.emplace(*session_, loop_, std::move(events));
    exchange_.emplace(
        Exchange{loop_, disk_, hashing_, members_, objects_, *torrents_, layers_, stopping_});
    FetcherOptions options;
    options.self = self_;
    options.notes = options_.state_dir / "partial";
    options.arrived = [this](const index::ContentId& id) { holder_->Available(id); };
    options.sharing = [this](const index::ContentId& id) { holder_->PartlyAvailable(id); };
    options.wanting = [this](const index::ContentId& id) { return holder_->Wanting(id); };
    fetcher_.emplace(std::move(options), *exchange_);
    holder_.emplace(*exchange_, *fetcher_);
  }

  void PeerUp(const PeerPtr& peer) {
    sender_.PeerUp(peer);
    fetcher_->PeerUp(peer);
  }

  void PeerDown(const PeerPtr& peer) {
    sender_.PeerDown(peer);
    receiver_.PeerDown(peer);
    fetcher_->PeerDown(peer);
    holder_->PeerDown(peer);
  }

  // Bytes of objects' torrents, which know addresses only.
  void Account(const std::string& ip, std::uint64_t sent, std::uint64_t received) {
    for (const PeerPtr& peer : members_.Peers()) {
      if (peer->link->ip != ip) continue;
      peer->content_sent_bytes += sent;
      peer->content_received_bytes += received;
      return;
    }
  }

  void Take(const LinkPtr& link, Kind kind, const std::string& payload) {
    auto cost = static_cast<std::int64_t>(payload.size()) + 1 + kMessageCost;
    if (const PeerPtr peer = members_.Take(link, kind, payload)) {
      cost -= TakeGossip(peer, kind, payload);
    }
    link->inbox_bytes -= cost;
  }

  // Parses a message and hands it on; false if it does not parse.
  template <class Message, class Take>
  bool With(const std::string& payload, Take&& take) {
    auto message = Parse<Message>(payload);
    if (message) take(std::move(*message));
    return message.has_value();
  }

  // Answers how many bytes somebody else still has to deal with.
  std::int64_t TakeGossip(const PeerPtr& peer, Kind kind, const std::string& payload) {
    bool valid = true;
    std::int64_t left = 0;
    switch (kind) {
      case Kind::kSummary:
        valid = With<wire::Summary>(payload,
                                    [&](const wire::Summary& summary) {
                                      auto known = FromWire(summary);
                                      valid = known.has_value();
                                      if (valid) sender_.PeerKnows(peer, std::move(*known));
                                    }) &&
                valid;
        break;
      case Kind::kDelta:
        if (peer->read_only) {
          members_.Nonsense(peer->link, "rows, though it is read-only");
          return 0;
        }
        valid = With<wire::Delta>(payload, [&](wire::Delta delta) {
          left = static_cast<std::int64_t>(delta.part().size());
          receiver_.Take(peer, std::move(delta));
        });
        break;
      case Kind::kDeltaResult:
        valid = With<wire::DeltaResult>(payload, [&](wire::DeltaResult result) {
          sender_.TakeResult(peer, std::move(result));
        });
        break;
      case Kind::kHolding:
        valid = With<wire::Holding>(
            payload, [&](const wire::Holding& holding) { sender_.TakeHolding(peer, holding); });
        break;
      case Kind::kProgress:
        valid = With<wire::Progress>(payload, [&](const wire::Progress& progress) {
          if (progress.delta_bytes() > 0) sender_.TakeProgress(peer, progress.delta_bytes());
          if (progress.object_bytes() > 0) holder_->TakeProgress(peer, progress.object_bytes());
        });
        break;
      default:
        if (!KnownObjectKind(kind)) {
          members_.Unknown(peer->link, kind);
          return 0;
        }
        valid = TakeObjects(peer, kind, payload);
        break;
    }
    if (!valid) {
      members_.Nonsense(peer->link,
                        "a malformed message of kind " + std::to_string(static_cast<int>(kind)));
    }
    return left;
  }

  static bool KnownObjectKind(Kind kind) { return kind >= Kind::kWant && kind <= Kind::kLoaded; }

  bool TakeObjects(const PeerPtr& peer, Kind kind, const std::string& payload) {
    switch (kind) {
      case Kind::kWant:
        return With<wire::Want>(payload, [&](const auto& m) { holder_->TakeWant(peer, m); });
      case Kind::kUnwant:
        return With<wire::Unwant>(payload, [&](const auto& m) { holder_->TakeUnwant(peer, m); });
      case Kind::kGet:
        return With<wire::Get>(payload, [&](const auto& m) { holder_->TakeGet(peer, m); });
      case Kind::kLoad:
        return With<wire::Load>(payload, [&](const auto& m) { holder_->TakeLoad(peer, m); });
      case Kind::kHave:
        return With<wire::Have>(payload, [&](const auto& m) { fetcher_->TakeHave(peer, m); });
      case Kind::kChunk:
        return With<wire::Chunk>(payload, [&](const auto& m) { fetcher_->TakeChunk(peer, m); });
      case Kind::kGone:
        return With<wire::Gone>(payload, [&](const auto& m) { fetcher_->TakeGone(peer, m); });
      case Kind::kLoaded:
        return With<wire::Loaded>(payload, [&](const auto& m) { fetcher_->TakeLoaded(peer, m); });
      default:
        return true;
    }
  }

  void Tick() {
    members_.Tick();
    holder_->Tick();
    sender_.Tick();
    loop_.PostAfter(kTick, [this] { Tick(); });
  }

  void TickFetcher() {
    fetcher_->Tick();
    loop_.PostAfter(kFetcherTick, [this] { TickFetcher(); });
  }

  void DropUnneeded() {
    fetcher_->DropUnneeded();
    loop_.PostAfter(kDropUnneeded, [this] { DropUnneeded(); });
  }

  void CheckAddresses() {
    session_->RefreshAddresses();
    loop_.PostAfter(kAddressCheck, [this] { CheckAddresses(); });
  }

  // A member that comes for an object whose torrent was unloaded not long ago, or in the middle of
  // the handshake: it asks for it again. Else who comes from a member's address, and names a
  // torrent that there is not, or has no member's certificate, is another.
  bool CameLate(const std::string& ip, Refusal refusal) const {
    if (refusal == Refusal::kOther || !torrents_) return false;
    const auto unloaded = torrents_->last_unloaded();
    const milliseconds late_max = refusal == Refusal::kNotVerified ? kHandshakeMax : kLateMax;
    if (!unloaded || Loop::Clock::now() - *unloaded > late_max) return false;
    const auto peers = members_.Peers();
    return std::ranges::any_of(peers, [&](const PeerPtr& peer) { return peer->link->ip == ip; });
  }

  void Refused(const std::string& ip, Refusal refusal, const std::string& what) {
    if (CameLate(ip, refusal)) {
      ++late_;
    } else {
      strangers_.Note(ip, what);
    }
  }

  const SwarmOptions options_;
  const index::DeviceId self_;
  const index::Replica& replica_;
  ObjectPort& objects_;
  std::atomic<bool> stopping_ = false;
  std::atomic<std::uint64_t> last_read_ = 0;
  Loop loop_;
  Loop disk_;
  Loop hashing_;
  Members members_;
  DeltaSender sender_;
  DeltaReceiver receiver_;
  const Layers layers_;
  std::unique_ptr<Session> session_;  // stopped before those that it tells are gone
  std::optional<ContentTorrents> torrents_;
  std::optional<Exchange> exchange_;
  std::optional<Fetcher> fetcher_;
  std::optional<Holder> holder_;
  std::optional<Dialer> dialer_;
  bool started_ = false;           // on the loop
  std::vector<Loop::Task> early_;  // on the loop
  Strangers strangers_;
  std::atomic<std::uint64_t> late_ = 0;
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
void Swarm::Want(const index::ContentId& id) { impl_->Want(id); }
void Swarm::Unwant(const index::ContentId& id) { impl_->Unwant(id); }
std::uint64_t Swarm::Read(const index::ContentId& id, std::uint64_t offset, std::uint64_t length,
                          Done done) {
  return impl_->Read(id, offset, length, std::move(done));
}
void Swarm::CancelRead(std::uint64_t read) { impl_->CancelRead(read); }
void Swarm::Hashed(const index::ContentId& id, const std::vector<index::Hash>& pieces) {
  impl_->Hashed(id, pieces);
}
std::optional<std::vector<index::Hash>> Swarm::PiecesOf(const index::ContentId& id) const {
  return impl_->PiecesOf(id);
}
void Swarm::Available(const index::ContentId& id) { impl_->Available(id); }
void Swarm::Withdraw(const index::ContentId& id, std::function<void()> done) {
  impl_->Withdraw(id, std::move(done));
}
LinkListener& Swarm::links() { return *impl_; }
SwarmStatus Swarm::Status() const { return impl_->Status(); }

}  // namespace btfc::torrent
