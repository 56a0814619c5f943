// How repairs stamp what they write.
#pragma once

#include <limits>

#include "index/ids.h"
#include "index/sqlite.h"

namespace btfc::index {

// Rows beyond these are refused on arrival, so that a repair always has a number left.
inline constexpr std::int64_t kStampTimeMax = std::int64_t{1} << 62;  // ns, either sign
inline constexpr std::uint32_t kStampCountMax = std::numeric_limits<std::uint32_t>::max() - 1;
inline constexpr std::uint64_t kDotMax = std::uint64_t{1} << 62;

inline std::uint32_t NextCount(std::uint32_t count) {
  // Only a delta made to harm can get here; it is refused as a whole.
  if (count >= kStampCountMax) throw StorageFailure(Error::kCorrupt, "a stamp is used up");
  return count + 1;
}

inline Stamp Repaired(Stamp stamp) {
  stamp.sub = NextCount(stamp.sub);
  return stamp;
}

inline Stamp Revived(Stamp stamp) {
  stamp.life = NextCount(stamp.life);
  stamp.sub = 0;
  return stamp;
}

}  // namespace btfc::index
