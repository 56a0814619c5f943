#include "torrent/private_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <utility>

namespace btfc::torrent {
namespace {

constexpr std::size_t kSizeLeast = 4096;  // bytes, read at first

class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  int get() const { return fd_; }
  // close() may report a write error that nothing before did.
  int Close() { return ::close(std::exchange(fd_, -1)); }

 private:
  int fd_;
};

Result<void> WriteAll(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t n = ::write(fd, bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return Errno(errno);
    bytes.remove_prefix(static_cast<std::size_t>(n));
  }
  return Ok();
}

Result<void> WriteAndSync(const std::filesystem::path& file, std::string_view bytes) {
  Descriptor out(::open(file.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (out.get() < 0) return Errno(errno);
  BOOST_OUTCOME_TRY(WriteAll(out.get(), bytes));
  if (::fsync(out.get()) != 0 || out.Close() != 0) return Errno(errno);
  return Ok();
}

Result<void> SyncFolder(const std::filesystem::path& folder) {
  const Descriptor fd(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (fd.get() < 0 || ::fsync(fd.get()) != 0) return Errno(errno);
  return Ok();
}

}  // namespace

Result<void> WritePrivateFile(const std::filesystem::path& file, std::string_view bytes,
                              IfExists if_exists) {
  std::filesystem::path folder = file.parent_path();
  if (folder.empty()) folder = ".";
  const std::filesystem::path fresh = file.string() + "." + std::to_string(::getpid()) + ".new";
  ::unlink(fresh.c_str());
  auto done = WriteAndSync(fresh, bytes);
  if (done) {
    const unsigned flags = if_exists == IfExists::kRefuse ? RENAME_NOREPLACE : 0U;
    if (::renameat2(AT_FDCWD, fresh.c_str(), AT_FDCWD, file.c_str(), flags) != 0) {
      done = Errno(errno);
    }
  }
  if (!done) {
    ::unlink(fresh.c_str());
    return done;
  }
  return SyncFolder(folder);
}

Result<std::string> ReadSmallFile(const std::filesystem::path& file, std::size_t size_max,
                                  bool only_owner) {
  // O_NONBLOCK: a fifo of that name must not hang us.
  const Descriptor in(::open(file.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (in.get() < 0) return Errno(errno);
  struct stat status {};
  if (::fstat(in.get(), &status) != 0) return Errno(errno);
  if (S_ISDIR(status.st_mode)) return Errno(EISDIR);
  if (!S_ISREG(status.st_mode)) return Errno(EINVAL);
  if (only_owner && (status.st_mode & 077U) != 0) return Errno(EACCES);
  // No more memory than the file has bytes, however many it may have; /proc says 0 of its files.
  const auto expected = std::max(static_cast<std::size_t>(status.st_size), kSizeLeast);
  std::string bytes(std::min(expected, size_max) + 1, '\0');
  std::size_t size = 0;
  while (size <= size_max) {
    if (size == bytes.size()) bytes.resize(std::min(2 * size, size_max + 1));
    const ssize_t n = ::read(in.get(), bytes.data() + size, bytes.size() - size);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return Errno(errno);
    if (n == 0) break;
    size += static_cast<std::size_t>(n);
  }
  if (size > size_max) return Errno(EFBIG);
  bytes.resize(size);
  return bytes;
}

}  // namespace btfc::torrent
