// Copies of whole files that cost as little as the filesystem allows.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "index/result.h"

namespace btfc::fs {

// Makes the file `to` (empty, open for writing) hold the first `size` bytes of `from`: shares the
// extents where the filesystem can (FICLONE), else copies the data and keeps the holes.
// `cancelled` (may be empty) is asked every few MiB; if it answers true: Error::kCancelled.
// Any thread; takes as long as the disk takes.
Result<void> CloneFile(int from, int to, std::uint64_t size,
                       const std::function<bool()>& cancelled = {});

// Only the sharing of extents; an errno if the filesystem cannot.
Result<void> Reflink(int from, int to);

// A region between two open files, holes of the source included as zeros. What copy_file_range(2)
// answers: bytes copied, which may be fewer than asked for.
Result<std::size_t> CopyFileRange(int from, std::uint64_t from_offset, int to,
                                  std::uint64_t to_offset, std::size_t length);

// The whole of `bytes` at `offset`, unless an error comes first.
Result<void> WriteAll(int fd, std::uint64_t offset, std::string_view bytes);

// Writes the data of a file over itself, holes excepted: all of it is on its way to the disk again.
// `fd` is open for reading and writing; nobody else writes meanwhile.
Result<void> WriteAgain(int fd, std::uint64_t size);

// `length` bytes at `offset`, fewer only at the end of the file.
Result<std::string> ReadUpTo(int fd, std::uint64_t offset, std::size_t length);

}  // namespace btfc::fs
