#include "fs/node_table.h"

#include <random>

namespace btfc::fs {

// Somewhere else at each mount: a file handle outlives it, and must not lead to another inode that
// has got its number.
NodeId NodeTable::FirstNew() {
  constexpr std::uint64_t kStarts = kFirstNew >> 32U;
  return kFirstNew + ((std::random_device()() % kStarts) << 32U);
}

NodeId NodeTable::Current(index::Ino ino) const {
  if (renumbered_count_ == 0) return ino;
  const std::lock_guard lock(mutex_);
  const auto found = renumbered_.find(ino);
  return found == renumbered_.end() ? ino : found->second.current;
}

index::Ino NodeTable::InoOf(NodeId node) const {
  if (node < kFirstNew) return node;
  const std::lock_guard lock(mutex_);
  const auto found = inodes_.find(node);
  return found == inodes_.end() ? 0 : found->second;
}

bool NodeTable::Superseded(NodeId node) const {
  if (renumbered_count_ == 0) return false;
  return Current(InoOf(node)) != node;
}

NodeTable::Locks NodeTable::LockFor(NodeId node) {
  for (bool all = renumbered_count_ != 0;; all = true) {
    Locks locks;
    if (all) locks.renumbering = std::unique_lock(mutex_);
    locks.shard = std::unique_lock(ShardOf(node).mutex);
    // Supersede raises the count before it looks into a shard: seen here or there.
    if (all || renumbered_count_ == 0) return locks;
  }
}

NodeId NodeTable::Reference(index::Ino ino) {
  NodeId node = ino;
  for (;;) {
    const Locks locks = LockFor(node);
    Renumbered* renumbered = nullptr;
    if (locks.renumbering.owns_lock()) {
      const auto found = renumbered_.find(ino);
      if (found != renumbered_.end()) renumbered = &found->second;
    }
    if (renumbered != nullptr && renumbered->current != node) {
      node = renumbered->current;  // lies in another shard
      continue;
    }
    Node& entry = ShardOf(node).nodes[node];
    if (entry.references == 0 && renumbered != nullptr) ++renumbered->held;
    ++entry.references;
    return node;
  }
}

std::optional<NodeTable::Forgotten> NodeTable::Forget(NodeId node, std::uint64_t count) {
  const Locks locks = LockFor(node);
  auto& nodes = ShardOf(node).nodes;
  const auto found = nodes.find(node);
  if (found == nodes.end()) return std::nullopt;
  if (found->second.references > count) {
    found->second.references -= count;
    return std::nullopt;
  }
  const bool nameless = found->second.nameless != 0;
  nodes.erase(found);
  if (!locks.renumbering.owns_lock()) return Forgotten{node, nameless};

  const auto numbered = inodes_.find(node);
  const index::Ino ino = numbered == inodes_.end() ? node : numbered->second;
  const auto renumbered = renumbered_.find(ino);
  if (renumbered == renumbered_.end()) return Forgotten{ino, nameless};
  if (--renumbered->second.held > 0) {
    if (numbered != inodes_.end() && renumbered->second.current != node) inodes_.erase(numbered);
    return std::nullopt;
  }
  // The kernel has nothing of this inode any more: it may go by its own number again.
  const Forgotten forgotten{ino, nameless || renumbered->second.nameless};
  if (numbered != inodes_.end()) inodes_.erase(numbered);
  inodes_.erase(renumbered->second.current);
  renumbered_.erase(renumbered);
  renumbered_count_ = renumbered_.size();
  return forgotten;
}

bool NodeTable::SetNameless(index::Ino ino, bool nameless) {
  const Locks locks = LockFor(ino);
  if (locks.renumbering.owns_lock()) {
    const auto renumbered = renumbered_.find(ino);
    if (renumbered != renumbered_.end()) {
      renumbered->second.nameless = nameless;
      return renumbered->second.held > 0;
    }
  }
  auto& nodes = ShardOf(ino).nodes;
  const auto found = nodes.find(ino);
  if (found == nodes.end()) return false;
  found->second.nameless = nameless ? 1 : 0;
  return true;
}

std::optional<NodeId> NodeTable::Supersede(index::Ino ino) {
  const std::lock_guard lock(mutex_);
  const NodeId node = next_;
  const auto [entry, fresh] = renumbered_.try_emplace(ino);
  renumbered_count_ = renumbered_.size();
  Renumbered& renumbered = entry->second;
  const NodeId old = fresh ? ino : renumbered.current;
  const bool held = Knows(old);
  if (fresh && !held) {
    renumbered_.erase(entry);
    renumbered_count_ = renumbered_.size();
    return std::nullopt;
  }
  // A number that the kernel never saw can stand for the newer content as well.
  if (!held) return std::nullopt;
  if (fresh) {
    renumbered.held = 1;
    const Shard& shard = ShardOf(old);
    const std::lock_guard shard_lock(shard.mutex);
    const auto found = shard.nodes.find(old);
    renumbered.nameless = found != shard.nodes.end() && found->second.nameless != 0;
  }
  ++next_;
  renumbered.current = node;
  inodes_.emplace(node, ino);
  return old;
}

std::vector<index::Ino> NodeTable::Clear() {
  std::vector<index::Ino> nameless;
  const std::lock_guard lock(mutex_);
  for (const auto& [ino, renumbered] : renumbered_) {
    if (renumbered.nameless) nameless.push_back(ino);
  }
  for (Shard& shard : shards_) {
    const std::lock_guard shard_lock(shard.mutex);
    for (const auto& [node, entry] : shard.nodes) {
      if (entry.nameless != 0 && !renumbered_.contains(node)) nameless.push_back(node);
    }
    shard.nodes.clear();
  }
  renumbered_.clear();
  inodes_.clear();
  renumbered_count_ = 0;
  return nameless;
}

bool NodeTable::Knows(NodeId node) const {
  const Shard& shard = ShardOf(node);
  const std::lock_guard lock(shard.mutex);
  return shard.nodes.contains(node);
}

std::size_t NodeTable::size() const {
  std::size_t total = 0;
  for (const Shard& shard : shards_) {
    const std::lock_guard lock(shard.mutex);
    total += shard.nodes.size();
  }
  return total;
}

}  // namespace btfc::fs
