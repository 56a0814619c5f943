#include "fs/commit_pace.h"

namespace btfc::fs {
namespace {

// Closed within so long after the one before. Who waits until another host has seen a version
// before he writes the next takes longer.
constexpr std::chrono::milliseconds kQuick{1};
constexpr unsigned kFree = 8;  // versions in a row without a rest
constexpr std::chrono::milliseconds kRest{20};

}  // namespace

CommitPace::Decision CommitPace::Next(index::Ino ino, Clock::time_point now) {
  const std::lock_guard lock(mutex_);
  const bool quick = now - last_ < kQuick;
  last_ = now;
  Repeated& file = repeated_.at(ino % repeated_.size());
  if (file.ino != ino) file = Repeated{ino, 0, {}, {}};
  const bool rested = file.due && now >= *file.due;
  if (now - file.last >= kQuick && !rested) file = Repeated{ino, 0, {}, {}};
  file.last = now;
  if (file.times < kFree) {
    ++file.times;
    return {quick ? When::kBeside : When::kNow, {}};
  }
  if (rested) {
    file.due.reset();
    return {When::kBeside, {}};
  }
  if (!file.due) file.due = now + kRest;
  return {When::kLater, *file.due - now};
}

void CommitPace::Rested(index::Ino ino) {
  const std::lock_guard lock(mutex_);
  Repeated& file = repeated_.at(ino % repeated_.size());
  if (file.ino == ino) file.due.reset();
}

}  // namespace btfc::fs
