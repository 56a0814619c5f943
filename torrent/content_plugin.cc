#include "torrent/content_plugin.h"

#include <algorithm>
#include <chrono>
#include <libtorrent/bdecode.hpp>
#include <libtorrent/entry.hpp>
#include <libtorrent/error_code.hpp>
#include <libtorrent/peer_connection.hpp>
#include <libtorrent/peer_connection_handle.hpp>
#include <random>
#include <utility>

#include "torrent/gossip_plugin.h"

namespace btfc::torrent {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::chrono::seconds kConnectMax{3};
constexpr char kHide[] = "btfc_hide";
constexpr char kReveal[] = "btfc_reveal";
constexpr int kRevealId = 21;  // of messages to us
constexpr char kHaveMessage = 4;
constexpr char kExtendedMessage = 20;
// Smaller objects come in less time than it takes to share them out.
constexpr std::uint32_t kHiddenMin = 16;  // pieces

void AppendNumber(std::string& out, std::uint32_t number) {
  for (int shift = 24; shift >= 0; shift -= 8) {
    out += static_cast<char>(number >> static_cast<unsigned>(shift));
  }
}

std::uint64_t RandomNumber() {
  std::random_device device;
  return (std::uint64_t{device()} << 32U) | device();
}

}  // namespace

class ContentPeer final : public lt::peer_plugin, public std::enable_shared_from_this<ContentPeer> {
 public:
  ContentPeer(const lt::peer_connection_handle& peer, std::weak_ptr<ContentPlugin> torrent,
              const TorrentEvents& events, std::shared_ptr<TorrentCounters> counters,
              const std::shared_ptr<Doorkeeper>& doorkeeper)
      : peer_(peer),
        torrent_(std::move(torrent)),
        traffic_(events.traffic),
        counters_(std::move(counters)),
        doorkeeper_(doorkeeper),
        visit_(Welcome(doorkeeper, peer)) {
    ++counters_->connections;
    if (!peer_.is_outgoing()) DisableNagle(peer_);
  }
  ~ContentPeer() override { --counters_->connections; }
  ContentPeer(const ContentPeer&) = delete;
  ContentPeer& operator=(const ContentPeer&) = delete;

  lt::string_view type() const override { return "btfc content"; }
  void on_connected() override { DisableNagle(peer_); }

  void add_handshake(lt::entry& handshake) override {
    // See GossipPeer: two hosts may be connected twice for a moment, but never lose both.
    handshake.dict().erase("p");
    handshake["m"][kReveal] = kRevealId;
    const auto torrent = torrent_.lock();
    if (torrent && torrent->fan_out() != nullptr) handshake[kHide] = 1;
  }

  bool on_handshake(lt::span<const char>) override {
    node_key_ = NodeKeyOf(peer_);
    if (node_key_) {
      RefuseRemoved();
    } else {
      Refuse();
    }
    return true;
  }

  bool on_extension_handshake(const lt::bdecode_node& handshake) override {
    const lt::bdecode_node extensions = handshake.dict_find_dict("m");
    const auto id = extensions ? extensions.dict_find_int_value(kReveal, 0) : 0;
    if (id > 0 && id <= 255) reveal_id_ = static_cast<char>(id);
    hidden_from_us_ = handshake.dict_find_int_value(kHide, 0) != 0;
    const auto torrent = torrent_.lock();
    if (torrent && torrent->reveal_all()) AskForAll();
    return true;
  }

  // --- as the receiver
  bool on_have_all() override {
    if (FanOut* const fan_out = FanOutOf()) fan_out->HasAll(Number());
    return hidden_from_us_;
  }

  void AskForAll() {
    if (!hidden_from_us_ || reveal_id_ == 0) return;
    std::string message;
    AppendNumber(message, 2);
    message += kExtendedMessage;
    message += reveal_id_;
    Write(message);
  }

  // --- as the holder that hides
  void sent_have_all() override {
    told_ = true;
    Offer();
  }
  bool on_bitfield(const lt::bitfield& bits) override {
    if (FanOut* const fan_out = FanOutOf()) {
      for (int i = 0; i < bits.size(); ++i) {
        if (bits[i]) fan_out->Has(Number(), static_cast<std::uint32_t>(i));
      }
    }
    return hidden_from_us_;
  }
  bool on_have(lt::piece_index_t piece) override {
    if (FanOut* const fan_out = FanOutOf()) {
      fan_out->Has(Number(), static_cast<std::uint32_t>(static_cast<int>(piece)));
      Offer();
    }
    return false;
  }

  bool on_extended(int length, int message, lt::span<const char>) override {
    if (message != kRevealId) return false;
    if (length != 0) {
      peer_.disconnect(lt::errors::invalid_extended, lt::operation_t::bittorrent,
                       lt::peer_connection_interface::peer_error);
    } else if (FanOut* const fan_out = FanOutOf()) {
      SendHaves(fan_out->Everything(Number()));
      fan_out->Leave(Number());
      opted_out_ = true;
    }
    return true;
  }

