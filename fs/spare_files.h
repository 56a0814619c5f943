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

#include "fs/alarm.h"
#include "fs/fd.h"
#include "fs/object_store.h"

namespace btfc::fs {

// Small working files only; others are removed, as their bytes go with them. So are spare ones that
// nobody wants for a while. Any thread.
class SpareFiles {
 public:
  SpareFiles(const ObjectStore& store, Alarm& alarm) : store_(store), alarm_(alarm) {}
  // Nobody takes one any more; they are gone afterwards. Once the alarm has stopped.
  void Stop();

  // An empty file of mode 0600 that nobody else has open, under a name that means nothing after a
  // crash. Its times are earlier ones.
  struct Spare {
    std::filesystem::path path;
    std::shared_ptr<const Fd> file;  // O_RDONLY
  };
  std::optional<Spare> Take();

  // The file `working`, which nobody needs under this name any more, becomes a spare one, or goes.
  // `file` is the last that the process knows of it; null: others need it still. Whoever has it
  // mapped keeps it as it is.
  void Give(const std::filesystem::path& working, std::shared_ptr<const Fd> file);

 private:
  bool Keep(const std::filesystem::path& working, const std::filesystem::path& spare,
            const Fd& file) const;
  void Look();  // on the alarm's thread

  const ObjectStore& store_;
  Alarm& alarm_;

  std::mutex mutex_;  // guards what follows
  std::vector<Spare> spares_;
  std::uint64_t next_ = 1;
  bool used_ = false;     // since the last look
  bool watched_ = false;  // there will be another look
  bool stopped_ = false;
};

}  // namespace btfc::fs
