// Room that is kept for getting out of a full disk.
#pragma once

#include <atomic>
#include <cstdint>
#include <filesystem>

#include "index/result.h"

namespace btfc::index {

// The disk has no room, or its user may have no more of it.
bool IsNoRoom(const std::error_code& error);

// A file beside the database that holds some MiB. On a full disk a deletion is a row like any
// other: it gives its room up for that. Any thread.
class SpaceReserve {
 public:
  static constexpr std::int64_t kBytes = 8 * 1024 * 1024;

  explicit SpaceReserve(const std::filesystem::path& database);

  bool held() const { return held_; }
  // Frees the room; false if it is free already.
  bool Release();
  // Takes it again, if it is free and the disk has it.
  void Restore();

 private:
  const std::filesystem::path file_;
  std::atomic<bool> held_ = false;
};

}  // namespace btfc::index
