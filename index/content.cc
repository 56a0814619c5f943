#include "index/content.h"

#include <fmt/format.h>

#include <charconv>

namespace btfc::index {

std::string ToHex(const ContentId& id) {
  std::string hex;
  hex.reserve(2 * id.root.size());
  for (const auto byte : id.root) fmt::format_to(std::back_inserter(hex), "{:02x}", byte);
  return hex;
}

std::string ContentName(const ContentId& id) { return ToHex(id) + "-" + std::to_string(id.size); }

std::optional<ContentId> ParseContentName(std::string_view name) {
  ContentId id;
  if (name.size() <= 2 * id.root.size() + 1 || name[2 * id.root.size()] != '-') return std::nullopt;
  const auto* text = name.data();
  for (auto& byte : id.root) {
    if (std::from_chars(text, text + 2, byte, 16).ptr != text + 2) return std::nullopt;
    text += 2;
  }
  const auto* end = name.data() + name.size();
  const auto size = std::from_chars(text + 1, end, id.size);
  if (size.ec != std::errc() || size.ptr != end || ContentName(id) != name) return std::nullopt;
  return id;
}

}  // namespace btfc::index
