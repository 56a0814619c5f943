// How much room earlier versions may take on this disk.
#pragma once

#include <cstdint>
#include <filesystem>

#include "index/catalogue.h"

namespace btfc::fs {

// What the mount was asked to keep (versions=).
struct VersionPolicy {
  std::int64_t age_ns = index::VersionLimits{}.age_ns;  // 0: nothing
  unsigned percent = 10;                                // of the cache's disk; counts if bytes is 0
  std::uint64_t bytes = 0;
};

// The policy in bytes, or less where the disk is nearly full: what was is given up before what is.
// `kept`: what earlier versions take now.
index::VersionLimits LimitsOf(const VersionPolicy& policy, std::uint64_t kept,
                              std::uint64_t disk_size, std::uint64_t disk_free);

// Lets go of what is beyond the policy. Any thread.
void PruneVersions(index::Catalogue& catalogue, const VersionPolicy& policy,
                   const std::filesystem::path& folder);

}  // namespace btfc::fs
