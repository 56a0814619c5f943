// Room that is kept for getting out of a full disk.
#pragma once

#include <cstdint>
#include <filesystem>
#include <mutex>

#include "index/result.h"

namespace btfc::index {

// The disk has no room, or its user may have no more of it.
bool IsNoRoom(const std::error_code& error);

// A file beside the database that holds some MiB. On a full disk a deletion is a row like any
// other: it gives its room up for that, bit by bit, as what it gives up is everybody's: whoever
// fills the disk goes on filling it. Any thread.
class SpaceReserve {
 public:
  static constexpr std::int64_t kBytes = 8 * 1024 * 1024;
  static constexpr std::int64_t kStep = 256 * 1024;

  explicit SpaceReserve(const std::filesystem::path& database);

  // All of it.
  bool held() const;
  // Frees a step of the room; false if nothing is left.
  bool Release();
  // Takes all of it again, if the disk has it.
  void Restore();

 private:
  const std::filesystem::path file_;

  mutable std::mutex mutex_;  // guards what follows
  std::int64_t left_ = 0;     // bytes
};

}  // namespace btfc::index
