#include "fs/written_ranges.h"

#include <algorithm>
#include <iterator>
#include <limits>

namespace btfc::fs {
namespace {

constexpr std::uint64_t kUnit = std::uint64_t{256} << 10U;  // bytes
constexpr std::uint64_t kEnd = std::numeric_limits<std::uint64_t>::max();
// Beyond, a pass over the file costs little more than what is known would save.
constexpr std::size_t kRangesMax = 16384;

// The unit after the one of the last byte.
std::uint64_t EndUnit(std::uint64_t offset, std::uint64_t length) {
  const std::uint64_t last = offset + std::min(length - 1, kEnd - offset);
  return last / kUnit + 1;
}

}  // namespace

void WrittenRanges::Add(std::uint64_t offset, std::uint64_t length) {
  if (length > 0) Insert(offset / kUnit, EndUnit(offset, length));
}

void WrittenRanges::AddFrom(std::uint64_t offset) { Insert(offset / kUnit, kEnd); }

void WrittenRanges::Insert(std::uint64_t first, std::uint64_t end) {
  auto next = units_.upper_bound(first);
  if (next != units_.begin()) {
    const auto before = std::prev(next);
    if (before->second >= end) return;
    if (before->second >= first) next = before;
  }
  while (next != units_.end() && next->first <= end) {
    first = std::min(first, next->first);
    end = std::max(end, next->second);
    next = units_.erase(next);
  }
  units_.emplace(first, end);
  if (units_.size() > kRangesMax) units_ = {{units_.begin()->first, kEnd}};
}

bool WrittenRanges::Touch(std::uint64_t offset, std::uint64_t length) const {
  if (length == 0) return false;
  const auto next = units_.lower_bound(EndUnit(offset, length));
  return next != units_.begin() && std::prev(next)->second > offset / kUnit;
}

}  // namespace btfc::fs
