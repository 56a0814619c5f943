// mount.btfc and btfc as a person calls them.
#include <gtest/gtest.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>

#include "lab.h"

namespace btfc::cluster {
namespace {

class ProgramsTest : public testing::Test {
 protected:
  void SetUp() override {
    BTFC_NEEDS_LAB();
    lab_ = std::make_unique<Lab>(1);
  }
  void TearDown() override {
    if (!lab_) return;
    umount2(Point().c_str(), MNT_DETACH);
  }
  Host& host() { return (*lab_)[0]; }
  std::filesystem::path Point() { return host().mount(); }
  Finished Mount(const std::string& arguments) {
    return Shell(BTFC_MOUNT_PROGRAM " " + arguments, host().net());
  }
  std::string Cache() { return "-o cache=" + host().cache().native(); }
  bool Mounted() {
    return Shell("grep -q ' " + Point().native() + " fuse.btfc' /proc/self/mounts").ok();
  }

  std::unique_ptr<Lab> lab_;
};

TEST_F(ProgramsTest, MountsInTheBackgroundAndEndsWithUmount) {
  const auto mounted = Mount("lab " + Point().native() + " " + Cache() + ",_netdev,nofail,rw");
  ASSERT_EQ(0, mounted.code) << mounted.output;
  EXPECT_NE(std::string::npos, mounted.output.find("new cluster")) << mounted.output;
  EXPECT_TRUE(Mounted());
  WriteFile(Point() / "file", "x");
  const auto status = host().Status();
  EXPECT_EQ("lab", status["cluster"]);
  const pid_t daemon = status["pid"].get<pid_t>();
  ASSERT_EQ(0, umount2(Point().c_str(), 0));
  EXPECT_TRUE(Eventually([&] { return HasEnded(daemon); }));
  const auto again = Mount("lab " + Point().native() + " " + Cache());
  ASSERT_EQ(0, again.code) << again.output;
  EXPECT_EQ("x", ReadFile(Point() / "file"));
}

TEST_F(ProgramsTest, UmountAndMountAtOnce) {
  for (int i = 0; i < 5; ++i) {
    const auto mounted = Mount(Point().native() + " " + Cache());
    ASSERT_EQ(0, mounted.code) << mounted.output;
    WriteFile(Point() / std::to_string(i), RandomBytes(100'000, i));
    ASSERT_EQ(0, umount2(Point().c_str(), 0));
  }
}

TEST_F(ProgramsTest, ASecondMountOfTheCacheIsRefused) {
  ASSERT_EQ(0, Mount(Point().native() + " " + Cache()).code);
  const auto second = host().folder() / "second";
  ASSERT_EQ(0, mkdir(second.c_str(), 0755));
  const auto refused = Mount(second.native() + " " + Cache());
  EXPECT_EQ(32, refused.code);
  EXPECT_NE(std::string::npos, refused.output.find("mounted at " + Point().native()))
      << refused.output;
}

TEST_F(ProgramsTest, NoMountOverAMount) {
  ASSERT_EQ(0, Mount(Point().native() + " " + Cache()).code);
  const auto other = host().folder() / "other cache";
  const auto refused = Mount("other " + Point().native() + " -o 'cache=" + other.native() + "'");
  EXPECT_EQ(32, refused.code);
  EXPECT_NE(std::string::npos, refused.output.find("mounted btfc folder")) << refused.output;
  EXPECT_FALSE(std::filesystem::exists(other));
}

TEST_F(ProgramsTest, AMountReplacesTheDeadOneOfAKilledDaemon) {
  ASSERT_EQ(0, Mount(Point().native() + " " + Cache()).code);
  WriteFile(Point() / "file", "closed");
  const pid_t daemon = host().Status()["pid"].get<pid_t>();
  kill(daemon, SIGKILL);
  ASSERT_TRUE(Eventually([&] { return HasEnded(daemon); }));
  const auto again = Mount(Point().native() + " " + Cache());
  ASSERT_EQ(0, again.code) << again.output;
  EXPECT_EQ("closed", ReadFile(Point() / "file"));
}

TEST_F(ProgramsTest, WrongCallsAreNamedAndMountNothing) {
  const auto Expect = [&](const std::string& arguments, int code, const std::string& words) {
    const auto refused = Mount(arguments);
    EXPECT_EQ(code, refused.code) << arguments << ": " << refused.output;
    EXPECT_NE(std::string::npos, refused.output.find(words)) << refused.output;
    EXPECT_EQ(1, std::count(refused.output.begin(), refused.output.end(), '\n')) << refused.output;
    EXPECT_FALSE(Mounted());
  };
  const auto point = Point().native();
  Expect(point + " -o nonsense", 1, "'nonsense'");
  Expect(point + " -o port=abc", 1, "'abc'");
  Expect(point + "/missing " + Cache(), 1, "does not exist");
  WriteFile(host().folder() / "file", "");
  Expect((host().folder() / "file").native() + " " + Cache(), 1, "not a folder");
  WriteFile(host().cache() / "cluster.key", "this is no key");
  chmod((host().cache() / "cluster.key").c_str(), 0600);
  Expect(point + " " + Cache(), 32, "cluster.key");
  chmod((host().cache() / "cluster.key").c_str(), 0644);
  Expect(point + " " + Cache(), 32, "600");
}

TEST_F(ProgramsTest, ADamagedIndexIsNotTouched) {
  ASSERT_EQ(0, Mount(Point().native() + " " + Cache()).code);
  WriteFile(Point() / "file", "x");
  const pid_t daemon = host().Status()["pid"].get<pid_t>();
  ASSERT_EQ(0, umount2(Point().c_str(), 0));
  ASSERT_TRUE(Eventually([&] { return HasEnded(daemon); }));
  const auto index = host().cache() / "index.db";
  const std::string damaged = "damaged" + ReadFile(index).substr(7);
  WriteFile(index, damaged);
  const auto refused = Mount(Point().native() + " " + Cache());
  EXPECT_EQ(32, refused.code);
  EXPECT_NE(std::string::npos, refused.output.find("index.db")) << refused.output;
  EXPECT_EQ(damaged, ReadFile(index));
  EXPECT_FALSE(Mounted());
}

TEST_F(ProgramsTest, ABusyPortIsLeftToWhoHasIt) {
  const int other = host().Listen(51413);
  ASSERT_GE(other, 0);
  const auto mounted = Mount(Point().native() + " " + Cache());
  ASSERT_EQ(0, mounted.code) << mounted.output;
  EXPECT_NE(std::string::npos, mounted.output.find("51413")) << mounted.output;
  EXPECT_NE(51413, host().Status()["port"]);
  close(other);
}

TEST_F(ProgramsTest, TheCliExplainsItself) {
  ASSERT_EQ(0, Mount("lab " + Point().native() + " " + Cache()).code);
  WriteFile(Point() / "file", "one");
  WriteFile(Point() / "file", "three");
  const auto run = [&](const std::string& arguments) {
    return Shell(BTFC_PROGRAM " " + arguments);
  };
  EXPECT_TRUE(Eventually([&] {
    const auto log = run("log " + (Point() / "file").native());
    return std::count(log.output.begin(), log.output.end(), '\n') == 2 &&
           log.output.find("current") != std::string::npos;
  }));
  const auto status = run("status " + Point().native());
  EXPECT_TRUE(status.ok());
  EXPECT_NE(std::string::npos, status.output.find("everything is here")) << status.output;
  EXPECT_TRUE(run("peers " + Point().native()).ok());
  EXPECT_NE(std::string::npos, run("key " + Point().native()).output.find("cluster.key"));
  EXPECT_NE(std::string::npos, run("status /tmp").output.find("not in a mounted btfc folder"));
  EXPECT_EQ(1, run("status /tmp").code);
  EXPECT_EQ(1,
            run("join " + (host().cache() / "cluster.key").native() + " " + Point().native()).code);
  const auto wrong = run("frobnicate");
  EXPECT_EQ(1, wrong.code);
  EXPECT_EQ(1, std::count(wrong.output.begin(), wrong.output.end(), '\n')) << wrong.output;
}

TEST_F(ProgramsTest, TheFirstMountTakesInWhatWasThere) {
  const auto source = Point();
  ASSERT_TRUE(
      Shell("cd " + source.native() +
            " && mkdir -p a/b && echo one > a/one && ln a/one a/b/hard && ln -s one a/soft && "
            "head -c 3000000 /dev/urandom > a/b/large && chmod 600 a/one")
          .ok());
  const auto before = Describe(source);
  ASSERT_EQ(0, Mount(Point().native() + " " + Cache()).code);
  EXPECT_TRUE(Eventually([&] { return Describe(Point()) == before; }))
      << before << Describe(Point());
}

}  // namespace
}  // namespace btfc::cluster
