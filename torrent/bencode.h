// Bencoding of what we make ourselves. Internal to torrent/. Any thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace btfc::torrent {

inline std::string Bencode(std::string_view bytes) {
  return std::to_string(bytes.size()) + ":" + std::string(bytes);
}
inline std::string Bencode(std::uint64_t number) { return "i" + std::to_string(number) + "e"; }

}  // namespace btfc::torrent
