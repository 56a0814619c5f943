// Files that share their places on the disk (reflinks).
#pragma once

#include <functional>

#include "fs/written_ranges.h"
#include "index/result.h"

namespace btfc::fs {

// Which bytes of `file` may differ from those of `base`: what does not lie in the same place of the
// disk as there, or where nobody knows where it lies. One place has one content, whoever writes:
// that goes to another place as long as two files share it. What is not on the disk yet is written
// to it. An errno where the filesystem does not tell (FIEMAP; format and flags: Linux,
// Documentation/filesystems/fiemap.rst); Error::kCancelled when `cancelled` answers true. While
// nobody writes to either; any thread, takes as long as the disk takes.
Result<WrittenRanges> UnsharedRanges(int base, int file, const std::function<bool()>& cancelled);

}  // namespace btfc::fs
