#include "index/delta.h"

#include <string>

#include "targets.h"

namespace btfc::fuzz {

// What is taken is taken again after it was written anew: hosts pass rows on.
void Delta(std::string_view bytes) {
  const auto part = index::ParsePart(bytes);
  if (!part) return;
  const std::string again = part.value().SerializeAsString();
  BTFC_FUZZ_CHECK(index::ParsePart(again).has_value());
}

}  // namespace btfc::fuzz
