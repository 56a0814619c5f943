#include "fs/extents.h"

#include <linux/fiemap.h>
#include <linux/fs.h>
#include <sys/ioctl.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <vector>

#include "fs/fd.h"

namespace btfc::fs {
namespace {

constexpr std::uint64_t kEnd = std::numeric_limits<std::uint64_t>::max();
constexpr std::size_t kAtOnce = 512;                        // extents that one call asks for
constexpr std::size_t kExtentsMax = std::size_t{1} << 20U;  // a file in more pieces is read instead

// The bytes are not those of the place that is named, or not known to be.
constexpr std::uint32_t kNoPlace = FIEMAP_EXTENT_UNKNOWN | FIEMAP_EXTENT_DELALLOC |
                                   FIEMAP_EXTENT_ENCODED | FIEMAP_EXTENT_DATA_ENCRYPTED |
                                   FIEMAP_EXTENT_NOT_ALIGNED | FIEMAP_EXTENT_DATA_INLINE |
                                   FIEMAP_EXTENT_DATA_TAIL | FIEMAP_EXTENT_UNWRITTEN;

struct Extent {
  std::uint64_t begin = 0, end = 0;    // bytes of the file
  std::optional<std::uint64_t> shift;  // from there to the place on the disk, modulo 2^64
};

Result<std::vector<Extent>> ExtentsOf(int fd, const std::function<bool()>& cancelled) {
  std::vector<Extent> all;
  std::vector<std::uint64_t> room((sizeof(fiemap) + kAtOnce * sizeof(fiemap_extent)) / 8);
  auto* request = reinterpret_cast<fiemap*>(room.data());  // NOLINT(*-reinterpret-cast)
  for (std::uint64_t from = 0;;) {
    if (cancelled()) return Error::kCancelled;
    *request = {};
    request->fm_start = from;
    request->fm_length = kEnd - from;
    request->fm_flags = FIEMAP_FLAG_SYNC;
    request->fm_extent_count = kAtOnce;
    if (::ioctl(fd, FS_IOC_FIEMAP, request) != 0) return LastError();
    const std::span found(request->fm_extents, request->fm_mapped_extents);
    if (found.empty()) return all;
    for (const fiemap_extent& one : found) {
      Extent& extent = all.emplace_back();
      extent.begin = one.fe_logical;
      extent.end = one.fe_logical + one.fe_length;
      if ((one.fe_flags & kNoPlace) == 0) extent.shift = one.fe_physical - one.fe_logical;
      if ((one.fe_flags & FIEMAP_EXTENT_LAST) != 0) return all;
      from = extent.end;
    }
    if (all.size() > kExtentsMax) return Errno(E2BIG);
  }
}

// Walks along the extents of a file, and the holes between them.
class Walk {
 public:
  explicit Walk(const std::vector<Extent>& extents) : extents_(extents) {}

  // What is at `offset`, which never goes back: its extent; null: a hole.
  const Extent* At(std::uint64_t offset) {
    while (next_ < extents_.size() && extents_[next_].end <= offset) ++next_;
    const bool hole = next_ == extents_.size() || offset < extents_[next_].begin;
    return hole ? nullptr : &extents_[next_];
  }
  // Up to where that goes, after At.
  std::uint64_t Until(const Extent* at) const {
    if (at != nullptr) return at->end;
    return next_ == extents_.size() ? kEnd : extents_[next_].begin;
  }

 private:
  const std::vector<Extent>& extents_;
  std::size_t next_ = 0;
};

bool Same(const Extent* one, const Extent* other) {
  if (one == nullptr || other == nullptr) return one == other;
  return one->shift && one->shift == other->shift;
}

}  // namespace

Result<WrittenRanges> UnsharedRanges(int base, int file, const std::function<bool()>& cancelled) {
  BOOST_OUTCOME_TRYA(base_file, StatOf(base));
  BOOST_OUTCOME_TRYA(other_file, StatOf(file));
  if (base_file.st_ino == other_file.st_ino) return Errno(EINVAL);  // one file shares all, always
  BOOST_OUTCOME_TRYA(there, ExtentsOf(base, cancelled));
  BOOST_OUTCOME_TRYA(here, ExtentsOf(file, cancelled));
  WrittenRanges unshared;
  Walk in_base(there), in_file(here);
  for (std::uint64_t at = 0; at < kEnd;) {
    const Extent* one = in_base.At(at);
    const Extent* other = in_file.At(at);
    const std::uint64_t until = std::min(in_base.Until(one), in_file.Until(other));
    if (!Same(one, other)) unshared.Add(at, until - at);
    at = until;
  }
  return unshared;
}

}  // namespace btfc::fs
