#include "fs/attributes.h"

#include <algorithm>
#include <cerrno>

namespace btfc::fs {
namespace {

constexpr std::uint64_t kBlockSize = 4096;  // bytes
constexpr std::int64_t kNanoseconds = 1'000'000'000;

}  // namespace

mode_t TypeBits(index::Kind kind) {
  switch (kind) {
    case index::Kind::kFile:
      return S_IFREG;
    case index::Kind::kFolder:
      return S_IFDIR;
    case index::Kind::kSymlink:
      return S_IFLNK;
    case index::Kind::kFifo:
      return S_IFIFO;
    case index::Kind::kSocket:
      return S_IFSOCK;
    case index::Kind::kCharDevice:
      return S_IFCHR;
    case index::Kind::kBlockDevice:
      return S_IFBLK;
  }
  return S_IFREG;
}

Result<index::Kind> KindOf(mode_t mode) {
  switch (mode & S_IFMT) {
    case 0:
    case S_IFREG:
      return index::Kind::kFile;
    case S_IFDIR:
      return index::Kind::kFolder;
    case S_IFLNK:
      return index::Kind::kSymlink;
    case S_IFIFO:
      return index::Kind::kFifo;
    case S_IFSOCK:
      return index::Kind::kSocket;
    case S_IFCHR:
      return index::Kind::kCharDevice;
    case S_IFBLK:
      return index::Kind::kBlockDevice;
    default:
      return Errno(EINVAL);
  }
}

std::uint64_t BlocksOf(std::uint64_t size) {
  return (size + kBlockSize - 1) / kBlockSize * (kBlockSize / 512);
}

timespec ToTimespec(std::int64_t time_ns) {
  std::int64_t seconds = time_ns / kNanoseconds;
  std::int64_t rest = time_ns % kNanoseconds;
  if (rest < 0) {
    rest += kNanoseconds;
    --seconds;
  }
  return {seconds, rest};
}

std::int64_t FromTimespec(const timespec& time) {
  // Years 1677 to 2262; what is beyond is the nearest that can be kept.
  constexpr std::int64_t kMax = 9'223'372'035;
  return std::clamp<std::int64_t>(time.tv_sec, -kMax, kMax) * kNanoseconds + time.tv_nsec;
}

struct stat MakeStat(const index::Node& inode, const std::optional<LiveStat>& live, NodeId node,
                     OwnerMap::Ids owner) {
  struct stat result {};
  result.st_ino = node;
  result.st_mode = TypeBits(inode.kind) | (inode.mode & 07777U);
  result.st_nlink = inode.nlink;
  result.st_uid = owner.uid;
  result.st_gid = owner.gid;
  result.st_rdev = inode.rdev;
  result.st_blksize = kBlockSize;
  result.st_atim = ToTimespec(inode.atime_ns);
  switch (inode.kind) {
    case index::Kind::kFolder:
      result.st_size = kBlockSize;
      result.st_blocks = BlocksOf(kBlockSize);
      break;
    case index::Kind::kFile:
      result.st_size = static_cast<off_t>(live ? live->size : inode.size);
      result.st_blocks = static_cast<blkcnt_t>(live ? live->blocks : BlocksOf(inode.size));
      break;
    default:
      result.st_size = static_cast<off_t>(inode.size);
      break;
  }
  result.st_mtim = ToTimespec(live ? live->mtime_ns : inode.mtime_ns);
  result.st_ctim = ToTimespec(live ? std::max(live->ctime_ns, inode.ctime_ns) : inode.ctime_ns);
  return result;
}

}  // namespace btfc::fs
