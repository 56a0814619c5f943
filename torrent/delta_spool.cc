#include "torrent/delta_spool.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

namespace btfc::torrent {
namespace {

constexpr std::size_t kMemoryMax = 4 * 1024 * 1024;  // bytes

int OpenUnlinked(const std::filesystem::path& folder) {
  std::string name = (folder / "delta-XXXXXX").string();
  const int fd = ::mkostemp(name.data(), O_CLOEXEC);
  if (fd >= 0) ::unlink(name.c_str());
  return fd;
}

}  // namespace

Result<DeltaSpool> DeltaSpool::Read(index::DeltaReader& reader,
                                    const std::filesystem::path& folder) {
  DeltaSpool spool;
  for (;;) {
    auto part = reader.Next();
    if (!part) return part.error();
    if (!part.value()) return spool;
    BOOST_OUTCOME_TRY(spool.Append(std::move(*part.value()), folder));
  }
}

DeltaSpool::DeltaSpool(DeltaSpool&& other) noexcept { *this = std::move(other); }

DeltaSpool& DeltaSpool::operator=(DeltaSpool&& other) noexcept {
  std::swap(sizes_, other.sizes_);
  std::swap(in_memory_, other.in_memory_);
  std::swap(memory_bytes_, other.memory_bytes_);
  std::swap(fd_, other.fd_);
  std::swap(written_, other.written_);
  std::swap(read_, other.read_);
  return *this;
}

DeltaSpool::~DeltaSpool() {
  if (fd_ >= 0) ::close(fd_);
}

Result<void> DeltaSpool::Append(std::string part, const std::filesystem::path& folder) {
  sizes_.push_back(part.size());
  if (fd_ < 0 && memory_bytes_ + part.size() <= kMemoryMax) {
    memory_bytes_ += part.size();
    in_memory_.push_back(std::move(part));
    return Ok();
  }
  if (fd_ < 0) fd_ = OpenUnlinked(folder);
  if (fd_ < 0) return Errno(errno);
  for (std::size_t done = 0; done < part.size();) {
    const ssize_t n =
        ::pwrite(fd_, part.data() + done, part.size() - done, static_cast<off_t>(written_ + done));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return Errno(errno);
    done += static_cast<std::size_t>(n);
  }
  written_ += part.size();
  return Ok();
}

Result<std::string> DeltaSpool::Next() {
  const std::size_t size = sizes_.front();
  sizes_.pop_front();
  if (!in_memory_.empty()) {
    std::string part = std::move(in_memory_.front());
    in_memory_.pop_front();
    return part;
  }
  std::string part(size, '\0');
  for (std::size_t done = 0; done < size;) {
    const ssize_t n =
        ::pread(fd_, part.data() + done, size - done, static_cast<off_t>(read_ + done));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return Errno(n < 0 ? errno : EIO);
    done += static_cast<std::size_t>(n);
  }
  read_ += size;
  return part;
}

}  // namespace btfc::torrent
