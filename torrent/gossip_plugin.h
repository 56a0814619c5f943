// The BEP 10 extension "btfc" on the connections of the control torrent. Internal to torrent/;
// includes libtorrent.
#pragma once

#include <boost/asio/io_context.hpp>
#include <libtorrent/extensions.hpp>
#include <libtorrent/fwd.hpp>
#include <memory>
#include <mutex>
#include <optional>

#include "torrent/doorkeeper.h"
#include "torrent/link.h"

namespace btfc::torrent {

// The network thread's queue, for as long as the session lives.
class NetworkQueue {
 public:
  explicit NetworkQueue(boost::asio::io_context* context) : context_(context) {}
  // From any thread; after Close tasks are dropped.
  void Post(std::function<void()> task);
  void Close();

 private:
  std::mutex mutex_;  // held while a task is queued, which never runs it
  boost::asio::io_context* context_;
};

// The most that libtorrent counts for an address, which it dials after so many seconds and one:
// that of a connection that was one too many.
inline constexpr unsigned kDuplicateFailures = 31;

// Used by libtorrent on its network thread.
class ControlPlugin final : public lt::torrent_plugin {
 public:
  ControlPlugin(std::shared_ptr<NetworkQueue> queue, std::shared_ptr<Doorkeeper> doorkeeper,
                LinkListener& listener)
      : queue_(std::move(queue)), doorkeeper_(std::move(doorkeeper)), listener_(listener) {}
  std::shared_ptr<lt::peer_plugin> new_connection(const lt::peer_connection_handle& peer) override;

 private:
  const std::shared_ptr<NetworkQueue> queue_;
  const std::shared_ptr<Doorkeeper> doorkeeper_;
  LinkListener& listener_;
};

// Makes a peer that came in known; null for one that we dialled.
std::unique_ptr<Visit> Welcome(const std::shared_ptr<Doorkeeper>& doorkeeper,
                               const lt::peer_connection_handle& peer);
// Of the certificate that it showed; nothing if there was no TLS.
std::optional<Sha256> NodeKeyOf(const lt::peer_connection_handle& peer);
// Without it header and body of a message wait for each other's acknowledgement (Nagle).
void DisableNagle(const lt::peer_connection_handle& peer);
// For a connection that is being closed: libtorrent would wait three seconds for the other end's
// last word, and the session with it. What was sent still arrives.
void HangUp(const lt::peer_connection_handle& peer);

}  // namespace btfc::torrent
