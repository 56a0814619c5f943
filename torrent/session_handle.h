// What session.cc shares with content_torrents.cc. Internal to torrent/; includes libtorrent.
#pragma once

#include <functional>
#include <libtorrent/alert.hpp>
#include <libtorrent/session.hpp>
#include <memory>

#include "torrent/doorkeeper.h"
#include "torrent/gossip_plugin.h"
#include "torrent/identity.h"

namespace btfc::torrent {

struct SessionHandle {
  lt::session* session = nullptr;
  std::shared_ptr<NetworkQueue> queue;
  std::shared_ptr<Doorkeeper> doorkeeper;
  ClusterKey cluster;
  NodeIdentity node;
  // Alerts of content torrents, on the session's loop.
  std::function<void(lt::alert*)> on_alert;
};

// Shows this host's certificate to a torrent's peers. To be called where libtorrent makes the
// torrent's plugin: on the network thread, before any connection can name the torrent. In between
// connections would be refused.
void SetCertificate(lt::torrent_handle torrent, const NodeIdentity& node);

}  // namespace btfc::torrent
