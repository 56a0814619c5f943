// The way back when index.db is damaged: the index comes from the other hosts, and what only this
// one had is read from the damaged file.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>

#include "fs/import.h"
#include "fs/object_store.h"
#include "index/catalogue.h"

namespace btfc::mount_helper {

// `btfc rebuild`, while nothing is mounted: the index and the files that were being written go to
// the cache's folder damaged/, from which the next mounts take them up. `alone`: no other host has
// the folder, so none is waited for. On failure `why` says it for a person.
Result<void> SetIndexAside(const std::filesystem::path& cache, bool alone, std::string* why);

// The same for the daemon, which has the cache's lock and has not opened the index.
Result<void> PutIndexAside(const std::filesystem::path& cache);

// Whether a mount has something to take up, and whether it waits for other hosts before.
bool RebuildPending(const std::filesystem::path& cache);
bool RebuildAlone(const std::filesystem::path& cache);

struct Rescued {
  std::uint64_t files = 0;    // taken in: no host that is connected had them
  std::uint64_t lost = 0;     // of those, the ones whose bytes are not here any more
  std::uint64_t removed = 0;  // that were deleted here, and nobody else had heard of it
};

// Takes in the versions in damaged/ that the catalogue does not cover, now that it has what the
// others know, and the files that were being written; with `alone` and an index of which nothing
// can be read, all contents of the store, without their names. If the index was left behind, what
// had been deleted by then is deleted again where nobody touched it (Catalogue::RemoveAgain),
// unless something was lost or that index is damaged. Then damaged/ becomes damaged.done/ (which
// nobody needs). Can be run again after an interruption. Import's callbacks.
Result<Rescued> TakeUpRebuild(
    const std::filesystem::path& cache, index::Catalogue& catalogue, fs::ObjectStore& store,
    const fs::ImportOptions& options, const std::function<bool()>& cancelled,
    const std::function<void(const std::vector<index::Change>&)>& changed);

}  // namespace btfc::mount_helper
