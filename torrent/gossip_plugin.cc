#include "torrent/gossip_plugin.h"

#include <algorithm>
#include <boost/asio/post.hpp>
#include <libtorrent/aux_/socket_type.hpp>
#include <libtorrent/bdecode.hpp>
#include <libtorrent/entry.hpp>
#include <libtorrent/error_code.hpp>
#include <libtorrent/peer_connection.hpp>
#include <libtorrent/peer_connection_handle.hpp>
#include <libtorrent/torrent_peer.hpp>
#include <utility>

namespace btfc::torrent {
namespace {

constexpr char kExtension[] = "btfc";
constexpr int kExtensionId = 20;  // of messages to us; libtorrent's own end at 8
constexpr int kBitTorrentExtended = 20;
constexpr std::size_t kHeaderSize = 7;  // length, "extended", extension id, kind
constexpr unsigned kFailuresMax = 2;  // libtorrent waits failures + 1 seconds before it dials again
constexpr std::chrono::seconds kConnectMax{3};
constexpr int kOutboxMax = 64 * 1024 * 1024;  // bytes that one peer has not taken yet

std::atomic<std::uint64_t> next_link_number = 1;

// Null for anything but TLS over TCP.
lt::ssl_stream<lt::tcp::socket>* StreamOf(const lt::peer_connection_handle& peer) {
  const auto connection = peer.native_handle();
  if (!connection) return nullptr;
  return boost::get<lt::ssl_stream<lt::tcp::socket>>(&connection->get_socket());
}

// ADDRESS:PORT.
std::string EndpointOf(const lt::peer_connection_handle& peer) {
  const auto& address = peer.remote().address();
  return (address.is_v6() ? "[" + address.to_string() + "]" : address.to_string()) + ":" +
         std::to_string(peer.remote().port());
}

class GossipPeer;

class PluginLink final : public Link {
 public:
  PluginLink(std::shared_ptr<NetworkQueue> queue, std::weak_ptr<GossipPeer> peer, int extension_id)
      : queue_(std::move(queue)), peer_(std::move(peer)), extension_id_(extension_id) {}
  using Link::Send;
  void Send(Kind kind, std::string_view payload) override;
  void Close(End end) override;

 private:
  const std::shared_ptr<NetworkQueue> queue_;
  const std::weak_ptr<GossipPeer> peer_;
  const int extension_id_;  // as the other end wants it
};

class GossipPeer final : public lt::peer_plugin, public std::enable_shared_from_this<GossipPeer> {
 public:
  GossipPeer(const lt::peer_connection_handle& peer, std::shared_ptr<NetworkQueue> queue,
             const std::shared_ptr<Doorkeeper>& doorkeeper, LinkListener& listener)
      : peer_(peer),
        queue_(std::move(queue)),
        listener_(listener),
        doorkeeper_(doorkeeper),
        visit_(Welcome(doorkeeper, peer)) {
    CapFailures();
    if (!peer_.is_outgoing()) DisableNagle(peer_);
  }

  lt::string_view type() const override { return kExtension; }
  void on_connected() override { DisableNagle(peer_); }

  void add_handshake(lt::entry& handshake) override {
    handshake["m"][kExtension] = kExtensionId;
    // With the listen port libtorrent would close connections that it takes for duplicates, at
    // both ends at once; who is connected twice is settled by device, in Members.
    handshake.dict().erase("p");
  }

  bool on_extension_handshake(const lt::bdecode_node& handshake) override {
    if (link_) return true;
    const lt::bdecode_node extensions = handshake.dict_find_dict("m");
    const auto id = extensions ? extensions.dict_find_int_value(kExtension, 0) : 0;
    const auto node_key = NodeKeyOf(peer_);
    if (id <= 0 || id > 255 || !node_key) {
      Disconnect();
      return true;
    }
    if (doorkeeper_->Refuses(*node_key)) {
      End(Link::End::kDuplicate);
      return true;
    }
    link_ = std::make_shared<PluginLink>(queue_, weak_from_this(), static_cast<int>(id));
    link_->number = next_link_number++;
    link_->outgoing = peer_.is_outgoing();
    link_->ip = peer_.remote().address().to_string();
    link_->port = peer_.remote().port();
    link_->address = EndpointOf(peer_);
    link_->node_key = *node_key;
    if (auto* const stream = StreamOf(peer_)) link_->read_only = PeerIsReadOnly(stream->handle());
    link_->heard = Link::Clock::now().time_since_epoch().count();
    listener_.OnLinkUp(link_);
    return true;
  }

  bool on_extended(int length, int message, lt::span<const char> body) override {
    if (message != kExtensionId) return false;
    if (!link_) {  // before the handshake of extensions
      Disconnect();
      return true;
    }
    link_->heard = Link::Clock::now().time_since_epoch().count();
    if (length < 1 || static_cast<std::size_t>(length) > kMessageMax + 1) {
      listener_.OnNonsense(link_, "a message of " + std::to_string(length) + " bytes");
      Disconnect();
      return true;
    }
    if (body.size() < length) return true;  // the rest is to come
    link_->received_bytes += static_cast<std::uint64_t>(length) + kHeaderSize - 1;
    if ((link_->inbox_bytes += length + kMessageCost) > kInboxMax) {
      listener_.OnNonsense(link_, "more than was asked for");
      Disconnect();
      return true;
    }
    listener_.OnMessage(link_, static_cast<Kind>(static_cast<std::uint8_t>(body[0])),
                        std::string(body.data() + 1, static_cast<std::size_t>(length) - 1));
    return true;
  }

