#include "fs/commit_rests.h"

#include <algorithm>

namespace btfc::fs {
namespace {

using std::chrono::milliseconds;

// Versions in a row that come without a wait.
constexpr unsigned kFree = 10;
constexpr unsigned kFactorMax = 8;  // the wait, in passes
constexpr std::chrono::seconds kRestMax{60};
constexpr milliseconds kCheap{1};  // what costs less needs no rest
// After a pause of so many passes it is a first version again.
constexpr int kPause = 4 * kFactorMax;
constexpr std::size_t kKeptMax = 1000;

}  // namespace

void CommitRests::Made(index::Ino ino, Clock::duration cost, Clock::time_point now) {
  const std::lock_guard lock(mutex_);
  if (cost < kCheap) {
    rests_.erase(ino);
    return;
  }
  if (rests_.size() >= kKeptMax) {
    std::erase_if(rests_, [now](const auto& entry) { return entry.second.until < now; });
  }
  Rest& rest = rests_[ino];
  if (rest.times > 0 && now - rest.made > kPause * cost) rest.times = 0;
  ++rest.times;
  rest.made = now;
  const unsigned factor =
      rest.times <= kFree ? 0 : std::min(1U << std::min(rest.times - kFree - 1, 8U), kFactorMax);
  rest.until = now + std::min<Clock::duration>(factor * cost, kRestMax);
}

CommitRests::Clock::duration CommitRests::Left(index::Ino ino, Clock::time_point now) const {
  const std::lock_guard lock(mutex_);
  const auto found = rests_.find(ino);
  if (found == rests_.end()) return Clock::duration::zero();
  return std::max(Clock::duration::zero(), found->second.until - now);
}

}  // namespace btfc::fs
