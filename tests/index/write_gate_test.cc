// The lock of writers and of readers that join them.
#include "index/write_gate.h"

#include <gtest/gtest.h>

#include <mutex>
#include <vector>

namespace btfc::index {
namespace {

constexpr int kThreads = 4;
constexpr int kTimes = 20000;

template <class Work>
void InThreads(const Work& work) {
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; ++i) threads.emplace_back([&work, i] { work(i); });
  for (auto& thread : threads) thread.join();
}

TEST(WriteGateTest, OneAtATime) {
  WriteGate gate;
  int count = 0;
  InThreads([&](int) {
    for (int i = 0; i < kTimes; ++i) {
      const std::lock_guard lock(gate);
      ++count;
    }
  });
  EXPECT_EQ(count, kThreads * kTimes);
  EXPECT_TRUE(gate.try_lock());
  EXPECT_FALSE(gate.try_lock());
  gate.unlock();
}

TEST(WriteGateTest, ReadersWaitOnlyWhileAGroupIsOpen) {
  WriteGate gate;
  EXPECT_FALSE(gate.LockIfOpen());
  gate.lock();
  EXPECT_FALSE(gate.LockIfOpen()) << "held, but there is nothing that others do not see";
  gate.SetOpen(true);
  std::thread reader([&gate] { EXPECT_FALSE(gate.LockIfOpen()) << "the group has ended"; });
  gate.SetOpen(false);
  reader.join();
  gate.SetOpen(true);
  std::thread other([&gate] {
    ASSERT_TRUE(gate.LockIfOpen());
    gate.unlock();
  });
  gate.unlock();
  other.join();
}

TEST(WriteGateTest, WhateverComesFirstNobodySleepsForEver) {
  WriteGate gate;
  int count = 0;
  InThreads([&](int thread) {
    for (int i = 0; i < kTimes; ++i) {
      if (thread % 2 == 0) {
        const std::lock_guard lock(gate);
        gate.SetOpen(i % 3 == 0);
        ++count;
      } else if (gate.LockIfOpen()) {
        ++count;
        gate.unlock();
      }
    }
  });
  EXPECT_GE(count, kThreads / 2 * kTimes);
}

// One that takes turn after turn has always taken the next one before a sleeper is awake.
TEST(WriteGateTest, BetweenManyTurnsOthersGoFirst) {
  constexpr int kWanted = 20;
  constexpr int kTurnsMax = 2000;
  WriteGate gate;
  std::atomic<int> got = 0;
  std::atomic<bool> held = false;
  std::atomic<bool> ended = false;
  std::thread other([&] {
    while (!ended && got < kWanted) {
      if (!held) continue;
      const std::lock_guard lock(gate);
      ++got;
    }
  });
  for (int turns = 0; got < kWanted && turns < kTurnsMax; ++turns) {
    {
      const std::lock_guard lock(gate);
      held = true;
      std::this_thread::sleep_for(std::chrono::microseconds(500));  // others fall asleep
      held = false;
    }
    gate.GiveWay();
  }
  EXPECT_EQ(kWanted, got);
  ended = true;
  other.join();
}

}  // namespace
}  // namespace btfc::index
