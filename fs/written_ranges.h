// Which bytes of a file may have changed since it had a certain content.
#pragma once

#include <cstdint>
#include <map>

namespace btfc::fs {

// Rounded outwards to units of 256 KiB, the least that is hashed at a time. One thread at a time.
class WrittenRanges {
 public:
  // Bytes [offset, offset + length) are about to be written. Before they are.
  void Add(std::uint64_t offset, std::uint64_t length);
  // And everything behind.
  void AddFrom(std::uint64_t offset);
  // Whether any byte of [offset, offset + length) may have changed.
  bool Touch(std::uint64_t offset, std::uint64_t length) const;

 private:
  void Insert(std::uint64_t first, std::uint64_t end);

  std::map<std::uint64_t, std::uint64_t> units_;  // [first, end), neither touching nor overlapping
};

}  // namespace btfc::fs
