#include "raw_peer.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <openssl/sha.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <utility>

#include "index/derived_ids.h"
#include "torrent/content_info.h"

namespace btfc::torrent {
namespace {

constexpr timeval kSilenceMax{10, 0};
constexpr std::size_t kHashSize = 20;
constexpr std::size_t kGreetingSize = 68;

// Version 2 names a torrent by the first bytes of this where version 1 had room for twenty.
std::string HashOf(const std::string& info) {
  std::array<unsigned char, SHA256_DIGEST_LENGTH> digest{};
  SHA256(reinterpret_cast<const unsigned char*>(info.data()), info.size(), digest.data());
  return {reinterpret_cast<const char*>(digest.data()), kHashSize};
}

std::string ControlHash(const ClusterKey& cluster) { return HashOf(ControlInfo(cluster)); }

std::string Hex(const std::string& bytes) {
  constexpr char kDigits[] = "0123456789abcdef";
  std::string hex;
  for (const char c : bytes) {
    const auto byte = static_cast<unsigned char>(c);
    hex += kDigits[byte >> 4U];
    hex += kDigits[byte & 15U];
  }
  return hex;
}

}  // namespace

// OpenSSL writes with write(2): that the other end has closed is an error here, and no signal.
RawPeer::RawPeer() { std::signal(SIGPIPE, SIG_IGN); }

RawPeer::~RawPeer() {
  stream_.reset();
  if (socket_ >= 0) ::close(socket_);
}

bool RawPeer::Connect(const std::string& ip, std::uint16_t port) {
  if (socket_ >= 0) ::close(std::exchange(socket_, -1));
  socket_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  ::setsockopt(socket_, SOL_SOCKET, SO_RCVTIMEO, &kSilenceMax, sizeof kSilenceMax);
  ::setsockopt(socket_, SOL_SOCKET, SO_SNDTIMEO, &kSilenceMax, sizeof kSilenceMax);
  sockaddr_in where{};
  where.sin_family = AF_INET;
  where.sin_port = htons(port);
  return ::inet_pton(AF_INET, ip.c_str(), &where.sin_addr) == 1 &&
         ::connect(socket_, reinterpret_cast<const sockaddr*>(&where), sizeof where) == 0;
}

bool RawPeer::Handshake(const ClusterKey& cluster, const NodeIdentity& node,
                        const std::string& torrent) {
  const std::string name = torrent.empty() ? TorrentName(ControlInfo(cluster)) : torrent;
  context_.reset(SSL_CTX_new(TLS_client_method()));
  const auto verify = [](X509_STORE_CTX* /*chain*/, void* peer) {
    static_cast<RawPeer*>(peer)->meanwhile();
    return 1;
  };
  SSL_CTX_set_cert_verify_callback(context_.get(), verify, this);
  stream_.reset(SSL_new(context_.get()));
  const CertificatePtr certificate = CertificateFromPem(node.cert_pem);
  const KeyPtr key = KeyFromPem(node.key_pem);
  return SSL_use_certificate(stream_.get(), certificate.get()) == 1 &&
         SSL_use_PrivateKey(stream_.get(), key.get()) == 1 &&
         SSL_set_tlsext_host_name(stream_.get(), name.c_str()) == 1 &&
         SSL_set_fd(stream_.get(), socket_) == 1 && SSL_connect(stream_.get()) == 1;
}

bool RawPeer::Greet(const ClusterKey& cluster) {
  const std::string hash = ControlHash(cluster);
  std::string reserved(8, '\0');
  reserved[5] = '\x10';  // extensions (BEP 10)
  reserved[7] = '\x10';  // version 2 (BEP 52)
  const std::string greeting =
      "\x13"
      "BitTorrent protocol" +
      reserved + hash + std::string(20, 'r');
  if (!Send(greeting)) return false;
  const std::string answer = Receive(kGreetingSize);
  return answer.size() == kGreetingSize && answer.substr(28, kHashSize) == hash;
}

bool RawPeer::Send(const std::string& bytes) {
  return SSL_write(stream_.get(), bytes.data(), static_cast<int>(bytes.size())) ==
         static_cast<int>(bytes.size());
}

bool RawPeer::SendPlain(const std::string& bytes) {
  return ::send(socket_, bytes.data(), bytes.size(), MSG_NOSIGNAL) ==
         static_cast<ssize_t>(bytes.size());
}

std::string RawPeer::Receive(std::size_t size) {
  std::string bytes(size, '\0');
  std::size_t done = 0;
  while (done < size) {
    const int n = SSL_read(stream_.get(), bytes.data() + done, static_cast<int>(size - done));
    if (n <= 0) break;
    done += static_cast<std::size_t>(n);
  }
  bytes.resize(done);
  return bytes;
}

bool RawPeer::Closed() {
  std::array<char, 4096> dropped{};
  for (;;) {
    const ssize_t n = ::recv(socket_, dropped.data(), dropped.size(), 0);
    if (n > 0) continue;
    return n == 0 || errno == ECONNRESET;
  }
}

std::string TorrentName(const std::string& info) { return Hex(HashOf(info)); }

wire::Hello HelloOf(const NodeIdentity& node, const std::string& host) {
  wire::Hello hello;
  hello.set_version(kProtocolVersion);
  hello.set_device(ToBytes(index::DeviceIdOf(node.node_key, 0)));
  hello.set_node_key(node.node_key.data(), node.node_key.size());
  hello.set_host(host);
  hello.set_port(1);
  return hello;
}

}  // namespace btfc::torrent
