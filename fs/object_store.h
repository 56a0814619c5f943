// The object store: immutable contents as plain files, and files being written.
#pragma once

#include <array>
#include <filesystem>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string_view>

#include "index/catalogue.h"
#include "index/content.h"
#include "index/result.h"

namespace btfc::fs {

// Folders below the cache: objects/ab/abcdef...(root in hex)-SIZE (mode 0400), partial/ (being
// fetched), work/INO (being written), lost+found/ (working files that belong to nothing). All calls
// from any thread; none waits for anything but the disk.
class ObjectStore {
 public:
  // Makes the folders, mode 0700.
  static Result<std::unique_ptr<ObjectStore>> Open(const std::filesystem::path& cache);

  std::filesystem::path ObjectPath(const index::ContentId& id) const;
  std::filesystem::path PartialPath(const index::ContentId& id) const;
  std::filesystem::path WorkPath(index::Ino ino) const;
  // A name beside WorkPath for a file in the making. What bears it is worthless after a crash.
  std::filesystem::path NewWorkPath(index::Ino ino) const;
  // Of an empty file that waits to become a working file.
  std::filesystem::path SpareWorkPath(std::uint64_t number) const;
  // Where a working file waits for the disk when a newer one needs its name: work/INO-NUMBER.
  std::filesystem::path AsideWorkPath(index::Ino ino, std::uint64_t number) const;
  const std::filesystem::path& work_folder() const { return work_; }
  const std::filesystem::path& lost_folder() const { return lost_; }
  const std::filesystem::path& objects_folder() const { return objects_; }

  // A file in the making that an import fills.
  std::filesystem::path ImportPath(std::uint64_t number) const;

  // Held while an object's file gets or loses its name, together with what the catalogue says of
  // it. Taken before the catalogue's own locks; never two at once, and never within a batch.
  std::mutex& NameLock(const index::ContentId& id) {
    return name_locks_[id.root[0] % name_locks_.size()];
  }

  // Whether a copy within the store costs nothing (the filesystem shares extents).
  bool reflinks() const { return reflinks_; }

  // By size as well as name: a file of another length does not count.
  bool Has(const index::ContentId& id) const;
  // partial/ -> objects/, after the bytes were verified. They are on the disk before they get the
  // object's name, so that a power cut leaves no object with other bytes. After an error of the
  // disk they are written again. Error::kCorrupt if they are not those of `id` (any more).
  Result<void> Adopt(const index::ContentId& id);
  // A second name in objects/ for a working file whose bytes hash to `id`, mode 0400. False if the
  // object was there already, as another file.
  Result<bool> Link(const std::filesystem::path& working, const index::ContentId& id);
  // The same, but the file keeps its mode: it has a name outside the store (import=link).
  Result<bool> LinkAsIs(const std::filesystem::path& working, const index::ContentId& id);
  // The reverse of Link, for a version that did not come about.
  Result<void> Unlink(const std::filesystem::path& working, const index::ContentId& id);
  // objects/ -> `working`, mode 0600: the object's file is about to be changed. Replaces a file of
  // that name.
  Result<void> Take(const index::ContentId& id, const std::filesystem::path& working);
  // The file at `copy` (the same bytes, on the disk) becomes the object, and the object's former
  // file gets the name `copy`, mode 0600, at one stroke.
  Result<void> Exchange(const std::filesystem::path& copy, const index::ContentId& id);
  // objects/ -> partial/, mode 0600: what is good of it serves the next fetch. EMLINK if the file
  // has other names, which must not change with it.
  Result<void> Demote(const index::ContentId& id);
  // Fine if it is not there.
  Result<void> Remove(const index::ContentId& id);

 private:
  explicit ObjectStore(const std::filesystem::path& cache);
  bool ProbeReflinks() const;
  Result<void> SyncFetched(int fd, const index::ContentId& id);
  Result<void> WriteFetchedAgain(const index::ContentId& id) const;
  bool IsUnwritten(const index::ContentId& id) const;
  void SetUnwritten(const index::ContentId& id, bool unwritten);

  std::filesystem::path objects_, partial_, work_, lost_;
  bool reflinks_ = false;
  std::array<std::mutex, 64> name_locks_;
  mutable std::mutex unwritten_mutex_;
  // Fetched, refused by the disk and not written again since. Guarded by unwritten_mutex_.
  std::set<index::ContentId> unwritten_;
};

}  // namespace btfc::fs
