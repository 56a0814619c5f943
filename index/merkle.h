// BEP 52 merkle trees: SHA-256 over 16 KiB blocks, padded with zero hashes to a power of two.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <string_view>
#include <vector>

#include "index/content.h"
#include "index/result.h"

namespace btfc::index {

using Hash = std::array<std::uint8_t, 32>;

inline constexpr std::uint32_t kBlockSize = 16 * 1024;  // bytes

struct HashedFile {
  ContentId id;
  std::vector<Hash> pieces;  // the layer at PieceLength(size); empty if one piece or less
};

// Piece length of the object's torrent, a function of its size alone: 256 KiB up to 1 GiB,
// doubled above so that a layer has at most 4096 pieces, 16 MiB at most.
std::uint32_t PieceLength(std::uint64_t size);

// The content id of bytes in memory.
ContentId ContentIdOf(std::string_view bytes);

// What a file had before: the pieces of that content, and which of its bytes may differ now. Beyond
// its size all do.
struct EarlierFile {
  std::uint64_t size = 0;
  std::vector<Hash> pieces;
  std::function<bool(std::uint64_t offset, std::uint64_t length)> changed;  // from any thread
};

// Hashes a whole file through pread; holes count as zeros and are not read. Large files use up
// to `threads` threads. `cancelled` is asked between chunks of a few MiB; if it answers true,
// Error::kCancelled. Pieces that did not change since `earlier`, if there is one, are not read.
// Any thread.
Result<HashedFile> HashFile(int fd, const std::function<bool()>& cancelled, unsigned threads = 1,
                            const EarlierFile* earlier = nullptr);

}  // namespace btfc::index
