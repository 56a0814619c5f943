#include "fs/open_files.h"

#include <algorithm>

namespace btfc::fs {

void OpenFiles::Add(NodeId node, Handle handle) {
  const std::lock_guard lock(mutex_);
  entries_[node].handles.push_back(handle);
}

void OpenFiles::Remove(NodeId node, Handle handle) {
  const std::lock_guard lock(mutex_);
  const auto found = entries_.find(node);
  if (found == entries_.end()) return;
  auto& handles = found->second.handles;
  const auto at = std::ranges::find(handles, handle);
  if (at != handles.end()) handles.erase(at);
  if (handles.empty()) entries_.erase(found);
}

std::optional<Handle> OpenFiles::AnyOf(NodeId node) const {
  const std::lock_guard lock(mutex_);
  const auto found = entries_.find(node);
  if (found == entries_.end()) return std::nullopt;
  return found->second.handles.front();
}

void OpenFiles::Remember(NodeId node, Without what, std::uint64_t epoch) {
  const std::lock_guard lock(mutex_);
  const auto found = entries_.find(node);
  if (found == entries_.end()) return;
  found->second.without = what;
  found->second.epoch = epoch;
}

bool OpenFiles::Known(NodeId node, Without what, std::uint64_t epoch) const {
  const std::lock_guard lock(mutex_);
  const auto found = entries_.find(node);
  return found != entries_.end() && found->second.epoch == epoch && found->second.without >= what;
}

}  // namespace btfc::fs
