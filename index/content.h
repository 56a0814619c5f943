// The identity of a file's bytes.
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace btfc::index {

// Contents up to this size travel and are kept inside the index.
inline constexpr std::uint64_t kInlineMax = 16 * 1024;  // bytes

// An object: root is the BEP 52 merkle root ("pieces root") over SHA-256 of 16 KiB blocks; all
// zero for the empty content.
struct ContentId {
  std::array<std::uint8_t, 32> root{};
  std::uint64_t size = 0;  // bytes
  auto operator<=>(const ContentId&) const = default;
};

std::string ToHex(const ContentId& id);  // 64 hex digits of the root

// What a file is called that holds the content, or something of it: ROOT-SIZE.
std::string ContentName(const ContentId& id);
std::optional<ContentId> ParseContentName(std::string_view name);

}  // namespace btfc::index
