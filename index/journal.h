// Local operations since the last commit, in a file beside the database: what was answered is
// there after a kill, though many operations share one transaction. Not synced: after a power cut
// the database's log decides, as ever.
//
// A record: group, sequence, nonce, length, checksum (each 8 bytes, little endian), then its bytes.
// Every group begins at the start of the file again. The database knows which group it has last
// committed, so that what follows from there is the one group that may have to be done again.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "index/result.h"

namespace btfc::index {

// One thread at a time.
class Journal {
 public:
  static Result<std::unique_ptr<Journal>> Open(const std::filesystem::path& file);
  ~Journal();
  Journal(const Journal&) = delete;
  Journal& operator=(const Journal&) = delete;

  // The records of that group, in order, up to the first that is not whole.
  Result<std::vector<std::string>> Read(std::uint64_t group) const;
  void Begin(std::uint64_t group);
  // In the kernel's hands when this returns.
  Result<void> Append(std::string_view record);

 private:
  Journal(int fd, std::uint64_t nonce) : fd_(fd), nonce_(nonce) {}

  const int fd_;
  const std::uint64_t nonce_;  // of this process: a group of another one does not go on in ours
  std::uint64_t group_ = 0;
  std::uint64_t sequence_ = 0;
  std::uint64_t offset_ = 0;
  std::string buffer_;
};

}  // namespace btfc::index
