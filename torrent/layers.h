// Hashes of the pieces of large objects, computed once and kept. Internal to torrent/.
#pragma once

#include <atomic>
#include <chrono>
#include <filesystem>
#include <functional>
#include <optional>
#include <vector>

#include "index/content.h"
#include "index/merkle.h"
#include "index/result.h"

namespace btfc::torrent {

// Any thread; reads and writes the disk.
class Layers {
 public:
  // In a folder of the state; drops what was written first beyond some hundred MiB.
  explicit Layers(std::filesystem::path folder);

  // Verified against the root. Empty for objects of one piece.
  std::optional<std::vector<index::Hash>> Find(const index::ContentId& id) const;
  // Whether they are kept, most probably: Find verifies them.
  bool Has(const index::ContentId& id) const;
  // Best effort: what cannot be kept is computed again.
  void Keep(const index::ContentId& id, const std::vector<index::Hash>& layer) const;
  // Kept or computed from the object's file. Error::kCorrupt if the file is not the object;
  // Error::kCancelled.
  Result<std::vector<index::Hash>> Of(const index::ContentId& id, const std::filesystem::path& file,
                                      const std::function<bool()>& cancelled) const;
  // Drops the layers that are older than `age` and of no object `of_use`. Looks only when many
  // were kept since it last did.
  void DropUseless(const std::function<bool(const index::ContentId&)>& of_use,
                   std::chrono::seconds age) const;
  // So many.
  static constexpr unsigned kKeptBetween = 64;

 private:
  std::filesystem::path File(const index::ContentId& id) const;

  const std::filesystem::path folder_;
  mutable std::atomic<unsigned> kept_ = kKeptBetween;  // since DropUseless; the first one looks
};

}  // namespace btfc::torrent
