// The handles that applications hold, by node.
#pragma once

#include <cstdint>
#include <mutex>
#include <optional>
#include <unordered_map>
#include <vector>

#include "fs/files.h"
#include "fs/node_table.h"

namespace btfc::fs {

// All calls from any thread.
class OpenFiles {
 public:
  void Add(NodeId node, Handle handle);
  void Remove(NodeId node, Handle handle);
  // One of the handles of a node; they all see the same bytes.
  std::optional<Handle> AnyOf(NodeId node) const;

  // Remembers what a node was seen to be without at `epoch`, so that not every write has to ask.
  // Only while it is open.
  enum class Without : std::uint8_t { kCapabilities = 1, kCapabilitiesAndSetId };
  void Remember(NodeId node, Without what, std::uint64_t epoch);
  bool Known(NodeId node, Without what, std::uint64_t epoch) const;

 private:
  struct Entry {
    std::vector<Handle> handles;
    Without without = Without::kCapabilities;
    std::uint64_t epoch = 0;
  };
  mutable std::mutex mutex_;
  std::unordered_map<NodeId, Entry> entries_;  // guarded by mutex_
};

}  // namespace btfc::fs
