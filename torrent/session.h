// This host's libtorrent session with the cluster's control torrent. Internal to torrent/; hides
// libtorrent from the rest of the folder.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "index/result.h"
#include "torrent/identity.h"
#include "torrent/link.h"
#include "torrent/loop.h"

namespace btfc::torrent {

struct SessionOptions {
  ClusterKey cluster;
  NodeIdentity node;
  std::filesystem::path state_dir;
  std::vector<std::string> listen;
  std::uint16_t port = 0;
  std::vector<std::string> trackers;
  bool lpd = true;
  bool dht = false;
  // Whether this node key's host is no member any more; any thread, at once.
  std::function<bool(const Sha256& node_key)> removed;
};

struct SessionHandle;  // libtorrent's side, for content_torrents.cc

// Why a connection ended in the TLS handshake.
enum class Refusal : std::uint8_t {
  kNoSuchTorrent,  // it named one that is not loaded: an object's, or another cluster's
  kNotVerified,    // no member's certificate, or the torrent was unloaded before that came
  kOther,
};

class Session {
 public:
  using Refused =
      std::function<void(const std::string& ip, Refusal refusal, const std::string& why)>;
  // Alerts are taken on `loop`. Links are told to `listener` on the network thread, and refused
  // connections to `refused` on `loop`.
  static Result<std::unique_ptr<Session>> Start(const SessionOptions& options, Loop& loop,
                                                LinkListener& listener, Refused refused,
                                                std::string* why);
  ~Session();
  // Closes everything and waits for the network thread; about two seconds at most, ten more if
  // connections that are on their way in do not end. From any thread but the loop's and
  // libtorrent's.
  void Stop();

  std::uint16_t port() const;
  // Another host's address and TLS port; dialled for ever from now on. Any thread.
  void Dial(const std::string& ip, std::uint16_t port);
  // The same, and at once: how often it failed, or was one connection too many, counts no more. Any
  // thread.
  void Redial(const std::string& ip, std::uint16_t port);
  // Listens on what addresses this host has now. On the loop.
  void RefreshAddresses();
  // Internal.
  SessionHandle& handle();

 private:
  class Impl;
  explicit Session(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace btfc::torrent
