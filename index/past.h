// Where paths lead and once led: the rows of what was removed stay for a while, and say so.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "index/catalogue.h"
#include "index/rows.h"

namespace btfc::index {

// A link that is there no more.
struct RemovedLink {
  LinkNo link = 0;
  Ino ino = 0;
  std::string name;
  Kind kind = Kind::kFile;
  std::int64_t placed_ns = 0;   // when it came to this name
  std::int64_t removed_ns = 0;  // both by the clocks of those who did it
};

// EINVAL for a path that is none; "/" has no names.
Result<std::vector<std::string>> SplitPath(std::string_view path);
PastInodes ResolvePast(Database& db, const std::vector<std::string>& names);
// The folders themselves and those that were merged into them.
std::vector<Ino> WithMerged(Database& db, std::vector<Ino> folders);
// Removed links in these folders, of this name or of all.
std::vector<RemovedLink> RemovedIn(Database& db, const std::vector<Ino>& folders,
                                   const std::optional<std::string>& name);

}  // namespace btfc::index
