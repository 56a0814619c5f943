// .btfc/versions/PATH/: what files were, as folders and files that any application reads.
//
// For everything that PATH leads to or once led to there is a folder. In it are the names that a
// folder has or had, each leading on, and the versions of a file, named by time and host. Nothing
// of it can be written to, and no folder lists .btfc.
#pragma once

#include <sys/stat.h>

#include <cstdint>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "fs/files.h"
#include "fs/node_table.h"
#include "fs/owner_map.h"
#include "fs/request.h"
#include "index/catalogue.h"

namespace btfc::fs {

// All calls from any thread; no lock is held across a call of the others or a reply. Its nodes are
// numbers of their own, between the catalogue's and those that NodeTable gives.
class VersionTree {
 public:
  static constexpr std::string_view kTopName = ".btfc";

  VersionTree(index::Catalogue& catalogue, Files& files, OwnerMap& owners)
      : catalogue_(catalogue), files_(files), owners_(owners) {}

  static bool Owns(NodeId node) { return node >> 62U == 1; }

  void LookupTop(Request request);
  void Lookup(Request request, NodeId parent, std::string_view name);
  void Forget(NodeId node, std::uint64_t count);
  void GetAttributes(Request request, NodeId node);
  void List(Request request, NodeId node, std::size_t size, off_t offset, bool plus);
  void Open(Request request, NodeId node, int flags);
  void Read(Request request, NodeId node, std::size_t size, off_t offset,
            fuse_interrupt_func_t interrupt);
  void Seek(Request request, NodeId node, off_t offset, int whence);

 private:
  enum class Kind : std::uint8_t { kTop, kPlace, kVersion };
  struct Entry {
    Kind kind = Kind::kTop;
    std::string path;  // of a place in the mount, "" for the root; of a version, its file's
    index::VersionInfo version;
  };
  struct Node {
    Entry entry;
    std::string key;
    std::uint64_t references = 0;
  };

  // What one folder of this tree holds, in the order of its listing.
  Result<std::vector<std::pair<std::string, Entry>>> Entries(const Entry& folder);
  Result<Entry> Find(const Entry& folder, std::string_view name);
  Result<struct stat> StatOf(const Entry& entry, NodeId node);
  std::optional<Entry> EntryOf(NodeId node) const;
  void Reply(Request request, const Entry& entry);
  NodeId Reference(const Entry& entry);

  index::Catalogue& catalogue_;
  Files& files_;
  OwnerMap& owners_;

  mutable std::mutex mutex_;  // guards what follows
  std::unordered_map<NodeId, Node> nodes_;
  std::unordered_map<std::string, NodeId> by_key_;
  NodeId next_ = NodeId{1} << 62U;
};

}  // namespace btfc::fs
