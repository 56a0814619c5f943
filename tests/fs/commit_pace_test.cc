// When small files are committed.
#include "fs/commit_pace.h"

#include <gtest/gtest.h>

namespace btfc::fs {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;
using When = CommitPace::When;

constexpr index::Ino kFile = 7;

TEST(CommitPaceTest, NowAndThenIsAtOnce) {
  CommitPace pace;
  CommitPace::Clock::time_point now{milliseconds(5000)};
  for (int i = 0; i < 100; ++i, now += milliseconds(2)) {
    EXPECT_EQ(pace.Next(kFile, now).when, When::kNow) << i;
  }
}

TEST(CommitPaceTest, OfManyOnlyTheFirstIs) {
  CommitPace pace;
  CommitPace::Clock::time_point now{milliseconds(5000)};
  EXPECT_EQ(pace.Next(1, now).when, When::kNow);
  for (index::Ino ino = 2; ino < 1000; ++ino) {
    now += microseconds(100);
    EXPECT_EQ(pace.Next(ino, now).when, When::kBeside) << ino;
  }
  now += milliseconds(2);
  EXPECT_EQ(pace.Next(1000, now).when, When::kNow);
}

TEST(CommitPaceTest, AFileThatIsClosedAllTheTimeRests) {
  CommitPace pace;
  const CommitPace::Clock::time_point begin{milliseconds(5000)};
  auto now = begin;
  auto last = begin;
  int versions = 0;
  for (; now < begin + milliseconds(1000); now += microseconds(100)) {
    const auto decision = pace.Next(kFile, now);
    if (decision.when != When::kLater) {
      ++versions;
      last = now;
    } else {
      ASSERT_GT(decision.rest.count(), 0);
      ASSERT_LE(decision.rest, milliseconds(20));
    }
    ASSERT_LE(now - last, milliseconds(21));
  }
  EXPECT_NE(pace.Next(kFile + 1, now).when, When::kLater) << "of another file";
  EXPECT_GE(versions, 1000 / 21);
  EXPECT_LE(versions, 1000 / 20 + 9);
}

TEST(CommitPaceTest, WhatRestedIsCommitted) {
  CommitPace pace;
  CommitPace::Clock::time_point now{milliseconds(5000)};
  auto decision = pace.Next(kFile, now);
  while (decision.when != When::kLater) decision = pace.Next(kFile, now += microseconds(100));
  EXPECT_NE(pace.Next(kFile, now + decision.rest).when, When::kLater);
}

TEST(CommitPaceTest, AfterARestComesTheNext) {
  CommitPace pace;
  CommitPace::Clock::time_point now{milliseconds(5000)};
  while (pace.Next(kFile, now).when != When::kLater) now += microseconds(100);
  while (pace.Next(kFile, now).rest > microseconds(100)) now += microseconds(100);
  now += microseconds(100);
  pace.Rested(kFile);
  EXPECT_EQ(pace.Next(kFile, now).when, When::kLater) << "the rest made a version just now";
}

TEST(CommitPaceTest, APauseForgets) {
  CommitPace pace;
  CommitPace::Clock::time_point now{milliseconds(5000)};
  while (pace.Next(kFile, now).when != When::kLater) now += microseconds(100);
  now += milliseconds(500);
  EXPECT_EQ(pace.Next(kFile, now).when, When::kBeside) << "its rest was over";
  now += milliseconds(5);
  EXPECT_EQ(pace.Next(kFile, now).when, When::kNow);
}

}  // namespace
}  // namespace btfc::fs
