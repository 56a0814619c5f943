// The object store: immutable contents as plain files, and files being written.
#pragma once

#include <filesystem>
#include <memory>
#include <optional>

#include "index/catalogue.h"
#include "index/content.h"
#include "index/result.h"

namespace btfc::fs {

// Folders below the cache: objects/ab/abcdef...(root in hex)-SIZE (mode 0400), partial/ (being
// fetched), work/INO (being written). All calls from any thread.
class ObjectStore {
 public:
  // Makes the folders, mode 0700.
  static Result<std::unique_ptr<ObjectStore>> Open(const std::filesystem::path& cache);

  std::filesystem::path ObjectPath(const index::ContentId& id) const;
  std::filesystem::path PartialPath(const index::ContentId& id) const;
  std::filesystem::path WorkPath(index::Ino ino) const;
  const std::filesystem::path& work_folder() const { return work_; }

  // By size as well as name: a file of another length does not count.
  bool Has(const index::ContentId& id) const;
  // partial/ -> objects/, after the bytes were verified.
  Result<void> Adopt(const index::ContentId& id);
  // A second name in objects/ for a working file whose bytes hash to `id`; fine if it is there.
  Result<void> Link(const std::filesystem::path& working, const index::ContentId& id);
  Result<void> Remove(const index::ContentId& id);

 private:
  explicit ObjectStore(const std::filesystem::path& cache);
  std::filesystem::path objects_, partial_, work_;
};

}  // namespace btfc::fs
