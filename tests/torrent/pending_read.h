// Reads that wait, and what makes them wait.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <future>
#include <memory>
#include <string>
#include <system_error>
#include <vector>

#include "index/merkle.h"
#include "test_host.h"

namespace btfc::torrent {

class PendingRead {
 public:
  PendingRead(TestHost& host, const index::ContentId& id, std::size_t offset, std::size_t length);
  std::uint64_t number() const { return number_; }
  bool waiting();  // for a moment
  // The error, or "timed out" after a minute.
  std::error_code Wait();

 private:
  std::shared_ptr<std::promise<std::error_code>> promise_ =
      std::make_shared<std::promise<std::error_code>>();
  std::future<std::error_code> answer_ = promise_->get_future();
  const std::uint64_t number_;
};

// From the partial or the whole file, as a reader does.
std::string Pread(TestHost& host, const index::ContentId& id, std::size_t offset,
                  std::size_t length);
// As an application does that begins to write to the file.
void TakeBack(TestHost& host, const index::ContentId& id);
// The hashes of the pieces of an object that is here.
std::vector<index::Hash> PiecesOf(TestHost& host, const index::ContentId& id);
// Whether files can share their places on the disk; makes the second one.
bool CanClone(const std::filesystem::path& from, const std::filesystem::path& to);

}  // namespace btfc::torrent
