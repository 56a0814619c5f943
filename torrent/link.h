// One connection of the control torrent, on which messages go to and fro. Internal to torrent/.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "torrent/certificates.h"
#include "torrent/codec.h"

namespace btfc::torrent {

class Link {
 public:
  using Clock = std::chrono::steady_clock;
  enum class End {
    kNormal,     // may be dialled again soon
    kDuplicate,  // the same host is connected otherwise: dialled again after half a minute
  };

  virtual ~Link() = default;

  // Any thread; returns at once. One message is one write.
  virtual void Send(Kind kind, std::string_view payload) = 0;
  virtual void Close(End end) = 0;

  void Send(Kind kind, const google::protobuf::MessageLite& message) {
    Send(kind, std::string_view(message.SerializeAsString()));
  }

  // Constant once the link is up.
  std::uint64_t number = 0;  // never used twice in a session
  bool outgoing = false;
  std::string ip;          // of the other end
  std::uint16_t port = 0;  // of this connection there
  std::string address;     // ip:port of this connection, for people
  Sha256 node_key{};       // of the certificate that the other end showed
  bool read_only = false;  // as that certificate says

  std::atomic<std::uint64_t> sent_bytes = 0;
  std::atomic<std::uint64_t> received_bytes = 0;
  std::atomic<Clock::rep> heard = 0;  // when bytes last came in
  // Bytes of messages that came in and were not dealt with yet; a peer that keeps to the windows
  // stays far below kInboxMax.
  std::atomic<std::int64_t> inbox_bytes = 0;
};
using LinkPtr = std::shared_ptr<Link>;

inline constexpr std::int64_t kInboxMax = 32 * 1024 * 1024;  // bytes
// What a message counts for in inbox_bytes beside its kind and payload: many small ones are as much
// work as few large ones.
inline constexpr std::int64_t kMessageCost = 512;

// Told of what happens on links, on the network thread: must return at once.
class LinkListener {
 public:
  virtual ~LinkListener() = default;
  virtual void OnLinkUp(const LinkPtr& link) = 0;
  // inbox_bytes already counts the payload; whoever is done with it takes it off again.
  virtual void OnMessage(const LinkPtr& link, Kind kind, std::string payload) = 0;
  virtual void OnLinkDown(const LinkPtr& link) = 0;
  // What the other end sent has no meaning; the connection is being closed.
  virtual void OnNonsense(const LinkPtr& link, std::string_view what) = 0;
};

}  // namespace btfc::torrent
