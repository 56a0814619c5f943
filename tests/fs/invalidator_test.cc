// Notices to the kernel, which is a pipe here.
#include "fs/invalidator.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <array>

namespace btfc::fs::test {
namespace {

class InvalidatorTest : public testing::Test {
 protected:
  void SetUp() override { ASSERT_EQ(::pipe2(pipe_.data(), O_CLOEXEC | O_NONBLOCK), 0); }
  void TearDown() override {
    for (const int end : pipe_) ::close(end);
  }
  bool Told() {
    std::array<char, 4096> bytes{};
    return ::read(pipe_[0], bytes.data(), bytes.size()) > 0;
  }
  static Invalidator::Notice Entry() { return {Invalidator::Notice::What::kEntry, 1, "name"}; }

  std::array<int, 2> pipe_{};
};

TEST_F(InvalidatorTest, WhoWaitsKnowsThatAllWasSent) {
  Invalidator invalidator;
  invalidator.Start(pipe_[1]);
  for (int round = 0; round < 300; ++round) {
    invalidator.Queue({Entry()}, Invalidator::Repeat::kNo);
    invalidator.WaitSent();
    ASSERT_TRUE(Told()) << "round " << round;
  }
  invalidator.Stop();
}

TEST_F(InvalidatorTest, NobodyWaitsBeforeTheStartOrAfterTheEnd) {
  Invalidator invalidator;
  invalidator.Queue({Entry()}, Invalidator::Repeat::kNo);
  invalidator.WaitSent();
  EXPECT_FALSE(Told());
  invalidator.Start(pipe_[1]);
  invalidator.Stop();
  invalidator.WaitSent();
}

}  // namespace
}  // namespace btfc::fs::test
