// Messages between hosts: their kinds, and checks of what comes from outside.
// Internal to torrent/. Any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "index/content.h"
#include "index/ids.h"
#include "torrent/gossip.pb.h"

namespace btfc::torrent {

// First byte of a message. Numbers are part of the protocol and never change their meaning.
enum class Kind : std::uint8_t {
  kHello = 1,
  kSummary = 2,
  kDelta = 3,
  kDeltaResult = 4,
  kProgress = 5,
  kWant = 6,
  kUnwant = 7,
  kHave = 8,
  kGet = 9,
  kChunk = 10,
  kGone = 11,
  kLoad = 12,
  kLoaded = 13,
  kAddresses = 14,
  kPing = 15,
  kPong = 16,
  kHolding = 17,
};

inline constexpr std::uint32_t kProtocolVersion = 2;
inline constexpr std::size_t kMessageMax = 256 * 1024 + 1024;  // bytes, without the kind
inline constexpr std::size_t kDevicesMax = 8192;               // in one summary
inline constexpr int kContentsMax = 1024;                      // in one message
inline constexpr int kAddressesMax = 256;                      // in one message
inline constexpr std::size_t kHostNameMax = 255;               // bytes
inline constexpr std::size_t kChunkMax = 64 * 1024;            // bytes
inline constexpr std::size_t kLayerMessageMax = 256 * 1024;    // bytes of a layer in one message

// Sizes above this are refused: they could not be a file's.
inline constexpr std::uint64_t kObjectSizeMax = std::uint64_t{1} << 46U;  // bytes

template <class Message>
std::optional<Message> Parse(std::string_view bytes) {
  Message message;
  if (bytes.size() > kMessageMax ||
      !message.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
    return std::nullopt;
  }
  return message;
}

void ToWire(const index::ContentId& id, wire::Content* out);
void ToWire(const index::Summary& summary, wire::Summary* out);
std::string ToBytes(const index::DeviceId& device);

// Nothing for what no host of this protocol sends.
std::optional<index::ContentId> FromWire(const wire::Content& content);
std::optional<index::Summary> FromWire(const wire::Summary& summary);
std::optional<index::DeviceId> ToDevice(std::string_view bytes);

// Printable, bounded: for logs and status.
std::string SafeName(std::string_view name);

bool Covers(const index::Summary& summary, const index::Summary& other);
void Join(index::Summary& summary, const index::Summary& other);

}  // namespace btfc::torrent
