#include "fs/clone.h"

#include <linux/fs.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <vector>

#include "fs/fd.h"

namespace btfc::fs {
namespace {

constexpr std::size_t kCopyStep = std::size_t{8} << 20U;      // bytes between looks at `cancelled`
constexpr std::size_t kBufferSize = std::size_t{256} << 10U;  // bytes

bool NeedsPlainCopy(int error) {
  return error == EXDEV || error == ENOSYS || error == EOPNOTSUPP || error == EINVAL;
}

Result<std::size_t> PlainCopy(int from, std::uint64_t from_offset, int to, std::uint64_t to_offset,
                              std::size_t length) {
  BOOST_OUTCOME_TRYA(bytes, ReadUpTo(from, from_offset, std::min(length, kBufferSize)));
  BOOST_OUTCOME_TRYV(WriteAll(to, to_offset, bytes));
  return bytes.size();
}

// The next stretch of data at or after `offset`: where it begins and ends; begin == size if there
// is none. A filesystem without holes is all data.
Result<std::pair<std::uint64_t, std::uint64_t>> NextData(int fd, std::uint64_t offset,
                                                         std::uint64_t size) {
  const auto data = ::lseek(fd, static_cast<off_t>(offset), SEEK_DATA);
  if (data < 0) {
    if (errno == ENXIO) return std::pair{size, size};
    if (errno == EINVAL) return std::pair{offset, size};
    return LastError();
  }
  const auto hole = ::lseek(fd, data, SEEK_HOLE);
  if (hole < 0) return LastError();
  const auto begin = std::min(static_cast<std::uint64_t>(data), size);
  return std::pair{begin, std::min(static_cast<std::uint64_t>(hole), size)};
}

}  // namespace

Result<void> Reflink(int from, int to) {
  if (::ioctl(to, FICLONE, from) != 0) return LastError();
  return Ok();
}

Result<std::size_t> CopyFileRange(int from, std::uint64_t from_offset, int to,
                                  std::uint64_t to_offset, std::size_t length) {
  for (;;) {
    auto in = static_cast<loff_t>(from_offset);
    auto out = static_cast<loff_t>(to_offset);
    const auto copied = ::copy_file_range(from, &in, to, &out, length, 0);
    if (copied >= 0) return static_cast<std::size_t>(copied);
    if (errno == EINTR) continue;
    if (!NeedsPlainCopy(errno)) return LastError();
    return PlainCopy(from, from_offset, to, to_offset, length);
  }
}

Result<void> CloneFile(int from, int to, std::uint64_t size,
                       const std::function<bool()>& cancelled) {
  const auto reflinked = Reflink(from, to);
  if (::ftruncate(to, static_cast<off_t>(size)) != 0) return LastError();
  if (reflinked) return Ok();
  std::uint64_t offset = 0;
  while (offset < size) {
    BOOST_OUTCOME_TRYA(data, NextData(from, offset, size));
    offset = data.first;
    while (offset < data.second) {
      if (cancelled && cancelled()) return Error::kCancelled;
      const auto step = std::min<std::uint64_t>(kCopyStep, data.second - offset);
      BOOST_OUTCOME_TRYA(copied, CopyFileRange(from, offset, to, offset, step));
      if (copied == 0) return Errno(EIO);  // the source got shorter meanwhile
      offset += copied;
    }
  }
  return Ok();
}

Result<void> WriteAll(int fd, std::uint64_t offset, std::string_view bytes) {
  while (!bytes.empty()) {
    const auto written = ::pwrite(fd, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (written < 0) {
      if (errno == EINTR) continue;
      return LastError();
    }
    offset += static_cast<std::uint64_t>(written);
    bytes.remove_prefix(static_cast<std::size_t>(written));
  }
  return Ok();
}

Result<void> WriteAgain(int fd, std::uint64_t size) {
  for (std::uint64_t offset = 0; offset < size;) {
    BOOST_OUTCOME_TRYA(data, NextData(fd, offset, size));
    offset = data.first;
    while (offset < data.second) {
      const auto step = std::min<std::uint64_t>(kBufferSize, data.second - offset);
      BOOST_OUTCOME_TRYA(bytes, ReadUpTo(fd, offset, step));
      if (bytes.empty()) return Errno(EIO);  // it got shorter meanwhile
      BOOST_OUTCOME_TRYV(WriteAll(fd, offset, bytes));
      offset += bytes.size();
    }
  }
  return Ok();
}

Result<std::string> ReadUpTo(int fd, std::uint64_t offset, std::size_t length) {
  std::string bytes(length, '\0');
  std::size_t done = 0;
  while (done < length) {
    const auto got =
        ::pread(fd, bytes.data() + done, length - done, static_cast<off_t>(offset + done));
    if (got < 0) {
      if (errno == EINTR) continue;
      return LastError();
    }
    if (got == 0) break;
    done += static_cast<std::size_t>(got);
  }
  bytes.resize(done);
  return bytes;
}

}  // namespace btfc::fs
