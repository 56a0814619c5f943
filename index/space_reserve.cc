#include "index/space_reserve.h"

#include <fcntl.h>
#include <spdlog/spdlog.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

namespace btfc::index {
namespace {

constexpr std::int64_t kBlock = 512;  // of st_blocks, in bytes

}  // namespace

bool IsNoRoom(const std::error_code& error) {
  return error == Errno(ENOSPC) || error == Errno(EDQUOT);
}

SpaceReserve::SpaceReserve(const std::filesystem::path& database)
    : file_(database.native() + "-reserve") {
  // On a disk that is full what an earlier start has put there is all there is.
  struct stat st {};
  if (::lstat(file_.c_str(), &st) == 0 && S_ISREG(st.st_mode) &&
      st.st_blocks * kBlock >= st.st_size) {
    left_ = std::min<std::int64_t>(st.st_size, kBytes) / kStep * kStep;
  }
  Restore();
}

bool SpaceReserve::held() const {
  const std::lock_guard lock(mutex_);
  return left_ == kBytes;
}

bool SpaceReserve::Release() {
  const std::lock_guard lock(mutex_);
  if (left_ == 0) return false;
  if (left_ == kBytes) {
    spdlog::warn("the disk of {} is full; its reserve serves deletions",
                 file_.parent_path().string());
  }
  left_ -= kStep;
  if (left_ == 0 || ::truncate(file_.c_str(), left_) != 0) {
    left_ = 0;
    ::unlink(file_.c_str());
  }
  return true;
}

void SpaceReserve::Restore() {
  const std::lock_guard lock(mutex_);
  if (left_ == kBytes) return;
  // Without a try: what is left would be nobody's for a moment.
  struct statvfs disk {};
  if (::statvfs(file_.parent_path().c_str(), &disk) != 0 ||
      disk.f_bavail * disk.f_frsize < static_cast<std::uint64_t>(kBytes)) {
    return;
  }
  const int fd = ::open(file_.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0) return;
  // Blocks, not a hole.
  if (::posix_fallocate(fd, 0, kBytes) == 0) {
    left_ = kBytes;
  } else if (left_ == 0 || ::ftruncate(fd, left_) != 0) {
    left_ = 0;
    ::unlink(file_.c_str());
  }
  ::close(fd);
}

}  // namespace btfc::index
