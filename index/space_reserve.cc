#include "index/space_reserve.h"

#include <fcntl.h>
#include <spdlog/spdlog.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cerrno>

namespace btfc::index {

bool IsNoRoom(const std::error_code& error) {
  return error == Errno(ENOSPC) || error == Errno(EDQUOT);
}

SpaceReserve::SpaceReserve(const std::filesystem::path& database)
    : file_(database.native() + "-reserve") {
  Restore();
}

bool SpaceReserve::Release() {
  if (!held_.exchange(false)) return false;
  ::unlink(file_.c_str());
  spdlog::warn("the disk of {} is full; its reserve serves deletions",
               file_.parent_path().string());
  return true;
}

void SpaceReserve::Restore() {
  if (held_) return;
  // Without a try: what is left would be nobody's for a moment.
  struct statvfs disk {};
  if (::statvfs(file_.parent_path().c_str(), &disk) != 0 ||
      disk.f_bavail * disk.f_frsize < static_cast<std::uint64_t>(kBytes)) {
    return;
  }
  const int fd = ::open(file_.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0) return;
  // Blocks, not a hole; a part of it would be of no use.
  held_ = ::posix_fallocate(fd, 0, kBytes) == 0;
  ::close(fd);
  if (!held_) ::unlink(file_.c_str());
}

}  // namespace btfc::index
