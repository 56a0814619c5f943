// What can still be read of a database that Catalogue::Open refuses.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "index/catalogue.h"
#include "index/known.h"

namespace btfc::index {

// A file or symlink that had a name, as far as it could be read.
struct SalvagedFile {
  std::string path;  // below the root, "a/b"; begins with kLostFolder if its folders are unknown
  Ino ino = 0;       // in that database
  Kind kind = Kind::kFile;
  std::uint32_t mode = 0600;
  std::string target;        // kSymlink
  ContentId id;              // kFile
  std::string inline_bytes;  // kFile, up to kInlineMax
  bool readable = true;      // false: these are not the bytes of `id`
  std::int64_t mtime_ns = 0;
  // The commit of the content, or a symlink's row: a host whose summary covers it has, or had, it.
  // Nothing: no other host can have it.
  std::optional<Dot> dot;
};

inline constexpr char kLostFolder[] = "found again";

// Reads past what is damaged, changes nothing but the database's own side files, and never fails
// on a damaged row. A file whose bytes were never committed has an empty content. Error::kCorrupt
// if nothing at all can be read.
Result<void> Salvage(const std::filesystem::path& database,
                     const std::function<void(const SalvagedFile&)>& visit);

// The removal of a file's last name.
struct SalvagedRemoval {
  LinkId link;
  Stamp seen;   // of the link, by who removed it
  Known known;  // the versions that he had before him
};

// Of files that have no name in an index that was left behind, the removals that `known` does not
// cover: nobody else will repeat them. What another file was renamed over is among them only if
// that one, by its ino in the database, is `brought` along to its name: a rename is repeated as a
// whole or not at all. So is what was deleted in a folder that had been moved: only deleted if the
// folders above it stand where `known` has them. Of an index that is set aside for another reason
// there are none: that it was damaged is no reason to delete anything. Nor is anything damaged read
// past: Error::kCorrupt.
Result<std::vector<SalvagedRemoval>> SalvageRemovals(const std::filesystem::path& database,
                                                     const Summary& known,
                                                     const std::function<bool(Ino)>& brought);

}  // namespace btfc::index
