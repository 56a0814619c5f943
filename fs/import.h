// Taking a folder's files into the cluster.
#pragma once

#include <sys/stat.h>
#include <unistd.h>

#include <cstdint>
#include <functional>
#include <string>
#include <system_error>
#include <vector>

#include "fs/object_store.h"
#include "fs/owner_map.h"
#include "index/catalogue.h"

namespace btfc::fs {

enum class ImportMode : std::uint8_t {
  kCopy,  // reflinks where the filesystem can
  kLink,  // objects are hard links of the imported files, and never changed in place
};

struct ImportOptions {
  ImportMode mode = ImportMode::kCopy;
  OwnerPolicy owner = OwnerPolicy::kMap;  // kNumeric: security.* and trusted.* xattrs, too
  OwnerMap::Ids mounter{::getuid(), ::getgid()};
  // By path below the folder ("a/b"): what to leave out (a folder with all that is in it); and what
  // has been taken in, or was there already, once that is safe. Empty: all; nobody wants to know.
  std::function<bool(const std::string& path)> leave_out;
  std::function<void(const std::string& path, const struct stat& stat)> taken;
};

struct ImportProgress {
  struct Failure {
    std::string path;  // below the folder
    std::error_code why;
  };
  std::uint64_t files = 0;  // taken in so far, with folders and links
  std::uint64_t bytes = 0;
  std::uint64_t failed = 0;       // could not be taken in
  std::vector<Failure> failures;  // the first few of those
};

// Walks the folder behind a descriptor and gives its files names in the catalogue's root. Stays on
// one filesystem, follows no symlink, changes nothing in the folder. A name that is taken by an
// equal content is left alone; by another, the imported one stands beside it under a conflict
// name. Can be run again after it was interrupted. `progress` and `cancelled` are called on the
// calling thread between files, `changed` with the names that appeared. A file that cannot
// be taken in is counted and the rest goes on; Error::kCancelled, or why nothing more could be
// taken in (a full disk).
Result<ImportProgress> Import(
    int folder, index::Catalogue& catalogue, ObjectStore& store, const ImportOptions& options,
    const std::function<void(const ImportProgress&)>& progress,
    const std::function<bool()>& cancelled,
    const std::function<void(const std::vector<index::Change>&)>& changed);

}  // namespace btfc::fs
