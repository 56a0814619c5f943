// The main job: what is closed on one host is there on the others.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "lab.h"

namespace btfc::cluster {
namespace {

TEST(BasicsTest, AFileWrittenHereIsReadableThere) {
  BTFC_NEEDS_LAB();
  Lab lab(2);
  ASSERT_TRUE(lab.StartAll());
  WriteFile(lab[0] / "hello", "good morning\n");
  EXPECT_TRUE(Eventually([&] { return ReadFile(lab[1] / "hello") == "good morning\n"; }));
  WriteFile(lab[1] / "hello", "good evening\n");
  EXPECT_TRUE(Eventually([&] { return ReadFile(lab[0] / "hello") == "good evening\n"; }));
  EXPECT_TRUE(lab.EventuallyEqual());
}

TEST(BasicsTest, EverySizeArrives) {
  BTFC_NEEDS_LAB();
  Lab lab(2);
  ASSERT_TRUE(lab.StartAll());
  for (const std::size_t size : {0UL, 1UL, 16383UL, 16384UL, 16385UL, 65536UL, 300'000UL,
                                 1'048'576UL, 1'048'577UL, 9'000'001UL}) {
    WriteFile(lab[0] / ("file" + std::to_string(size)), RandomBytes(size, 7));
  }
  EXPECT_TRUE(lab.EventuallyEqual());
  EXPECT_EQ(RandomBytes(9'000'001, 7), ReadFile(lab[1] / "file9000001"));
}

TEST(BasicsTest, ABigFile) {
  BTFC_NEEDS_LAB();
  Lab lab(2);
  ASSERT_TRUE(lab.StartAll());
  WriteFile(lab[0] / "big", RandomBytes(256 << 20, 3));
  EXPECT_TRUE(lab.EventuallyEqual(std::chrono::seconds(120)));
}

TEST(BasicsTest, ManySmallFiles) {
  BTFC_NEEDS_LAB();
  Lab lab(3);
  ASSERT_TRUE(lab.StartAll());
  for (int folder = 0; folder < 20; ++folder) {
    const auto name = "d" + std::to_string(folder);
    ASSERT_EQ(0, mkdir((lab[0] / name).c_str(), 0755));
    for (int i = 0; i < 100; ++i) {
      WriteFile(lab[0] / (name + "/f" + std::to_string(i)), RandomBytes(4096, folder * 100 + i));
    }
  }
  EXPECT_TRUE(lab.EventuallyEqual());
}

TEST(BasicsTest, NamesAttributesAndLinksTravel) {
  BTFC_NEEDS_LAB();
  Lab lab(2);
  ASSERT_TRUE(lab.StartAll());
  const auto& a = lab[0];
  const auto& b = lab[1];
  ASSERT_EQ(0, mkdir((a / "folder").c_str(), 0750));
  WriteFile(a / "folder/file", "text");
  ASSERT_EQ(0, link((a / "folder/file").c_str(), (a / "second name").c_str()));
  ASSERT_EQ(0, symlink("folder/file", (a / "symlink").c_str()));
  ASSERT_EQ(0, chmod((a / "folder/file").c_str(), 04711));
  ASSERT_EQ(0, mkfifo((a / "fifo").c_str(), 0600));
  ASSERT_EQ(0, setxattr((a / "folder/file").c_str(), "user.colour", "green", 5, 0));
  const timespec times[2] = {{1'000'000'000, 1}, {1'100'000'000, 123'456'789}};
  ASSERT_EQ(0, utimensat(AT_FDCWD, (a / "folder/file").c_str(), times, 0));
  EXPECT_TRUE(lab.EventuallyEqual());

  struct stat status {};
  ASSERT_EQ(0, stat((b / "second name").c_str(), &status));
  EXPECT_EQ(2U, status.st_nlink);
  EXPECT_EQ(04711U, status.st_mode & 07777U);
  EXPECT_TRUE(Eventually([&] {
    return stat((b / "folder/file").c_str(), &status) == 0 && status.st_mtim.tv_nsec == 123'456'789;
  }));
  std::array<char, 16> value{};
  EXPECT_EQ(5, getxattr((b / "second name").c_str(), "user.colour", value.data(), value.size()));

  ASSERT_EQ(0, rename((a / "folder").c_str(), (a / "renamed").c_str()));
  ASSERT_EQ(0, unlink((a / "second name").c_str()));
  ASSERT_EQ(0, unlink((a / "fifo").c_str()));
  EXPECT_TRUE(Eventually([&] { return access((b / "fifo").c_str(), F_OK) != 0; }));
  EXPECT_TRUE(lab.EventuallyEqual());
  EXPECT_EQ("text", ReadFile(b / "renamed/file"));
  EXPECT_NE(0, access((b / "folder").c_str(), F_OK));
}

TEST(BasicsTest, ALateJoinerGetsEverything) {
  BTFC_NEEDS_LAB();
  Lab lab(2);
  ASSERT_TRUE(lab.StartAll());
  for (int i = 0; i < 50; ++i)
    WriteFile(lab[0] / ("f" + std::to_string(i)), RandomBytes(i * 1000, i));
  WriteFile(lab[1] / "large", RandomBytes(20 << 20, 5));
  ASSERT_TRUE(lab.EventuallyEqual());
  auto& late = lab.Add();
  lab.ShareKey(late);
  ASSERT_TRUE(late.Start());
  EXPECT_TRUE(Eventually([&] { return late.Connected(2); }));
  EXPECT_TRUE(lab.EventuallyEqual());
}

TEST(BasicsTest, ARestartKeepsEverything) {
  BTFC_NEEDS_LAB();
  Lab lab(2);
  ASSERT_TRUE(lab.StartAll());
  WriteFile(lab[0] / "small", "small");
  WriteFile(lab[0] / "large", RandomBytes(3 << 20, 5));
  ASSERT_TRUE(lab.EventuallyEqual());
  const auto before = Describe(lab[1].mount());
  EXPECT_EQ(0, lab[1].Stop());
  WriteFile(lab[0] / "meanwhile", "written while the other was away");
  ASSERT_EQ(0, unlink((lab[0] / "small").c_str()));
  ASSERT_TRUE(lab[1].Start());
  EXPECT_TRUE(Eventually([&] { return lab[1].Connected(); }));
  EXPECT_TRUE(lab.EventuallyEqual());
  EXPECT_EQ("written while the other was away", ReadFile(lab[1] / "meanwhile"));
}

}  // namespace
}  // namespace btfc::cluster
