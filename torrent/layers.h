// Hashes of the pieces of large objects, computed once and kept. Internal to torrent/.
#pragma once

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
  // In a folder of the state; drops what was not used for longest beyond some hundred MiB.
  explicit Layers(std::filesystem::path folder);

  // Verified against the root. Empty for objects of one piece.
  std::optional<std::vector<index::Hash>> Find(const index::ContentId& id) const;
  // Best effort: what cannot be kept is computed again.
  void Keep(const index::ContentId& id, const std::vector<index::Hash>& layer) const;
  // Kept or computed from the object's file. Error::kCorrupt if the file is not the object;
  // Error::kCancelled.
  Result<std::vector<index::Hash>> Of(const index::ContentId& id, const std::filesystem::path& file,
                                      const std::function<bool()>& cancelled) const;

 private:
  std::filesystem::path File(const index::ContentId& id) const;

  const std::filesystem::path folder_;
};

}  // namespace btfc::torrent
