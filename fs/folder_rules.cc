#include "fs/folder_rules.h"

#include <utility>

namespace btfc::fs {
namespace {

constexpr std::size_t kKeptMax = 1000;

}  // namespace

Result<std::shared_ptr<const FolderRules::Rules>> FolderRules::Of(index::Ino folder) {
  std::uint64_t changes = 0;
  {
    const std::lock_guard lock(mutex_);
    const auto found = kept_.find(folder);
    if (found != kept_.end()) return found->second;
    changes = changes_;
  }
  BTFC_TRY(node, catalogue_.Get(folder));
  BTFC_TRY(acl, catalogue_.AclDefault(folder));
  auto rules = std::make_shared<const Rules>(Rules{node.mode, node.owner, std::move(acl)});
  const std::lock_guard lock(mutex_);
  // What was read before a change may be what was so before it.
  if (changes == changes_) {
    if (kept_.size() >= kKeptMax) kept_.clear();
    kept_.emplace(folder, rules);
  }
  return rules;
}

void FolderRules::Changed() {
  const std::lock_guard lock(mutex_);
  ++changes_;
  kept_.clear();
}

}  // namespace btfc::fs
