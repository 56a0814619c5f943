// From the catalogue's attributes to what stat shows.
#pragma once

#include <sys/stat.h>

#include <cstdint>
#include <optional>

#include "fs/files.h"
#include "fs/node_table.h"
#include "fs/owner_map.h"
#include "index/catalogue.h"

namespace btfc::fs {

// How long the kernel may answer from its caches. What changes elsewhere is invalidated.
inline constexpr double kCacheTimeout_s = 24 * 3600;

// The extended attribute of file capabilities.
inline constexpr char kCapabilityXattr[] = "security.capability";

mode_t TypeBits(index::Kind kind);  // S_IFREG ...
// EINVAL for what cannot be made: unknown file types.
Result<index::Kind> KindOf(mode_t mode);

// Of 512 bytes, for a file without holes.
std::uint64_t BlocksOf(std::uint64_t size);

timespec ToTimespec(std::int64_t time_ns);
std::int64_t FromTimespec(const timespec& time);

struct stat MakeStat(const index::Node& inode, const std::optional<LiveStat>& live, NodeId node,
                     OwnerMap::Ids owner);

}  // namespace btfc::fs
