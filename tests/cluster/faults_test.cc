// Daemons that are killed, mounts that are busy, strangers at the door.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>
#include <map>
#include <random>

#include "lab.h"

namespace btfc::cluster {
namespace {

// What was closed before the daemon was killed is there after the next mount, whole.
TEST(FaultsTest, WhatWasClosedSurvivesAKill) {
  BTFC_NEEDS_LAB();
  Lab lab(1);
  const int kRounds = std::getenv("BTFC_LONG") != nullptr ? 50 : 8;
  std::mt19937 random(1);
  std::map<std::string, std::string> closed;
  for (int round = 0; round < kRounds; ++round) {
    ASSERT_TRUE(lab[0].Start());
    const auto victim = lab[0].pid();
    const auto microseconds = std::to_string(std::uniform_int_distribution(1000, 400'000)(random));
    Daemon killer({"sh", "-c",
                   "sleep $(echo " + microseconds + " | awk '{print $1 / 1000000}'); kill -9 " +
                       std::to_string(victim)},
                  -1, (lab[0].folder() / "killer.log").native());
    for (int i = 0; i < 1000; ++i) {
      const auto name = "r" + std::to_string(round) + "-" + std::to_string(i);
      const auto bytes = RandomBytes(i % 10 == 0 ? 200'000 : 3000, round * 1000 + i);
      const int fd = open((lab[0] / name).c_str(), O_WRONLY | O_CREAT | O_EXCL, 0644);
      if (fd < 0) break;
      const auto written = write(fd, bytes.data(), bytes.size());
      if (close(fd) != 0 || written != static_cast<ssize_t>(bytes.size())) break;
      closed[name] = bytes;
    }
    killer.Wait(std::chrono::seconds(10));
    lab[0].Kill();
  }
  ASSERT_TRUE(lab[0].Start());
  EXPECT_FALSE(closed.empty());
  for (const auto& [name, bytes] : closed) ASSERT_EQ(bytes, ReadFile(lab[0] / name)) << name;
}

TEST(FaultsTest, AKillWhileFetchingLosesNothing) {
  BTFC_NEEDS_LAB();
  Lab lab(2);
  ASSERT_TRUE(lab.StartAll());
  lab[1].Shape("100mbit");
  WriteFile(lab[0] / "big", RandomBytes(30 << 20, 4));
  ASSERT_TRUE(Eventually([&] {
    const auto status = lab[1].Status();
    return !status.empty() && !status["fetching"].empty() &&
           status["fetching"][0]["done_bytes"].get<std::uint64_t>() > (4U << 20);
  }));
  lab[1].Kill();
  ASSERT_TRUE(lab[1].Start());
  EXPECT_TRUE(lab.EventuallyEqual());
}

TEST(FaultsTest, ABusyMountIsNotUnmounted) {
  BTFC_NEEDS_LAB();
  Lab lab(1);
  ASSERT_TRUE(lab[0].Start());
  const int fd = open((lab[0] / "file").c_str(), O_WRONLY | O_CREAT, 0644);
  ASSERT_GE(fd, 0);
  EXPECT_EQ(-1, lab[0].Stop());
  EXPECT_EQ(5, write(fd, "still", 5));
  close(fd);
  EXPECT_EQ(0, lab[0].Stop());
  ASSERT_TRUE(lab[0].Start());
  EXPECT_EQ("still", ReadFile(lab[0] / "file"));
}

TEST(FaultsTest, ASignalUnmounts) {
  BTFC_NEEDS_LAB();
  Lab lab(1);
  ASSERT_TRUE(lab[0].Start());
  WriteFile(lab[0] / "file", "x");
  kill(lab[0].pid(), SIGTERM);
  EXPECT_EQ(0, lab[0].WaitForEnd(std::chrono::seconds(30)));
  EXPECT_TRUE(std::filesystem::is_empty(lab[0].mount()));
}

TEST(FaultsTest, AHostWithAnotherClustersKeyGetsNothing) {
  BTFC_NEEDS_LAB();
  Lab lab(2);
  ASSERT_TRUE(lab[0].Start("peer=10.99.0.2"));
  WriteFile(lab[0] / "secret", RandomBytes(2 << 20, 9));
  // Not given the key: its own first mount makes another cluster.
  ASSERT_TRUE(lab[1].Start("peer=10.99.0.1"));
  EXPECT_TRUE(Eventually([&] { return lab[0].Status()["refused_peers"] > 0; }));
  EXPECT_TRUE(std::filesystem::is_empty(lab[1].mount()));
  EXPECT_EQ(0U, lab[1].Status()["peers"].size());
  EXPECT_EQ(0U, lab[0].Status()["peers"].size());
}

TEST(FaultsTest, RawBytesAtThePortHarmNothing) {
  BTFC_NEEDS_LAB();
  Lab lab(2);
  ASSERT_TRUE(lab.StartAll());
  const auto port = std::to_string(lab[0].Status()["port"].get<int>());
  for (int i = 0; i < 20; ++i) {
    Shell("head -c 100000 /dev/urandom | timeout 2 bash -c 'cat > /dev/tcp/10.99.0.1/" + port + "'",
          lab[1].net());
  }
  WriteFile(lab[0] / "file", "still works");
  EXPECT_TRUE(Eventually([&] { return ReadFile(lab[1] / "file") == "still works"; }));
}

TEST(FaultsTest, AFullDiskIsSaidAndHarmsNothing) {
  BTFC_NEEDS_LAB();
  Lab lab(1);
  ASSERT_TRUE(Shell("mount -t tmpfs -o size=24m,mode=700 none " + lab[0].cache().native()).ok());
  ASSERT_TRUE(lab[0].Start());
  WriteFile(lab[0] / "kept", "kept");
  const auto full =
      Shell("head -c 40000000 /dev/zero | tr '\\0' x > '" + (lab[0] / "large").native() + "'");
  EXPECT_NE(0, full.code);
  EXPECT_NE(std::string::npos, full.output.find("No space left"));
  EXPECT_EQ(0, unlink((lab[0] / "large").c_str()));
  EXPECT_TRUE(Eventually([&] {
    return Shell("head -c 2000000 /dev/zero > '" + (lab[0] / "again").native() + "'").ok();
  }));
  EXPECT_EQ("kept", ReadFile(lab[0] / "kept"));
  EXPECT_EQ(0, lab[0].Stop());
  Shell("umount " + lab[0].cache().native());
}

}  // namespace
}  // namespace btfc::cluster