  // All hosts have the control torrent's one piece. That libtorrent does not learn it of the
  // others keeps it dialling them.
  bool on_bitfield(const lt::bitfield&) override { return true; }
  bool on_have_all() override { return true; }
  bool on_have_none() override { return true; }
  bool on_have(lt::piece_index_t) override { return true; }

  void on_disconnect(const lt::error_code&) override {
    HangUp(peer_);
    visit_.reset();
    if (link_) listener_.OnLinkDown(std::exchange(link_, nullptr));
  }

  void tick() override {
    if (link_ && doorkeeper_->Refuses(link_->node_key)) End(Link::End::kDuplicate);
    // libtorrent itself waits more than ten seconds for a host that does not answer.
    if (peer_.is_outgoing() && peer_.is_connecting() &&
        Link::Clock::now() - created_ > kConnectMax) {
      peer_.disconnect(lt::errors::timed_out, lt::operation_t::connect,
                       lt::peer_connection_interface::failure);
    }
  }

  void Write(std::string message) {
    if (!link_ || peer_.is_disconnecting()) return;
    // All answers together stay far below this, if they are read.
    const auto connection = peer_.native_handle();
    if (connection && connection->send_buffer_size() > kOutboxMax) {
      listener_.OnNonsense(link_, "requests without reading what they bring");
      return Disconnect();
    }
    link_->sent_bytes += message.size();
    peer_.send_buffer(message.data(), static_cast<int>(message.size()));
  }

  void End(Link::End end) {
    if (end == Link::End::kDuplicate) SetFailures(kDuplicateFailures);
    Disconnect();
  }

 private:
  void Disconnect() { peer_.disconnect(lt::errors::no_error, lt::operation_t::bittorrent); }

  // Dialling goes on for ever, but never slower than every few seconds: a link that was cut for
  // an hour comes back as fast as one that was cut for a minute.
  void CapFailures() {
    const auto connection = peer_.native_handle();
    lt::torrent_peer* const entry = connection ? connection->peer_info_struct() : nullptr;
    if (entry != nullptr && entry->failcount < kDuplicateFailures) {
      entry->failcount = std::min<unsigned>(entry->failcount, kFailuresMax);
    }
  }

  void SetFailures(unsigned failures) {
    const auto connection = peer_.native_handle();
    lt::torrent_peer* const entry = connection ? connection->peer_info_struct() : nullptr;
    if (entry != nullptr) entry->failcount = failures;
  }

  lt::peer_connection_handle peer_;
  const std::shared_ptr<NetworkQueue> queue_;
  LinkListener& listener_;
  const std::shared_ptr<Doorkeeper> doorkeeper_;
  std::unique_ptr<Visit> visit_;
  const Link::Clock::time_point created_ = Link::Clock::now();
  std::shared_ptr<PluginLink> link_;
};

void PluginLink::Send(Kind kind, std::string_view payload) {
  std::string message;
  message.reserve(kHeaderSize + payload.size());
  const auto length = static_cast<std::uint32_t>(payload.size() + kHeaderSize - 4);
  for (int shift = 24; shift >= 0; shift -= 8) {
    message += static_cast<char>(length >> static_cast<unsigned>(shift));
  }
  message += static_cast<char>(kBitTorrentExtended);
  message += static_cast<char>(extension_id_);
  message += static_cast<char>(kind);
  message += payload;
  queue_->Post([peer = peer_, message = std::move(message)]() mutable {
    if (const auto alive = peer.lock()) alive->Write(std::move(message));
  });
}

void PluginLink::Close(End end) {
  queue_->Post([peer = peer_, end] {
    if (const auto alive = peer.lock()) alive->End(end);
  });
}

}  // namespace

void NetworkQueue::Post(std::function<void()> task) {
  const std::lock_guard lock(mutex_);
  if (context_ != nullptr) boost::asio::post(*context_, std::move(task));
}

void NetworkQueue::Close() {
  const std::lock_guard lock(mutex_);
  context_ = nullptr;
}

std::shared_ptr<lt::peer_plugin> ControlPlugin::new_connection(
    const lt::peer_connection_handle& peer) {
  if (peer.type() != lt::connection_type::bittorrent) return nullptr;
  return std::make_shared<GossipPeer>(peer, queue_, doorkeeper_, listener_);
}

std::unique_ptr<Visit> Welcome(const std::shared_ptr<Doorkeeper>& doorkeeper,
                               const lt::peer_connection_handle& peer) {
  auto* const stream = peer.is_outgoing() ? nullptr : StreamOf(peer);
  if (stream == nullptr) return nullptr;
  return std::make_unique<Visit>(doorkeeper, stream->next_layer().native_handle());
}

std::optional<Sha256> NodeKeyOf(const lt::peer_connection_handle& peer) {
  auto* const stream = StreamOf(peer);
  return stream != nullptr ? PeerKeyDigest(stream->handle()) : std::nullopt;
}

void HangUp(const lt::peer_connection_handle& peer) {
  lt::error_code ignored;
  if (auto* const stream = StreamOf(peer)) {
    stream->next_layer().shutdown(boost::asio::ip::tcp::socket::shutdown_send, ignored);
  }
}

void DisableNagle(const lt::peer_connection_handle& peer) {
  const auto connection = peer.native_handle();
  if (!connection) return;
  lt::error_code ignored;
  connection->get_socket().set_option(boost::asio::ip::tcp::no_delay(true), ignored);
}

}  // namespace btfc::torrent
