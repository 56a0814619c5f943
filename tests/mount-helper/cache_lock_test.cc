#include "mount-helper/cache_lock.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <thread>

#include "tests/support/temp_dir.h"

namespace btfc::mount_helper {
namespace {

using std::chrono::milliseconds;

class CacheLockTest : public testing::Test {
 protected:
  const test::TempDir folder_;
  const std::filesystem::path cache_ = folder_.path();
};

TEST_F(CacheLockTest, OneAtATime) {
  auto first = CacheLock::Take(cache_, "/nowhere", milliseconds(0));
  ASSERT_TRUE(std::holds_alternative<CacheLock>(first));
  const auto second = CacheLock::Take(cache_, "/nowhere", milliseconds(0));
  ASSERT_TRUE(std::holds_alternative<CacheLock::Refused>(second));
  EXPECT_NE(std::string::npos, std::get<CacheLock::Refused>(second).message.find("/nowhere"));
  first = CacheLock::Refused{};
  EXPECT_TRUE(std::holds_alternative<CacheLock>(CacheLock::Take(cache_, "/m", milliseconds(0))));
}

TEST_F(CacheLockTest, ADaemonThatIsEndingIsWaitedFor) {
  std::variant<CacheLock, CacheLock::Refused> first =
      CacheLock::Take(cache_, "/nowhere", milliseconds(0));
  std::thread ending([&] { first = CacheLock::Refused{}; });
  const auto second = CacheLock::Take(cache_, "/nowhere", std::chrono::seconds(60));
  EXPECT_TRUE(std::holds_alternative<CacheLock>(second));
  ending.join();
}

TEST_F(CacheLockTest, AMissingFolderIsNamed) {
  const auto taken = CacheLock::Take(cache_ / "missing", "/m", milliseconds(0));
  ASSERT_TRUE(std::holds_alternative<CacheLock::Refused>(taken));
  EXPECT_NE(std::string::npos, std::get<CacheLock::Refused>(taken).message.find("missing"));
}

}  // namespace
}  // namespace btfc::mount_helper
