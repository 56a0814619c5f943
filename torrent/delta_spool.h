// A delta that was cut and is on its way to a peer. Internal to torrent/.
#pragma once

#include <cstdint>
#include <deque>
#include <filesystem>
#include <optional>
#include <string>

#include "index/replica.h"
#include "index/result.h"

namespace btfc::torrent {

// Reads a delta out at once, because it holds a read transaction of the index open, and keeps its
// parts: some MiB in memory, more in an unlinked file. Used by one thread.
class DeltaSpool {
 public:
  // `folder` is for the file.
  static Result<DeltaSpool> Read(index::DeltaReader& reader, const std::filesystem::path& folder);
  DeltaSpool(DeltaSpool&& other) noexcept;
  DeltaSpool& operator=(DeltaSpool&& other) noexcept;
  ~DeltaSpool();

  bool empty() const { return sizes_.empty(); }
  std::size_t next_size() const { return sizes_.front(); }
  bool last() const { return sizes_.size() == 1; }
  Result<std::string> Next();

 private:
  DeltaSpool() = default;
  Result<void> Append(std::string part, const std::filesystem::path& folder);

  std::deque<std::size_t> sizes_;      // of all parts that are left
  std::deque<std::string> in_memory_;  // the first of them
  std::size_t memory_bytes_ = 0;
  int fd_ = -1;  // the rest
  std::uint64_t written_ = 0;
  std::uint64_t read_ = 0;
};

}  // namespace btfc::torrent
