// Daemons that are killed, mounts that are busy, strangers at the door.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <iterator>
#include <map>
#include <random>
#include <thread>
#include <vector>

#include "lab.h"

namespace btfc::cluster {
namespace {

std::size_t SizeOf(unsigned file) { return file % 10 == 0 ? 200'000 : 3000; }

// Copies up to 1,000 files until the mount is gone. Those whose close() returned, with their seeds.
std::map<std::string, unsigned> CopyUntilKilled(Host& host, unsigned round) {
  std::map<std::string, unsigned> closed;
  for (unsigned i = 0; i < 1000; ++i) {
    const auto name = "r" + std::to_string(round) + "-" + std::to_string(i);
    const auto bytes = RandomBytes(SizeOf(i), round * 1000 + i);
    const int fd = open((host / name).c_str(), O_WRONLY | O_CREAT | O_EXCL, 0644);
    if (fd < 0) break;
    const auto written = write(fd, bytes.data(), bytes.size());
    if (close(fd) != 0 || written != static_cast<ssize_t>(bytes.size())) break;
    closed[name] = i;
  }
  return closed;
}

// What was closed before the daemon was killed is there after the next mount, whole; in each round
// the last copies, whose commits were under way, and in the end all of them again.
TEST(FaultsTest, WhatWasClosedSurvivesAKill) {
  BTFC_NEEDS_LAB();
  Lab lab(1);
  const unsigned rounds = std::getenv("BTFC_LONG") != nullptr ? 500 : 50;
  std::mt19937 random(1);
  std::vector<std::map<std::string, unsigned>> closed;
  const auto expect_whole = [&](unsigned round) {
    for (const auto& [name, i] : closed[round]) {
      const auto bytes = RandomBytes(SizeOf(i), round * 1000 + i);
      ASSERT_TRUE(bytes == ReadFile(lab[0] / name)) << name;
    }
  };
  std::size_t files = 0;
  ASSERT_TRUE(lab[0].Start());
  for (unsigned round = 0; round < rounds; ++round) {
    const std::chrono::microseconds moment(std::uniform_int_distribution(500, 150'000)(random));
    std::thread killer([victim = lab[0].pid(), moment] {
      std::this_thread::sleep_for(moment);  // at no particular moment of the copy
      kill(victim, SIGKILL);
    });
    closed.push_back(CopyUntilKilled(lab[0], round));
    killer.join();
    files += closed.back().size();
    lab[0].Kill();
    ASSERT_TRUE(lab[0].Start());
    ASSERT_NO_FATAL_FAILURE(expect_whole(round)) << "round " << round;
  }
  EXPECT_GT(files, rounds) << "the kills came before anything was copied";
  for (unsigned round = 0; round < rounds; ++round) {
    ASSERT_NO_FATAL_FAILURE(expect_whole(round)) << "round " << round;
  }
  // Nor is anything there that nobody made: at most the one file that was being written.
  const auto entries = std::distance(std::filesystem::directory_iterator(lab[0].mount()),
                                     std::filesystem::directory_iterator());
  EXPECT_LE(static_cast<std::size_t>(entries), files + rounds);
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

TEST(FaultsTest, AnInvitedHostReadsEverythingAndWritesNothing) {
  BTFC_NEEDS_LAB();
  Lab lab(2);
  ASSERT_TRUE(lab[0].Start());
  WriteFile(lab[0] / "small", "for readers");
  WriteFile(lab[0] / "large", RandomBytes(3 << 20, 9));
  const auto key = lab[1].cache() / "cluster.key";
  const auto invited = Shell(std::string(BTFC_PROGRAM) + " invite --read-only --to " +
                             key.native() + " --cache " + lab[0].cache().native());
  ASSERT_EQ(0, invited.code) << invited.output;
  ASSERT_TRUE(lab[1].Start());
  ASSERT_TRUE(Eventually([&] { return lab[1].Connected(); }));
  EXPECT_TRUE(Eventually([&] { return ReadFile(lab[1] / "small") == "for readers"; }));
  EXPECT_TRUE(Eventually([&] { return ReadFile(lab[1] / "large") == RandomBytes(3 << 20, 9); }));
  EXPECT_EQ(-1, open((lab[1] / "new").c_str(), O_WRONLY | O_CREAT, 0644));
  EXPECT_EQ(EROFS, errno);
  EXPECT_EQ(1, Shell(std::string(BTFC_PROGRAM) + " invite --read-only --to " +
                     (lab[1].folder() / "more").native() + " --cache " + lab[1].cache().native())
                   .code);
  // A third host gets a content from the invited one.
  WriteFile(lab[0] / "later", RandomBytes(2 << 20, 10));
  ASSERT_TRUE(Eventually([&] {
    return lab[1].Status()["missing_objects"] == 0 &&
           ReadFile(lab[1] / "later") == RandomBytes(2 << 20, 10);
  }));
  auto& third = lab.Add();
  lab.ShareKey(third);
  ASSERT_TRUE(third.Start("lazy"));
  ASSERT_TRUE(Eventually([&] { return third.Connected(2); }));
  ASSERT_TRUE(Eventually([&] { return access((third / "later").c_str(), F_OK) == 0; }));
  ASSERT_EQ(0, lab[0].Stop());
  EXPECT_EQ(RandomBytes(2 << 20, 10), ReadFile(third / "later"));
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

// Who waits for a large file that is made ready to be written may be interrupted at any moment;
// the file is nobody's hostage afterwards.
TEST(FaultsTest, InterruptedCallsLeaveNothingBehind) {
  BTFC_NEEDS_LAB();
  Lab lab(2);
  ASSERT_TRUE(lab.StartAll());
  constexpr int kFiles = 4;
  const unsigned rounds = std::getenv("BTFC_LONG") != nullptr ? 1000 : 60;
  const auto path = [&](int i) { return (lab[0] / ("f" + std::to_string(i))).native(); };
  for (int i = 0; i < kFiles; ++i) WriteFile(path(i), RandomBytes(1'500'000, i));
  struct sigaction action {};
  action.sa_handler = [](int) {};  // without SA_RESTART
  struct sigaction former {};
  ASSERT_EQ(0, sigaction(SIGUSR1, &action, &former));
  std::mt19937 random(3);
  unsigned interrupted = 0;
  for (unsigned round = 0; round < rounds; ++round) {
    std::atomic<bool> done = false;
    std::thread writer([&] {
      const auto file = path(static_cast<int>(round % kFiles));
      long result = 0;
      if (round % 3 == 0) {
        result = truncate(file.c_str(), 1'400'000 + round);
      } else {
        result = open(file.c_str(), O_RDWR | O_CLOEXEC);
        if (result >= 0) {
          EXPECT_EQ(6, pwrite(static_cast<int>(result), "change", 6, round));
          close(static_cast<int>(result));
        }
      }
      if (result < 0) {
        EXPECT_EQ(EINTR, errno);
        ++interrupted;
      }
      done = true;
    });
    while (!done) {
      pthread_kill(writer.native_handle(), SIGUSR1);
      std::this_thread::sleep_for(  // at no particular moment
          std::chrono::microseconds(std::uniform_int_distribution(50, 3000)(random)));
    }
    writer.join();
  }
  sigaction(SIGUSR1, &former, nullptr);
  EXPECT_GT(interrupted, 0U) << "nothing waited";
  EXPECT_TRUE(lab.EventuallyEqual(std::chrono::seconds(150)));  // files rest for up to a minute
  for (int i = 0; i < kFiles; ++i) WriteFile(path(i), "free");
  EXPECT_TRUE(lab.EventuallyEqual(std::chrono::seconds(150)));
}

// A version that cannot be told to others yet is named, with the reason, until it is.
TEST(FaultsTest, CommitsThatFailAreNamed) {
  BTFC_NEEDS_LAB();
  Lab lab(1);
  auto& host = lab[0];
  ASSERT_TRUE(Shell("mount -t tmpfs -o size=48m,mode=700 none " + host.cache().native()).ok());
  ASSERT_TRUE(host.Start());
  std::vector<int> open_files;
  for (unsigned i = 0; i < 200; ++i) {
    const auto name = (host / ("f" + std::to_string(i))).native();
    open_files.push_back(open(name.c_str(), O_WRONLY | O_CREAT, 0644));
    const auto bytes = RandomBytes(16'000, i);
    ASSERT_EQ(16'000, write(open_files.back(), bytes.data(), bytes.size()));
  }
  Shell("head -c 100000000 /dev/zero > " + (host.cache() / "ballast").native());
  for (const int fd : open_files) EXPECT_EQ(0, close(fd));
  EXPECT_TRUE(Eventually([&] { return !host.Status()["failing"].empty(); }));
  const auto status = host.Status();
  EXPECT_EQ("warning", status["health"]);
  ASSERT_FALSE(status["failing"].empty());
  EXPECT_EQ(0U, status["failing"][0]["path"].get<std::string>().find("/f"));
  EXPECT_EQ("No space left on device", status["failing"][0]["reason"]);
  const auto text = Shell(BTFC_PROGRAM " status " + host.mount().native()).output;
  EXPECT_NE(std::string::npos, text.find("cannot be committed: No space left")) << text;
  std::filesystem::remove(host.cache() / "ballast");
  EXPECT_TRUE(Eventually([&] { return host.Status()["failing"].empty() && host.Complete(); },
                         std::chrono::seconds(120)));
  for (unsigned i = 0; i < 200; ++i) {
    EXPECT_EQ(RandomBytes(16'000, i), ReadFile(host / ("f" + std::to_string(i))));
  }
  EXPECT_EQ(0, host.Stop());
  Shell("umount " + host.cache().native());
}

// The mirror leaves the last of the disk alone; what somebody reads still comes.
TEST(FaultsTest, ANearlyFullDiskIsNotFilledByTheMirror) {
  BTFC_NEEDS_LAB();
  Lab lab(2);
  ASSERT_TRUE(lab[0].Start());
  WriteFile(lab[0] / "a", RandomBytes(12 << 20, 1));
  WriteFile(lab[0] / "b", RandomBytes(12 << 20, 2));
  ASSERT_TRUE(Shell("mount -t tmpfs -o size=40m,mode=700 none " + lab[1].cache().native()).ok());
  ASSERT_TRUE(Shell("head -c 8000000 /dev/zero > " + (lab[1].cache() / "ballast").native()).ok());
  lab.ShareKey(lab[1]);
  ASSERT_TRUE(lab[1].Start());
  // One of the two fits beside the index and its reserve.
  EXPECT_TRUE(Eventually([&] {
    const auto status = lab[1].Status();
    return !status.empty() && status["missing_objects"] == 1 && status["fetching"].empty() &&
           status["warnings"].dump().find("too full") != std::string::npos;
  })) << lab[1].Status().dump(1);
  EXPECT_NE(std::string::npos, lab[1].Log().find("too full"));
  WriteFile(lab[1] / "own", "there is room for this");
  // With room again it goes on by itself.
  std::filesystem::remove(lab[1].cache() / "ballast");
  EXPECT_TRUE(lab.EventuallyEqual());
  EXPECT_EQ(0, lab[1].Stop());
  Shell("umount " + lab[1].cache().native());
}

}  // namespace
}  // namespace btfc::cluster
