// What a host's kernel keeps of the mount: names (also those that are not there), attributes and
// bytes, for ever, until it is told that they changed. What the catalogue does not tell stays
// stale.
#pragma once

#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "simulation_host.h"

namespace btfc::index {

using CachedName = std::pair<Ino, std::string>;  // folder and name

// A walk through the whole tree.
struct Walk {
  struct Seen {
    Kind kind = Kind::kFile;
    std::uint32_t mode = 0, nlink = 0;
    std::uint64_t size = 0;
    std::int64_t mtime_ns = 0;
    ContentId content;
  };
  std::map<CachedName, Ino> names;  // 0: not there
  std::map<Ino, Seen> nodes;
  std::map<std::string, CachedName> paths;
};

class KernelCache {
 public:
  // Names that applications ask for in every folder.
  explicit KernelCache(std::vector<std::string> asked) : asked_(std::move(asked)) {}

  // What one local operation itself changed: the kernel knows. Of names it may know that they are
  // gone.
  struct Own {
    std::set<CachedName> names, gone;
    std::set<Ino> nodes;
  };

  Walk Read(Catalogue& catalogue) const;
  // Drops what the catalogue told and what was the kernel's own doing. Throws if anything that is
  // still kept is not as it is; then keeps what is.
  void Check(const Walk& now, const std::vector<Change>& told, const Own& own);

 private:
  void Drop(const std::vector<Change>& told, const Own& own);

  std::vector<std::string> asked_;
  std::map<CachedName, Ino> names_;
  std::map<Ino, Walk::Seen> attributes_;
  std::map<Ino, ContentId> bytes_;
};

}  // namespace btfc::index
