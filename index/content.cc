#include "index/content.h"

#include <fmt/format.h>

namespace btfc::index {

std::string ToHex(const ContentId& id) {
  std::string hex;
  hex.reserve(2 * id.root.size());
  for (const auto byte : id.root) fmt::format_to(std::back_inserter(hex), "{:02x}", byte);
  return hex;
}

}  // namespace btfc::index
