// What happens on the torrents of objects. Internal to torrent/; includes libtorrent.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <libtorrent/extensions.hpp>
#include <libtorrent/fwd.hpp>
#include <memory>
#include <string>

namespace btfc::torrent {

// Counted on the network thread, read on any.
struct TorrentCounters {
  std::atomic<std::uint64_t> received_bytes = 0;
  std::atomic<std::uint64_t> sent_bytes = 0;
  std::atomic<int> connections = 0;
};

// Called on the network thread: must return at once.
struct TorrentEvents {
  std::function<void()> checked;        // can start
  std::function<void(int piece)> have;  // passed its check
  std::function<void()> closed;         // gone, and its file is closed
  std::function<void(const std::string& ip, std::uint64_t sent, std::uint64_t received)> traffic;
};

// Used by libtorrent on its network thread. Lives as long as the torrent, which lives until its
// storage is closed.
class ContentPlugin final : public lt::torrent_plugin {
 public:
  ContentPlugin(TorrentEvents events, std::shared_ptr<TorrentCounters> counters)
      : events_(std::move(events)), counters_(std::move(counters)) {}
  ~ContentPlugin() override { events_.closed(); }
  ContentPlugin(const ContentPlugin&) = delete;
  ContentPlugin& operator=(const ContentPlugin&) = delete;

  std::shared_ptr<lt::peer_plugin> new_connection(const lt::peer_connection_handle& peer) override;
  void on_piece_pass(lt::piece_index_t piece) override { events_.have(static_cast<int>(piece)); }

 private:
  const TorrentEvents events_;
  const std::shared_ptr<TorrentCounters> counters_;
};

}  // namespace btfc::torrent
