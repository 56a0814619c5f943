// What a folder hands on to what is made in it.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>

#include "index/catalogue.h"

namespace btfc::fs {

// Kept, as every creation needs it and it hardly ever changes. All calls from any thread.
class FolderRules {
 public:
  struct Rules {
    std::uint32_t mode = 0;
    index::Owner owner;
    std::string acl_default;
  };

  explicit FolderRules(index::Catalogue& catalogue) : catalogue_(catalogue) {}

  Result<std::shared_ptr<const Rules>> Of(index::Ino folder);
  // Some folder's mode, owner or ACL changed.
  void Changed();

 private:
  index::Catalogue& catalogue_;
  std::mutex mutex_;
  std::uint64_t changes_ = 0;                                          // guarded by mutex_
  std::unordered_map<index::Ino, std::shared_ptr<const Rules>> kept_;  // guarded by mutex_
};

}  // namespace btfc::fs
