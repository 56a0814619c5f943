// What a write knew of its inode's versions.
#pragma once

#include <set>

#include "index/ids.h"
#include "index/summaries.h"

namespace btfc::index {

// Commits in `aside` were covered by a repair and by no user: their contents stand in conflict
// copies. All others in the context were overwritten by somebody who had them before him.
struct Known {
  Summary context;
  std::set<Dot> aside;
  bool operator==(const Known&) const = default;

  bool Overwrote(const Dot& commit) const {
    return Covers(context, commit) && !aside.contains(commit);
  }

  // What one side overwrote is overwritten.
  Known Unite(const Known& other) const {
    Known united{Join(context, other.context), {}};
    for (const Dot& commit : aside) {
      if (!other.Overwrote(commit)) united.aside.insert(commit);
    }
    for (const Dot& commit : other.aside) {
      if (!Overwrote(commit)) united.aside.insert(commit);
    }
    return united;
  }

  // Covers a version, and what it knew, without its user's consent.
  Known SetAside(const Known& version, const Dot& commit) const {
    Known known = Unite(version);
    if (known.Overwrote(commit)) return known;
    JoinInto(known.context, commit);
    known.aside.insert(commit);
    return known;
  }
};

}  // namespace btfc::index
