// Reads of bytes that are still elsewhere.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>

#include "lab.h"

namespace btfc::cluster {
namespace {

constexpr std::size_t kSize = 64 << 20;

// A link on which the whole file takes far longer than the read may.
TEST(ReadsTest, AReadBlocksOnJustItsPieces) {
  BTFC_NEEDS_LAB();
  Lab lab(2);
  ASSERT_TRUE(lab.StartAll());
  lab[1].Shape("40mbit");
  const auto bytes = RandomBytes(kSize, 3);
  WriteFile(lab[0] / "big", bytes);
  struct stat status {};
  ASSERT_TRUE(Eventually([&] { return stat((lab[1] / "big").c_str(), &status) == 0; }));
  EXPECT_EQ(kSize, static_cast<std::size_t>(status.st_size));
  const int fd = open((lab[1] / "big").c_str(), O_RDONLY);
  ASSERT_GE(fd, 0);
  std::string part(10'000, '\0');
  for (const std::size_t offset :
       {kSize - part.size(), kSize / 2 + 12'345, std::size_t{1'000'000}}) {
    ASSERT_EQ(static_cast<ssize_t>(part.size()),
              pread(fd, part.data(), part.size(), static_cast<off_t>(offset)));
    EXPECT_EQ(bytes.substr(offset, part.size()), part);
  }
  EXPECT_GT(lab[1].Status()["missing_objects"], 0) << "the link was too fast to show anything";
  close(fd);
}

TEST(ReadsTest, LazyFetchesOnlyWhatIsRead) {
  BTFC_NEEDS_LAB();
  Lab lab(2);
  ASSERT_TRUE(lab[0].Start());
  lab.ShareKey(lab[1]);
  ASSERT_TRUE(lab[1].Start("lazy"));
  const auto bytes = RandomBytes(kSize, 4);
  WriteFile(lab[0] / "big", bytes);
  ASSERT_TRUE(Eventually([&] { return access((lab[1] / "big").c_str(), F_OK) == 0; }));
  const auto before = lab[1].ReceivedBytes();
  const int fd = open((lab[1] / "big").c_str(), O_RDONLY);
  ASSERT_GE(fd, 0);
  std::string part(4096, '\0');
  ASSERT_EQ(4096, pread(fd, part.data(), part.size(), 20'000'000));
  EXPECT_EQ(bytes.substr(20'000'000, 4096), part);
  EXPECT_LT(lab[1].ReceivedBytes() - before, kSize / 2);
  close(fd);
  EXPECT_TRUE(bytes == ReadFile(lab[1] / "big"));
}

TEST(ReadsTest, NobodyToDeliverIsEioAfterTheTimeout) {
  BTFC_NEEDS_LAB();
  Lab lab(2);
  ASSERT_TRUE(lab[0].Start());
  lab.ShareKey(lab[1]);
  ASSERT_TRUE(lab[1].Start("lazy,read_timeout=1s"));
  WriteFile(lab[0] / "big", RandomBytes(kSize, 4));
  ASSERT_TRUE(Eventually([&] { return access((lab[1] / "big").c_str(), F_OK) == 0; }));
  ASSERT_EQ(0, lab[0].Stop());
  const int fd = open((lab[1] / "big").c_str(), O_RDONLY);
  ASSERT_GE(fd, 0);
  std::string part(4096, '\0');
  EXPECT_EQ(-1, pread(fd, part.data(), part.size(), 0));
  EXPECT_EQ(EIO, errno);
  close(fd);
}

TEST(ReadsTest, AWaitingReadCanBeInterrupted) {
  BTFC_NEEDS_LAB();
  Lab lab(2);
  ASSERT_TRUE(lab[0].Start());
  lab.ShareKey(lab[1]);
  ASSERT_TRUE(lab[1].Start("lazy"));
  WriteFile(lab[0] / "big", RandomBytes(kSize, 4));
  ASSERT_TRUE(Eventually([&] { return access((lab[1] / "big").c_str(), F_OK) == 0; }));
  ASSERT_EQ(0, lab[0].Stop());
  for (const int number : {SIGINT, SIGKILL}) {
    Daemon reader({"head", "-c", "10", (lab[1] / "big").native()}, -1,
                  (lab[1].folder() / "reader.log").native());
    ASSERT_TRUE(Eventually([&] { return lab[1].Status()["waiting_reads"] > 0; }));
    reader.Signal(number);
    EXPECT_EQ(128 + number, reader.Wait(std::chrono::seconds(10)));
    EXPECT_TRUE(Eventually([&] { return lab[1].Status()["waiting_reads"] == 0; }));
  }
  EXPECT_EQ(0, lab[1].Stop());
}

}  // namespace
}  // namespace btfc::cluster
