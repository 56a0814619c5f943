// Working files that were committed, for the next ones: to make and remove a file costs a
// filesystem many times what it costs to rename one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "fs/fd.h"
#include "fs/object_store.h"

namespace btfc::fs {

// Small working files only; others are removed, as their bytes go with them. The spare ones stay to
// the end: without a journal, ext4 avoids the inodes of files that were removed lately, and looks
// at each of them whenever it makes a file. Any thread.
class SpareFiles {
 public:
  explicit SpareFiles(const ObjectStore& store) : store_(store) {}
  // Nobody takes one any more; they are gone afterwards.
  void Stop();

  // An empty file of mode 0600 that no application has open or mapped, under a name that means
  // nothing after a crash. Its times are earlier ones.
  std::optional<std::filesystem::path> Take();

  // The file `working`, which nobody needs under this name any more, becomes a spare one, or goes.
  // `file` is the last that the process knows of it; null: others need it still. Whoever has it
  // mapped keeps it as it is.
  void Give(const std::filesystem::path& working, const std::shared_ptr<const Fd>& file);

 private:
  bool Keep(const std::filesystem::path& working, const std::filesystem::path& spare,
            const Fd& file) const;

  const ObjectStore& store_;

  std::mutex mutex_;  // guards what follows
  std::vector<std::filesystem::path> spares_;
  std::uint64_t next_ = 1;
  bool stopped_ = false;
};

}  // namespace btfc::fs
