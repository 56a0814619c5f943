// Names of replicated things: devices, inodes, links; dots, stamps and summaries.
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <map>
#include <string>

namespace btfc::index {

// 16 opaque bytes; ordered bytewise, which is the order that every host agrees on.
template <class Tag>
struct Id {
  std::array<std::uint8_t, 16> bytes{};
  auto operator<=>(const Id&) const = default;
};
using DeviceId = Id<struct DeviceTag>;
using InodeId = Id<struct InodeTag>;
using LinkId = Id<struct LinkTag>;  // a folder's only link has the folder's id

template <class Tag>
std::string ToHex(const Id<Tag>& id) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string hex;
  for (const auto byte : id.bytes) {
    hex += kDigits[byte >> 4U];
    hex += kDigits[byte & 15U];
  }
  return hex;
}

// A host's identity, whatever device it is at the time: SHA-256 of its public key's DER form.
using NodeKey = std::array<std::uint8_t, 32>;

// Number n (1, 2, ...) of the rows that a device wrote. Never used twice.
struct Dot {
  DeviceId device;
  std::uint64_t n = 0;
  auto operator<=>(const Dot&) const = default;
};

// Orders the writes to one register. Users write life = sub = 0; a repair that brings a link
// back adds 1 to life, any other repair adds 1 to sub.
struct Stamp {
  std::int64_t time_ns = 0;  // since the epoch, or above the stamps that the write replaces
  DeviceId device;
  std::uint32_t life = 0;
  std::uint32_t sub = 0;
  auto operator<=>(const Stamp&) const = default;
};

// Device -> highest number of its rows that are known.
using Summary = std::map<DeviceId, std::uint64_t>;

}  // namespace btfc::index
