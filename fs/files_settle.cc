// From the last writer's release until nothing can write to the file: when it is committed.
#include <fcntl.h>
#include <sys/stat.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <utility>

#include "fs/files_impl.h"

namespace btfc::fs {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;

// The kernel lets go of a released passthrough file a moment after it said so.
constexpr std::array kLeaseDelays{microseconds(200), microseconds(1000), microseconds(5000),
                                  microseconds(25000)};
constexpr milliseconds kLeaseWait{2000};  // beside inotify, in case it tells nothing
constexpr std::uint64_t kShortHash = std::uint64_t{4} << 20U;  // bytes

// Whether nothing can write to the file any more. The lease is given back at once: no new writer
// comes while the caller holds the state's lock.
bool Quiet(int fd) {
  if (::fcntl(fd, F_SETLEASE, F_RDLCK) != 0) {
    // A filesystem without leases: the count of writers is all there is to know.
    return errno != EAGAIN && errno != EWOULDBLOCK;
  }
  ::fcntl(fd, F_SETLEASE, F_UNLCK);
  return true;
}

}  // namespace

// All but RetryLater and RetrySettling with the state's lock.

void Files::Impl::Settle(const State& state, Later& later) {
  state->writable.reset();
  state->lease_tries = 0;
  state->lease_waits = false;
  if (state->orphan) {
    state->phase = Phase::kClean;  // never committed; its file goes with the last handle
    state->idle.notify_all();
    return MaybeDrop(state, later);
  }
  state->phase = Phase::kSettling;
  const auto pace =
      stopping_ ? CommitPace::Decision{} : pace_.Next(state->ino, CommitPace::Clock::now());
  switch (pace.when) {
    case CommitPace::When::kNow:
      return TryLease(state, later);
    case CommitPace::When::kBeside:
      later.Add([this, state] {
        const auto settle = [this, state] { RetrySettling(state, false); };
        if (!beside_.Post(settle)) settle();
      });
      return;
    case CommitPace::When::kLater: {
      const std::weak_ptr<FileState> weak = state;
      state->lease_alarm = alarm_->After(pace.rest, [this, ino = state->ino, weak] {
        pace_.Rested(ino);
        if (const auto rested = weak.lock()) RetryLater(rested, false)();
      });
      return;
    }
  }
}

void Files::Impl::TryLease(const State& state, Later& later) {
  // Only past the daemon can anything write after the last release.
  if (state->base.passthrough && !Quiet(state->file->get())) return LeaseRefused(state);
  const auto st = StatOf(state->file->get());
  if (!st) return CommitFailed(state, st.error(), later);
  const auto size = static_cast<std::uint64_t>(st.value().st_size);
  if (size > index::kInlineMax && Rests(state, st.value())) return;
  if (state->lease_tries > 0) {
    later.Add([backing = backing_.load(), ino = state->ino] {
      if (backing != nullptr) backing->TimesMoved(ino);
    });
  }
  state->phase = Phase::kHashing;
  const auto epoch = ++state->hash_epoch;
  if (size <= index::kInlineMax || Unchanged(*state, st.value())) {
    // On this thread: a small file is elsewhere before another thread woke up.
    later.Add([this, state, epoch] { CommitQuiet(state, epoch); });
    return;
  }
  const auto length = size <= kShortHash ? Workers::Length::kShort : Workers::Length::kLong;
  later.Add([this, state, epoch, length] {
    workers_.Post(length, [this, state, epoch] { HashAndCommit(state, epoch); });
  });
}

// Of a file that changes all the time. Whoever wants to write meanwhile goes on with the same file.
bool Files::Impl::Rests(const State& state, const struct stat& now) {
  if (stopping_ || Unchanged(*state, now)) return false;
  const auto left = rests_.Left(state->ino, CommitRests::Clock::now());
  if (left <= CommitRests::Clock::duration::zero()) return false;
  state->lease_alarm = alarm_->After(left, RetryLater(state, false));
  return true;
}

void Files::Impl::LeaseRefused(const State& state) {
  const auto retry = RetryLater(state, false);
  if (state->lease_tries < kLeaseDelays.size()) {
    state->lease_alarm = alarm_->After(kLeaseDelays.at(state->lease_tries++), retry);
    return;
  }
  state->lease_waits = true;
  state->idle.notify_all();
  if (!state->watched) {
    state->watched = alarm_->OnceClosed(state->file->get(), RetryLater(state, true)).has_value();
    // It may have been closed just before the watch was there.
    if (state->watched) return retry();
  }
  state->lease_alarm = alarm_->After(kLeaseWait, retry);
}

std::function<void()> Files::Impl::RetryLater(const State& state, bool by_watch) {
  const std::weak_ptr<FileState> weak = state;
  return [this, weak, by_watch] {
    workers_.Post(Workers::Length::kShort, [this, weak, by_watch] {
      if (const auto settling = weak.lock()) RetrySettling(settling, by_watch);
    });
  };
}

void Files::Impl::RetrySettling(const State& state, bool by_watch) {
  if (abandon_) return;
  Later later;
  const std::lock_guard lock(state->mutex);
  if (by_watch) state->watched = false;  // it tells once
  if (state->phase != Phase::kSettling || state->busy) return;
  if (state->lease_alarm != 0) alarm_->Cancel(std::exchange(state->lease_alarm, 0));
  TryLease(state, later);
}

}  // namespace btfc::fs
