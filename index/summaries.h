// What hosts know of each other's rows: questions and joins of summaries. Contexts of versions are
// summaries too.
#pragma once

#include <algorithm>
#include <iterator>

#include "index/ids.h"

namespace btfc::index {

inline bool Covers(const Summary& summary, const Dot& dot) {
  const auto found = summary.find(dot.device);
  return found != summary.end() && found->second >= dot.n;
}

inline bool Covers(const Summary& summary, const Summary& other) {
  return std::all_of(other.begin(), other.end(), [&](const auto& entry) {
    return entry.second == 0 || Covers(summary, Dot{entry.first, entry.second});
  });
}

inline void JoinInto(Summary& summary, const Dot& dot) {
  auto& n = summary[dot.device];
  n = std::max(n, dot.n);
}

inline void JoinInto(Summary& summary, const Summary& other) {
  for (const auto& [device, n] : other) JoinInto(summary, Dot{device, n});
}

inline Summary Join(Summary a, const Summary& b) {
  JoinInto(a, b);
  return a;
}

// What both know.
inline void MeetInto(Summary& summary, const Summary& other) {
  for (auto entry = summary.begin(); entry != summary.end();) {
    const auto found = other.find(entry->first);
    entry->second = found == other.end() ? 0 : std::min(entry->second, found->second);
    entry = entry->second == 0 ? summary.erase(entry) : std::next(entry);
  }
}

}  // namespace btfc::index
