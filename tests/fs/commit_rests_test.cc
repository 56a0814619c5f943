// How long a file that changes all the time waits for its next version.
#include "fs/commit_rests.h"

#include <gtest/gtest.h>

namespace btfc::fs {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using Clock = CommitRests::Clock;

constexpr index::Ino kFile = 7;

TEST(CommitRestsTest, FirstVersionsAreMadeAtOnce) {
  CommitRests rests;
  Clock::time_point now{};
  EXPECT_EQ(rests.Left(kFile, now), Clock::duration::zero());
  for (int i = 0; i < 10; ++i) {
    rests.Made(kFile, milliseconds(100), now);
    EXPECT_EQ(rests.Left(kFile, now), Clock::duration::zero());
    now += milliseconds(100);
  }
}

TEST(CommitRestsTest, LaterOnesWaitForLongerAndLonger) {
  CommitRests rests;
  Clock::time_point now{};
  Clock::duration before{};
  Clock::duration spent{};
  constexpr milliseconds kCost{100};
  for (int i = 0; i < 100; ++i) {
    now += kCost;
    spent += kCost;
    rests.Made(kFile, kCost, now);
    const auto left = rests.Left(kFile, now);
    EXPECT_GE(left, before);
    EXPECT_LE(left, 10 * kCost);
    EXPECT_EQ(rests.Left(kFile, now + left), Clock::duration::zero());
    before = left;
    now += left;  // and somebody has written meanwhile
  }
  EXPECT_LT(spent * 5, now.time_since_epoch());
  EXPECT_EQ(rests.Left(kFile + 1, now), Clock::duration::zero());
}

TEST(CommitRestsTest, APauseForgetsThem) {
  CommitRests rests;
  Clock::time_point now{};
  for (int i = 0; i < 30; ++i) rests.Made(kFile, milliseconds(100), now);
  EXPECT_GT(rests.Left(kFile, now), Clock::duration::zero());
  now += seconds(60);
  rests.Made(kFile, milliseconds(100), now);
  EXPECT_EQ(rests.Left(kFile, now), Clock::duration::zero());
}

TEST(CommitRestsTest, NobodyWaitsForEver) {
  CommitRests rests;
  const Clock::time_point now{};
  for (int i = 0; i < 30; ++i) rests.Made(kFile, seconds(3600), now);
  EXPECT_LE(rests.Left(kFile, now), seconds(60));
}

TEST(CommitRestsTest, WhatCostsNothingNeverWaits) {
  CommitRests rests;
  const Clock::time_point now{};
  for (int i = 0; i < 100; ++i) rests.Made(kFile, std::chrono::microseconds(50), now);
  EXPECT_EQ(rests.Left(kFile, now), Clock::duration::zero());
}

// More files than are remembered: none is lost that still waits.
TEST(CommitRestsTest, ManyFiles) {
  CommitRests rests;
  Clock::time_point now{};
  for (int i = 0; i < 30; ++i) rests.Made(kFile, seconds(1), now);
  for (index::Ino ino = 100; ino < 5000; ++ino) {
    now += milliseconds(1);
    rests.Made(ino, milliseconds(2), now);
  }
  EXPECT_GT(rests.Left(kFile, now), Clock::duration::zero());
}

}  // namespace
}  // namespace btfc::fs
