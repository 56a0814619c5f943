#include "index/known.h"

#include <algorithm>
#include <iterator>

#include "index/summaries.h"

namespace btfc::index {

bool Known::Covers(const Dot& commit) const { return index::Covers(context, commit); }

Known Unite(const Known& a, const Known& b) {
  Known united{Join(a.context, b.context), {}};
  const auto keep = [&united](const Known& side, const Known& other) {
    std::copy_if(side.aside.begin(), side.aside.end(),
                 std::inserter(united.aside, united.aside.end()),
                 [&other](const Dot& commit) { return !other.Overwrote(commit); });
  };
  keep(a, b);
  keep(b, a);
  return united;
}

Known SetAside(const Known& known, const Known& version, const Dot& commit) {
  Known united = Unite(known, version);
  if (united.Overwrote(commit)) return united;
  JoinInto(united.context, commit);
  united.aside.insert(commit);
  return united;
}

}  // namespace btfc::index
