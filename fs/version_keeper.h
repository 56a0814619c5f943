// How much room earlier versions may take on this disk.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <unordered_set>

#include "index/catalogue.h"

namespace btfc::fs {

// What the mount was asked to keep (versions=).
struct VersionPolicy {
  std::int64_t age_ns = index::VersionLimits{}.age_ns;  // 0: nothing
  unsigned percent = 10;                                // of the cache's disk; counts if bytes is 0
  std::uint64_t bytes = 0;
  // forget=: a host that is silent for longer is not waited for (see Catalogue::Collect).
  std::int64_t absence_ns = index::VersionLimits{}.absence_ns;
};

// The policy in bytes, or less where the disk is nearly full: what was is given up before what is.
// `kept`: what earlier versions take now.
index::VersionLimits LimitsOf(const VersionPolicy& policy, std::uint64_t kept,
                              std::uint64_t disk_size, std::uint64_t disk_free);

// Bytes that can be written to the disk of this folder until so little is free that earlier
// versions give way to what is. 0: so it is.
std::uint64_t RoomLeft(const std::filesystem::path& folder);
// How soon nothing could fill as much.
std::chrono::milliseconds FilledNoSoonerThan(std::uint64_t room);

// Lets go of what is beyond the policy, until `stopped`. Any thread.
void PruneVersions(index::Catalogue& catalogue, const VersionPolicy& policy,
                   const std::filesystem::path& folder, const std::function<bool()>& stopped);

// Lets go of the rows of what is not kept any more, once all hosts know them. `open`: inodes that
// are held here, perhaps without a name. Until `stopped`. Any thread.
void CollectRows(index::Catalogue& catalogue, const VersionPolicy& policy,
                 const std::unordered_set<index::Ino>& open, const std::function<bool()>& stopped);

}  // namespace btfc::fs
