// What a write knew of its inode's versions, and which of them it put aside.
#pragma once

#include <set>

#include "index/ids.h"

namespace btfc::index {

// Commits in `aside`, all of them covered by the context, were covered by a repair and by no user:
// their contents stand in conflict copies. All others that the context covers were overwritten or
// deleted by somebody who had them before him. See tests/model/replication.py, Known.
struct Known {
  Summary context;
  std::set<Dot> aside;
  bool operator==(const Known&) const = default;

  bool empty() const { return context.empty() && aside.empty(); }
  bool Covers(const Dot& commit) const;
  bool Overwrote(const Dot& commit) const { return Covers(commit) && !aside.contains(commit); }
};

// What one side overwrote is overwritten.
Known Unite(const Known& a, const Known& b);

// Covers a version, which itself knew `version`, without its user's consent.
Known SetAside(const Known& known, const Known& version, const Dot& commit);

}  // namespace btfc::index
