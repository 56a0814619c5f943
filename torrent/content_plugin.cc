#include "torrent/content_plugin.h"

#include <libtorrent/entry.hpp>
#include <libtorrent/error_code.hpp>
#include <libtorrent/peer_connection.hpp>
#include <libtorrent/peer_connection_handle.hpp>
#include <utility>

#include "torrent/gossip_plugin.h"

namespace btfc::torrent {
namespace {

using Clock = std::chrono::steady_clock;
constexpr std::chrono::seconds kConnectMax{3};

class ContentPeer final : public lt::peer_plugin {
 public:
  ContentPeer(const lt::peer_connection_handle& peer, const TorrentEvents& events,
              std::shared_ptr<TorrentCounters> counters)
      : peer_(peer), traffic_(events.traffic), counters_(std::move(counters)) {
    ++counters_->connections;
    if (!peer_.is_outgoing()) DisableNagle(peer_);
  }
  ~ContentPeer() override { --counters_->connections; }
  ContentPeer(const ContentPeer&) = delete;
  ContentPeer& operator=(const ContentPeer&) = delete;

  lt::string_view type() const override { return "btfc content"; }
  void on_connected() override { DisableNagle(peer_); }
  // See GossipPeer: two hosts may be connected twice for a moment, but never lose both.
  void add_handshake(lt::entry& handshake) override { handshake.dict().erase("p"); }

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
    if (peer_.is_outgoing() && peer_.is_connecting() && Clock::now() - created_ > kConnectMax) {
      peer_.disconnect(lt::errors::timed_out, lt::operation_t::connect,
                       lt::peer_connection_interface::failure);
    }
    Account();
  }
  void on_disconnect(const lt::error_code&) override {
    HangUp(peer_);
    Account();
  }

 private:
  void Account() {
    if (sent_ + received_ == 0) return;
    traffic_(peer_.remote().address().to_string(), std::exchange(sent_, 0),
             std::exchange(received_, 0));
  }

  lt::peer_connection_handle peer_;
  const std::function<void(const std::string&, std::uint64_t, std::uint64_t)> traffic_;
  const std::shared_ptr<TorrentCounters> counters_;
  const Clock::time_point created_ = Clock::now();
  std::uint64_t sent_ = 0;  // not accounted yet
  std::uint64_t received_ = 0;
};

}  // namespace

std::shared_ptr<lt::peer_plugin> ContentPlugin::new_connection(
    const lt::peer_connection_handle& peer) {
  if (peer.type() != lt::connection_type::bittorrent) return nullptr;
  return std::make_shared<ContentPeer>(peer, events_, counters_);
}

}  // namespace btfc::torrent