  // Tells the receiver of the pieces that are its turn.
  void Offer() {
    FanOut* const fan_out = FanOutOf();
    if (fan_out != nullptr && told_) SendHaves(fan_out->Next(Number(), Clock::now()));
  }

  // --- both
  bool on_piece(const lt::peer_request&, lt::span<const char> bytes) override {
    counters_->received_bytes += static_cast<std::uint64_t>(bytes.size());
    received_ += static_cast<std::uint64_t>(bytes.size());
    return false;
  }
  void sent_payload(int bytes) override {
    counters_->sent_bytes += static_cast<std::uint64_t>(bytes);
    sent_ += static_cast<std::uint64_t>(bytes);
  }

  void tick() override {
    RefuseRemoved();
    if (peer_.is_outgoing() && peer_.is_connecting() && Clock::now() - created_ > kConnectMax) {
      peer_.disconnect(lt::errors::timed_out, lt::operation_t::connect,
                       lt::peer_connection_interface::failure);
    }
    Account();
  }
  void on_disconnect(const lt::error_code&) override {
    HangUp(peer_);
    visit_.reset();
    Account();
    if (FanOut* const fan_out = FanOutOf()) fan_out->Leave(Number());
    opted_out_ = true;
  }

 private:
  FanOut::Receiver Number() const { return reinterpret_cast<FanOut::Receiver>(this); }

  void RefuseRemoved() {
    if (node_key_ && doorkeeper_->Refuses(*node_key_)) Refuse();
  }
  void Refuse() { peer_.disconnect(lt::errors::no_error, lt::operation_t::bittorrent); }

  // Null if this host does not hide, or not from this peer.
  FanOut* FanOutOf() const {
    const auto torrent = torrent_.lock();
    return torrent && !opted_out_ ? torrent->fan_out() : nullptr;
  }

  void SendHaves(const std::vector<std::uint32_t>& pieces) {
    std::string messages;
    for (const std::uint32_t piece : pieces) {
      AppendNumber(messages, 5);
      messages += kHaveMessage;
      AppendNumber(messages, piece);
    }
    Write(messages);
  }

  void Write(const std::string& messages) {
    if (messages.empty() || peer_.is_disconnecting()) return;
    peer_.send_buffer(messages.data(), static_cast<int>(messages.size()));
  }

  void Account() {
    if (sent_ + received_ == 0) return;
    traffic_(peer_.remote().address().to_string(), std::exchange(sent_, 0),
             std::exchange(received_, 0));
  }

  lt::peer_connection_handle peer_;
  const std::weak_ptr<ContentPlugin> torrent_;
  const std::function<void(const std::string&, std::uint64_t, std::uint64_t)> traffic_;
  const std::shared_ptr<TorrentCounters> counters_;
  const std::shared_ptr<Doorkeeper> doorkeeper_;
  std::unique_ptr<Visit> visit_;
  std::optional<Sha256> node_key_;  // after its handshake
  const Clock::time_point created_ = Clock::now();
  char reveal_id_ = 0;
  bool hidden_from_us_ = false;
  bool told_ = false;       // our HAVE_ALL, of which it takes no notice, is out
  bool opted_out_ = false;  // it asked for everything
  std::uint64_t sent_ = 0;  // not accounted yet
  std::uint64_t received_ = 0;
};

ContentPlugin::ContentPlugin(TorrentEvents events, std::shared_ptr<TorrentCounters> counters,
                             std::shared_ptr<Doorkeeper> doorkeeper,
                             std::optional<std::uint32_t> hidden_pieces, bool reveal_all)
    : events_(std::move(events)),
      counters_(std::move(counters)),
      doorkeeper_(std::move(doorkeeper)),
      reveal_all_(reveal_all) {
  if (hidden_pieces && *hidden_pieces >= kHiddenMin) {
    fan_out_.emplace(*hidden_pieces, RandomNumber());
  }
}

ContentPlugin::~ContentPlugin() { events_.closed(); }

std::shared_ptr<lt::peer_plugin> ContentPlugin::new_connection(
    const lt::peer_connection_handle& peer) {
  if (peer.type() != lt::connection_type::bittorrent) return nullptr;
  auto plugin =
      std::make_shared<ContentPeer>(peer, weak_from_this(), events_, counters_, doorkeeper_);
  std::erase_if(peers_, [](const auto& weak) { return weak.expired(); });
  peers_.push_back(plugin);
  return plugin;
}

void ContentPlugin::on_piece_pass(lt::piece_index_t piece) {
  events_.have(static_cast<int>(piece));
}

void ContentPlugin::tick() {
  if (!fan_out_) return;
  fan_out_->TakeBack(Clock::now());
  OfferAll();
}

void ContentPlugin::OfferAll() {
  for (const auto& weak : peers_) {
    if (const auto peer = weak.lock()) peer->Offer();
  }
}

void ContentPlugin::RevealAll() {
  if (std::exchange(reveal_all_, true)) return;
  for (const auto& weak : peers_) {
    if (const auto peer = weak.lock()) peer->AskForAll();
  }
}

}  // namespace btfc::torrent
