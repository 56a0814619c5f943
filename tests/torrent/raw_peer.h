// A BitTorrent peer of the control torrent, made of a socket and OpenSSL: it goes as far as a test
// wants and then stops talking. Blocking; used by one thread.
#pragma once

#include <openssl/ssl.h>

#include <cstdint>
#include <functional>
#include <string>

#include "torrent/certificates.h"
#include "torrent/codec.h"
#include "torrent/identity.h"

namespace btfc::torrent {

class RawPeer {
 public:
  RawPeer();
  ~RawPeer();
  RawPeer(const RawPeer&) = delete;
  RawPeer& operator=(const RawPeer&) = delete;

  // TCP only; false if nobody listens there.
  [[nodiscard]] bool Connect(const std::string& ip, std::uint16_t port);
  // TLS with the control torrent's name, or another's, as the node.
  [[nodiscard]] bool Handshake(const ClusterKey& cluster, const NodeIdentity& node,
                               const std::string& torrent = {});
  // BitTorrent's handshake; true if the other end answers with its own.
  [[nodiscard]] bool Greet(const ClusterKey& cluster);
  [[nodiscard]] bool Send(const std::string& bytes);
  [[nodiscard]] bool SendPlain(const std::string& bytes);  // without TLS
  // Up to `size` bytes; fewer if the other end closed or was silent for ten seconds.
  std::string Receive(std::size_t size);
  // The other end closed within the time that Receive waits; what it sent before is dropped.
  bool Closed();

  int socket() const { return socket_; }

  // Called in the middle of Handshake: the other end waits for our certificate.
  std::function<void()> meanwhile = [] {};

 private:
  using ContextPtr = std::unique_ptr<SSL_CTX, OpenSslFree<SSL_CTX_free>>;
  using StreamPtr = std::unique_ptr<SSL, OpenSslFree<SSL_free>>;

  int socket_ = -1;
  ContextPtr context_;
  StreamPtr stream_;
};

// How a torrent is named in the TLS handshake, by its info dictionary.
std::string TorrentName(const std::string& info);

// What a member says first, as the first device of its key.
wire::Hello HelloOf(const NodeIdentity& node, const std::string& host);

}  // namespace btfc::torrent
