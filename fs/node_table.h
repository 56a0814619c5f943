// Which inodes the kernel knows, and under which node numbers.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <mutex>
#include <optional>
#include <unordered_map>
#include <vector>

#include "index/catalogue.h"

namespace btfc::fs {

// The kernel's name for an inode, and what stat shows as st_ino.
using NodeId = std::uint64_t;

// Ordinarily an inode's node has the inode's number. When a version arrives from another host
// while the old one is open here, the old content keeps the node and the inode gets a new one,
// from a range of its own: to applications it is another file, as after a rename over it.
//
// The table holds only nodes that the kernel holds (a count above 0), so that a million files
// cost about 60 MB and nothing when the kernel forgot them. All calls from any thread.
class NodeTable {
 public:
  // What remains to be done when the last reference of the kernel has gone.
  struct Forgotten {
    index::Ino ino = 0;
    bool nameless = false;  // and the inode has no name any more: drop it
  };

  // The node by which lookups find this inode.
  NodeId Current(index::Ino ino) const;
  // The inode of a node that the kernel has.
  index::Ino InoOf(NodeId node) const;
  // True for a node whose inode has got a newer one: it is only for what is open already.
  bool Superseded(NodeId node) const;

  // One more reference; call before the reply that gives it to the kernel.
  NodeId Reference(index::Ino ino);
  // Takes `count` references back; says what to drop if those were the last ones.
  std::optional<Forgotten> Forget(NodeId node, std::uint64_t count);
  // The inode lost its last name, or got one again (a link to an open file, a repair). Answers
  // whether the kernel holds it; if not, and it is nameless, drop it now.
  bool SetNameless(index::Ino ino, bool nameless);
  // Gives the inode a new node, if the kernel holds its current one; answers that.
  std::optional<NodeId> Supersede(index::Ino ino);

  // The kernel has gone: forgets everything. Answers the nameless inodes.
  std::vector<index::Ino> Clear();

  bool Knows(NodeId node) const;
  std::size_t size() const;  // nodes that the kernel holds

 private:
  struct Node {
    std::uint64_t references : 63;
    std::uint64_t nameless : 1;
  };
  // Lookups of many processes meet here: a lock for each sixteenth of the nodes.
  struct Shard {
    mutable std::mutex mutex;
    std::unordered_map<NodeId, Node> nodes;  // guarded by mutex
  };
  static constexpr std::size_t kShards = 16;
  static constexpr NodeId kFirstNew = 1ULL << 63U;
  static NodeId FirstNew();

  Shard& ShardOf(NodeId node) { return shards_[node % kShards]; }
  const Shard& ShardOf(NodeId node) const { return shards_[node % kShards]; }

  std::array<Shard, kShards> shards_;

  // An inode that has, or had, several nodes.
  struct Renumbered {
    NodeId current = 0;
    std::size_t held = 0;  // nodes of it, old and current, that the kernel holds
    bool nameless = false;
  };
  // Locks the renumbering if there is any, then the node's shard.
  struct Locks {
    std::unique_lock<std::mutex> renumbering;  // owned only if there are renumbered inodes
    std::unique_lock<std::mutex> shard;
  };
  Locks LockFor(NodeId node);

  // Renumbered inodes are few: everybody skips this while there are none.
  std::atomic<std::size_t> renumbered_count_{0};
  mutable std::mutex mutex_;                               // taken before a shard's
  std::unordered_map<index::Ino, Renumbered> renumbered_;  // guarded by mutex_
  std::unordered_map<NodeId, index::Ino> inodes_;          // new nodes -> inode; guarded by mutex_
  NodeId next_ = FirstNew();                               // guarded by mutex_
};

}  // namespace btfc::fs
