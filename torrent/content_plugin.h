// What happens on the torrents of objects. Internal to torrent/; includes libtorrent.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <libtorrent/extensions.hpp>
#include <libtorrent/fwd.hpp>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "torrent/doorkeeper.h"
#include "torrent/fan_out.h"

namespace btfc::torrent {

// Counted on the network thread, read on any.
struct TorrentCounters {
  std::atomic<std::uint64_t> received_bytes = 0;
  std::atomic<std::uint64_t> sent_bytes = 0;
  std::atomic<int> connections = 0;
};

// Called on the network thread: must return at once.
struct TorrentEvents {
  std::function<void(int piece)> have;  // passed its check
  std::function<void()> closed;         // gone, and its file is closed
  std::function<void(const std::string& ip, std::uint64_t sent, std::uint64_t received)> traffic;
};

class ContentPeer;

// Used by libtorrent on its network thread. Lives as long as the torrent, which lives until its
// storage is closed.
//
// A holder of everything says in its extension handshake that it hides ("btfc_hide"): the receiver
// then takes no notice of the HAVE_ALL that libtorrent sends, and goes by the HAVEs that follow,
// which FanOut chooses. Who needs certain pieces first ends that with the extended message
// "btfc_reveal", which is empty.
class ContentPlugin final : public lt::torrent_plugin,
                            public std::enable_shared_from_this<ContentPlugin> {
 public:
  // `hidden_pieces`: of a holder that hides.
  ContentPlugin(TorrentEvents events, std::shared_ptr<TorrentCounters> counters,
                std::shared_ptr<Doorkeeper> doorkeeper, std::optional<std::uint32_t> hidden_pieces,
                bool reveal_all);
  ~ContentPlugin() override;
  ContentPlugin(const ContentPlugin&) = delete;
  ContentPlugin& operator=(const ContentPlugin&) = delete;

  std::shared_ptr<lt::peer_plugin> new_connection(const lt::peer_connection_handle& peer) override;
  void on_piece_pass(lt::piece_index_t piece) override;
  void tick() override;

  // From now on holders hide nothing from us.
  void RevealAll();

  // For ContentPeer.
  FanOut* fan_out() { return fan_out_ ? &*fan_out_ : nullptr; }
  bool reveal_all() const { return reveal_all_; }
  void OfferAll();

 private:
  const TorrentEvents events_;
  const std::shared_ptr<TorrentCounters> counters_;
  const std::shared_ptr<Doorkeeper> doorkeeper_;
  std::optional<FanOut> fan_out_;
  bool reveal_all_;
  std::vector<std::weak_ptr<ContentPeer>> peers_;
};

}  // namespace btfc::torrent
