// Which worker reads the kernel's requests.
#include "fs/turns.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <future>
#include <thread>
#include <vector>

namespace btfc::fs {
namespace {

constexpr std::chrono::seconds kPatience{60};

// Another worker, that takes the turn once.
class Other {
 public:
  explicit Other(Turns& turns)
      : taken_(std::async(std::launch::async, [this, &turns] { return turns.Take(&turn_); })) {}
  bool Waits() { return taken_.wait_for(std::chrono::milliseconds(20)) != kReady; }
  bool Ends() { return taken_.wait_for(kPatience) == kReady; }
  bool Took() { return taken_.get(); }
  Turns::Turn* turn() { return &turn_; }

 private:
  static constexpr auto kReady = std::future_status::ready;
  Turns::Turn turn_ = 0;
  std::future<bool> taken_;
};

TEST(TurnsTest, OneWorkerKeepsTheTurn) {
  Turns turns;
  Turns::Turn turn = 0;
  ASSERT_TRUE(turns.Take(&turn));
  for (int i = 0; i < 1000; ++i) {
    turns.Begin(&turn);
    ASSERT_TRUE(turns.Done(&turn));
  }
  Other other(turns);  // and the one who has it looks for the next request
  EXPECT_TRUE(other.Waits());
  turns.End();
  ASSERT_TRUE(other.Ends());
  EXPECT_FALSE(other.Took());
}

TEST(TurnsTest, ItIsGivenAwayBeforeALongRequest) {
  Turns turns;
  Turns::Turn turn = 0;
  ASSERT_TRUE(turns.Take(&turn));
  Other other(turns);
  turns.Begin(&turn);
  Turns::GiveAway();
  ASSERT_TRUE(other.Ends());
  ASSERT_TRUE(other.Took());
  turns.Begin(other.turn());
  EXPECT_FALSE(turns.Done(&turn)) << "two workers have the turn";
  EXPECT_TRUE(turns.Done(other.turn()));
}

TEST(TurnsTest, NobodyWaitsForARequestThatDoesNotEnd) {
  Turns turns;
  Turns::Turn turn = 0;
  ASSERT_TRUE(turns.Take(&turn));
  turns.Begin(&turn);
  Other other(turns);
  ASSERT_TRUE(other.Ends());
  ASSERT_TRUE(other.Took());
  EXPECT_FALSE(turns.Done(&turn));
}

// The watch ends when nothing happens for a while, and must come back.
TEST(TurnsTest, NorAfterAQuietTime) {
  Turns turns;
  Turns::Turn turn = 0;
  ASSERT_TRUE(turns.Take(&turn));
  Other other(turns);
  for (int i = 0; i < 20; ++i) ASSERT_TRUE(other.Waits());
  turns.Begin(&turn);
  ASSERT_TRUE(other.Ends());
  ASSERT_TRUE(other.Took());
  EXPECT_FALSE(turns.Done(&turn));
}

TEST(TurnsTest, WhoLostTheTurnCanTakeItAgain) {
  Turns turns;
  Turns::Turn turn = 0;
  ASSERT_TRUE(turns.Take(&turn));
  turns.Begin(&turn);
  Turns::GiveAway();
  Turns::GiveAway();
  EXPECT_FALSE(turns.Done(&turn));
  ASSERT_TRUE(turns.Take(&turn));
  turns.Begin(&turn);
  EXPECT_TRUE(turns.Done(&turn));
}

// Several workers, some of whose requests are long: never two at a time that have the turn.
TEST(TurnsTest, NeverTwoAtATime) {
  Turns turns;
  std::atomic<int> readers{0};
  std::atomic<bool> two{false};
  std::atomic<int> requests{0};
  constexpr int kRequests = 20000;
  const auto work = [&] {
    Turns::Turn turn = 0;
    while (turns.Take(&turn)) {
      for (bool mine = true; mine && requests < kRequests;) {
        if (++readers > 1) two = true;
        const int number = ++requests;
        --readers;
        turns.Begin(&turn);
        if (number % 3 == 0) Turns::GiveAway();
        if (number % 1000 == 1) std::this_thread::sleep_for(std::chrono::milliseconds(5));
        mine = turns.Done(&turn);
      }
      if (requests >= kRequests) turns.End();
    }
  };
  std::vector<std::thread> workers;
  for (int i = 0; i < 4; ++i) workers.emplace_back(work);
  for (auto& worker : workers) worker.join();
  EXPECT_FALSE(two);
  EXPECT_GE(requests, kRequests);
}

}  // namespace
}  // namespace btfc::fs
