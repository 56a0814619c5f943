// Which files below the mount were dealt with, so that only what is new is spoken of and taken in.
#pragma once

#include <sys/stat.h>

#include <array>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <set>
#include <string>
#include <unordered_set>
#include <vector>

#include "fs/fd.h"
#include "index/result.h"

namespace btfc::mount_helper {

// In the cache folder, as `import.record`. A file counts as the one that was dealt with while its
// path, kind, size and mtime are the same; a folder while its path is. What users did in the mount
// since then plays no part: a file that was taken in and deleted there does not come back.
//
// Used by the import's thread.
class ImportRecord {
 public:
  enum class How : char {
    kTaken = 't',  // it is, or was, in the mount
    kLeft = 'l',   // import=none: nobody wants to hear of it
  };

  // What the folder behind `below` holds that is not in the record.
  struct News {
    std::uint64_t count = 0;                     // files, and folders of which nothing is known
    std::vector<std::string> examples;           // the first few paths
    std::unordered_set<std::string> on_the_way;  // paths, and the folders that lead to them
  };

  // A record that is missing is empty; one that is damaged ends at the damage.
  explicit ImportRecord(const std::filesystem::path& cache);

  // `known`: kLeft: whatever is in the record is no news; kTaken: only what was taken in.
  // Error::kCancelled; folders that cannot be read hold no news.
  Result<News> Compare(int below, How known, const std::function<bool()>& cancelled) const;
  // Reaches the file with Flush, or some time before.
  void Add(How how, const std::string& path, const struct stat& stat);
  Result<void> AddAll(How how, int below, const std::function<bool()>& cancelled);
  Result<void> Flush();

 private:
  using Mark = std::array<char, 16>;
  struct MarkHash {
    std::size_t operator()(const Mark& mark) const;
  };
  static Mark MarkOf(const std::string& path, const struct stat& stat);

  const std::filesystem::path file_;
  std::unordered_set<Mark, MarkHash> taken_, left_;
  std::string unwritten_;
};

}  // namespace btfc::mount_helper
