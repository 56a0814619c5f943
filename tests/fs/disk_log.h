// A log of everything that a process does to the files below a folder, and what a power cut may
// have left of it at any moment. The system calls of the whole program come here, those of SQLite
// too: the names are defined in the program, which goes before the C library.
//
// What a disk is taken for: names come and go in their order, so that a power cut leaves the first
// so many of them (a journalling filesystem: ext4, xfs); of bytes that were not synced any 4 KiB
// may be there or not, each at any stage; a file's size may be any that it had since its last sync.
#pragma once

#include <sys/stat.h>

#include <cstdint>
#include <filesystem>
#include <map>
#include <random>
#include <string>
#include <vector>

namespace btfc::fs {

// One at a time. Watch and Stop from one thread; what is recorded comes from any.
class DiskLog {
 public:
  // From now on; `root` is an empty folder.
  explicit DiskLog(std::filesystem::path root);
  ~DiskLog() { Stop(); }
  DiskLog(const DiskLog&) = delete;
  DiskLog& operator=(const DiskLog&) = delete;
  void Stop();

  // How much has happened so far.
  std::size_t Now() const;
  // What the disk may hold after the first `events`, written to the empty folder `to`.
  void Rebuild(std::size_t events, std::uint64_t seed, const std::filesystem::path& to) const;

  // A line for each, for people.
  std::string Describe(std::size_t first, std::size_t end) const;

  // For the system calls.
  struct Event {
    enum class What : std::uint8_t {
      kFile,      // `file` has been made as `path`
      kFolder,    // `path`
      kLink,      // `file` has `path` as a further name
      kRename,    // `path` to `to`
      kExchange,  // `path` and `to`
      kUnlink,    // `path`
      kWrite,     // `bytes` at `offset`
      kSize,      // `offset`
      kTimes,
      kSync,        // of `file`: bytes, size, and the names it was given or lost
      kDataSync,    // of `file`: bytes, size, and that it was made
      kFolderSync,  // names
    };
    What what = What::kFile;
    std::uint64_t file = 0;
    std::uint64_t offset = 0;
    std::string path{};  // below the root
    std::string to{};
    std::string bytes{};
    timespec mtime{};  // of the file, after it
  };

 private:
  friend struct DiskRecorder;
  using FileNo = std::uint64_t;
  using Random = std::mt19937_64;
  std::map<std::string, FileNo> NamesAt(std::size_t names_kept,
                                        const std::filesystem::path& to) const;
  std::size_t NamesKept(std::size_t events, Random& random) const;
  void RebuildFile(FileNo file, std::size_t events, Random& random,
                   const std::filesystem::path& path) const;

  const std::filesystem::path root_;
  std::vector<Event> events_;
};

}  // namespace btfc::fs
