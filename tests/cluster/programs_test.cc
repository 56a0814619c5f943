// mount.btfc and btfc as a person calls them.
#include <fcntl.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <ctime>

#include "one_host.h"

namespace btfc::cluster {
namespace {

class ProgramsTest : public OneHostTest {};

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
  // The kernel remembers the root now, and opens it though its daemon is dead.
  EXPECT_FALSE(std::filesystem::is_empty(Point()));
  const pid_t daemon = host().Status()["pid"].get<pid_t>();
  kill(daemon, SIGKILL);
  ASSERT_TRUE(Eventually([&] { return HasEnded(daemon); }));
  const auto again = Mount(Point().native() + " " + Cache());
  ASSERT_EQ(0, again.code) << again.output;
  EXPECT_EQ("", again.output) << "the log is not for the terminal";
  EXPECT_NE(std::string::npos, ReadFile(host().cache() / "btfc.log").find("the dead mount"));
  EXPECT_EQ("closed", ReadFile(Point() / "file"));
}

TEST_F(ProgramsTest, TheFolderThatItWasCalledInIsNotHeld) {
  const auto here = host().folder() / "here";
  ASSERT_EQ(0, mkdir(here.c_str(), 0755));
  ASSERT_EQ(0, mount("none", here.c_str(), "tmpfs", 0, nullptr));
  const auto mounted = Shell(
      "cd " + here.native() + " && mkdir point && " BTFC_MOUNT_PROGRAM " lab ../btfc " + Cache(),
      host().net());
  EXPECT_EQ(0, mounted.code) << mounted.output;
  EXPECT_TRUE(Mounted());
  EXPECT_EQ(0, umount2(here.c_str(), 0)) << std::strerror(errno);
}

TEST_F(ProgramsTest, WhatANewClusterIsIsSaidAtItsFirstMountThatWorks) {
  const auto failed = Mount(Point().native() + " " + Cache() + ",listen=192.0.2.1");
  EXPECT_EQ(32, failed.code);
  EXPECT_NE(std::string::npos, failed.output.find("192.0.2.1 port 51413")) << failed.output;
  EXPECT_FALSE(Mounted());
  const auto first = Mount(Point().native() + " " + Cache());
  EXPECT_NE(std::string::npos, first.output.find("new cluster")) << first.output;
  Unmount();
  EXPECT_EQ("", Mount(Point().native() + " " + Cache()).output);
}

// Of the codes of mount(8): 1 and 32 are all over these tests.
TEST_F(ProgramsTest, ADaemonThatDiesWithoutAWordIsAnInternalError) {
  const auto died = Shell(
      "BTFC_FAULT_POINT=index.open:1 " BTFC_MOUNT_PROGRAM " " + Point().native() + " " + Cache(),
      host().net());
  EXPECT_EQ(4, died.code);
  EXPECT_NE(std::string::npos, died.output.find("(signal 9)")) << died.output;
  EXPECT_FALSE(Mounted());
  EXPECT_EQ(0, Mount(Point().native() + " " + Cache()).code);
}

TEST_F(ProgramsTest, AnInterruptBeforeTheMountIsThereEndsIt) {
  // It waits for a daemon that is stopping.
  const int lock = open((host().cache() / "lock").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  ASSERT_EQ(0, flock(lock, LOCK_EX));
  const auto said = (host().folder() / "said").native();
  Daemon caller(
      {BTFC_MOUNT_PROGRAM, "lab", Point().native(), "-o", "cache=" + host().cache().native()},
      host().net(), said);
  const auto status = "/proc/" + std::to_string(caller.pid()) + "/status";
  const auto handles_interrupts = [&] {
    const auto text = ReadFile(status);
    const auto at = text.find("SigCgt:");
    return at != std::string::npos &&
           (std::stoull(text.substr(at + 7), nullptr, 16) & (1U << (SIGINT - 1))) != 0;
  };
  ASSERT_TRUE(Eventually(handles_interrupts));
  caller.Signal(SIGINT);
  EXPECT_EQ(8, caller.Wait(std::chrono::seconds(60)));
  EXPECT_NE(std::string::npos, ReadFile(said).find("interrupted")) << ReadFile(said);
  close(lock);
  EXPECT_FALSE(Mounted());
  EXPECT_EQ(0, Mount(Point().native() + " " + Cache()).code) << "nobody holds the cache";
}

TEST_F(ProgramsTest, AHostNameThatLeadsNowhereIsAWarning) {
  const auto mounted = Mount(Point().native() + " " + Cache() + ",peer=no-such-host.invalid");
  EXPECT_EQ(0, mounted.code) << mounted.output;
  EXPECT_TRUE(Eventually([&] {
    return Btfc("status " + Point().native()).output.find("peer=no-such-host.invalid") !=
           std::string::npos;
  }));
  EXPECT_EQ("warning", host().Status()["health"]);
  EXPECT_NE(std::string::npos,
            ReadFile(host().cache() / "btfc.log").find("peer=no-such-host.invalid: no host"));
}

TEST_F(ProgramsTest, ASymlinkToTheMountPointIsTheMountPoint) {
  const auto link = host().folder() / "link";
  std::filesystem::create_symlink(Point(), link);
  ASSERT_EQ(0, Mount("lab " + link.native() + " " + Cache()).code);
  EXPECT_TRUE(Mounted());
  EXPECT_EQ(Point().native(), host().Status()["mount_point"]);
  const auto again = Mount("lab " + link.native() + " " + Cache());
  EXPECT_EQ(32, again.code);
  EXPECT_NE(std::string::npos, again.output.find("already")) << again.output;
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
  const auto run = [&](const std::string& arguments) {
    return Shell(BTFC_PROGRAM " " + arguments);
  };
  const auto has_versions = [&](int count) {
    return Eventually([&] {
      const auto log = run("log " + (Point() / "file").native());
      return std::count(log.output.begin(), log.output.end(), '\n') == count &&
             log.output.find("current") != std::string::npos;
    });
  };
  WriteFile(Point() / "file", "one");
  EXPECT_TRUE(has_versions(1));  // a writer who comes at once would go on with the same one
  WriteFile(Point() / "file", "three");
  EXPECT_TRUE(has_versions(2));
  const auto status = run("status " + Point().native());
  EXPECT_TRUE(status.ok());
  EXPECT_NE(std::string::npos, status.output.find("everything is here")) << status.output;
  EXPECT_TRUE(run("peers " + Point().native()).ok());
  EXPECT_NE(std::string::npos, run("key " + Point().native()).output.find("cluster.key"));
  EXPECT_NE(std::string::npos, run("status /tmp").output.find("not in a mounted btfc folder"));
  EXPECT_EQ(1, run("status /tmp").code);
  EXPECT_EQ(1,
            run("join " + (host().cache() / "cluster.key").native() + " " + Point().native()).code);
  EXPECT_EQ("btfc: " + (Point() / "nonexist").native() + ": nothing is kept of it\n",
            run("log " + (Point() / "nonexist").native()).output);
  EXPECT_EQ("btfc: a/nonexist: nothing is kept of it\n",
            Shell("mkdir " + (Point() / "a").native() + "; cd " + Point().native() +
                  "; " BTFC_PROGRAM " log a/nonexist")
                .output);
  const auto wrong = run("frobnicate");
  EXPECT_EQ(1, wrong.code);
  EXPECT_NE(std::string::npos, wrong.output.find("'frobnicate'")) << wrong.output;
  EXPECT_NE(std::string::npos, wrong.output.find("status, peers, key, log")) << wrong.output;
  EXPECT_EQ(1, std::count(wrong.output.begin(), wrong.output.end(), '\n')) << wrong.output;
}

TEST_F(ProgramsTest, TheStatusNamesWhatIsOpenAndWhatIsElsewhere) {
  ASSERT_TRUE(host().Start());
  auto& other = lab().Add();
  lab().ShareKey(other);
  ASSERT_TRUE(other.Start());
  const int fd = open((host() / "held").c_str(), O_WRONLY | O_CREAT, 0644);
  ASSERT_GE(fd, 0);
  ASSERT_EQ(1, write(fd, "x", 1));
  const auto open_files = host().Status()["open_files"];
  ASSERT_EQ(1U, open_files.size());
  EXPECT_EQ("/held", open_files[0]["path"]);
  EXPECT_EQ(true, open_files[0]["open"]);
  EXPECT_GT(open_files[0]["since_ns"], (time(nullptr) - 3600) * 1'000'000'000);
  EXPECT_EQ("writing", host().Status()["health"]);
  const auto text = Btfc("status --cache " + host().cache().native()).output;
  EXPECT_NE(std::string::npos, text.find("/held  open since ")) << text;
  close(fd);
  EXPECT_TRUE(Eventually([&] { return host().Status()["health"] == "complete"; }));
  EXPECT_EQ(1, host().Status()["complete_peers"]);

  other.Shape("10mbit");
  WriteFile(host() / "large", RandomBytes(12 << 20, 5));
  EXPECT_TRUE(Eventually([&] {
    const auto status = other.Status();
    return status["coming"].size() == 1 && status["coming"][0]["path"] == "/large" &&
           status["coming"][0]["done_bytes"] > 0 && status["health"] == "receiving";
  }));
  const auto coming = Btfc("status --cache " + other.cache().native()).output;
  EXPECT_NE(std::string::npos, coming.find("/large")) << coming;
  // Here it is said what is still to go there.
  EXPECT_TRUE(Eventually([&] {
    const auto status = host().Status();
    return status["health"] == "sending" && status["complete_peers"] == 0 &&
           status["peers"][0]["missing_objects"] == 1 &&
           status["peers"][0]["missing_bytes"] == 12 << 20;
  }));
  const auto going = Btfc("status --cache " + host().cache().native()).output;
  EXPECT_NE(std::string::npos, going.find("still to go there")) << going;
  EXPECT_TRUE(Eventually([&] { return host().Status()["health"] == "complete"; },
                         std::chrono::seconds(60)));
  const auto done = Btfc("status --cache " + host().cache().native()).output;
  EXPECT_NE(std::string::npos, done.find("on the other connected host")) << done;
}

TEST_F(ProgramsTest, TheHintOfKeyWorksAsItStands) {
  const auto home = host().folder() / "home";
  ASSERT_EQ(0, mkdir(home.c_str(), 0700));
  const auto with_home = [&](const std::string& line) {
    return Shell("export HOME=" + home.native() +
                     " PATH=" + std::filesystem::path(BTFC_PROGRAM).parent_path().native() +
                     ":$PATH; cd; " + line,
                 host().net());
  };
  const auto mounted = with_home("mount.btfc films " + Point().native());
  ASSERT_EQ(0, mounted.code) << mounted.output;
  const auto told = with_home("btfc key " + Point().native()).output;
  const auto begin = told.find("ssh HOST '");
  ASSERT_NE(std::string::npos, told.find("scp")) << told;
  ASSERT_NE(std::string::npos, begin) << told;
  const auto command = told.substr(begin + 10, told.rfind('\'') - begin - 10);
  // "There": another home, in which the key has been put.
  const auto key = ReadFile(home / ".btfccache/films/cluster.key");
  ASSERT_EQ(0, umount2(Point().c_str(), 0));
  const auto there = host().folder() / "there";
  ASSERT_EQ(0, mkdir(there.c_str(), 0700));
  WriteFile(there / "cluster.key", key);
  chmod((there / "cluster.key").c_str(), 0600);
  const auto joined = with_home("export HOME=" + there.native() + "; cd; " + command);
  EXPECT_EQ(0, joined.code) << command << "\n" << joined.output;
  EXPECT_EQ(key, ReadFile(there / ".btfccache/films/cluster.key"));
  EXPECT_TRUE(Mounted());
}

}  // namespace
}  // namespace btfc::cluster
