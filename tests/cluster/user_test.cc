// The whole daemon as an ordinary user, through fusermount3; and users beside each other.
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <csignal>
#include <cstring>

#include "one_host.h"

namespace btfc::cluster {
namespace {

// Users with a name: fusermount3 wants one.
constexpr uid_t kUser = 65534;  // nobody
constexpr uid_t kOther = 1;     // daemon

std::string As(uid_t user, const std::string& command) {
  const auto id = std::to_string(user);
  return "setpriv --reuid " + id + " --regid " + id + " --clear-groups -- " + command;
}

class UserTest : public OneHostTest {
 protected:
  void SetUp() override {
    BTFC_NEEDS(access("/usr/bin/fusermount3", X_OK) == 0, "there is no fusermount3");
    OneHostTest::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    // Hosts where it is root's alone are rare, machines for tests are not. For this process only.
    const auto device = host().folder() / "fuse";
    ASSERT_EQ(0, mknod(device.c_str(), S_IFCHR | 0666, makedev(10, 229)));
    ASSERT_EQ(0, chmod(device.c_str(), 0666));
    ASSERT_EQ(0, mount(device.c_str(), "/dev/fuse", nullptr, MS_BIND, nullptr));
    // The checkout may be in a folder that is closed to others.
    for (const char* program : {BTFC_MOUNT_PROGRAM, BTFC_PROGRAM}) {
      const auto seen = Programs() / std::filesystem::path(program).filename();
      std::filesystem::create_directories(Programs());
      WriteFile(seen, "");
      chmod(seen.c_str(), 0755);
      ASSERT_EQ(0, mount(program, seen.c_str(), nullptr, MS_BIND, nullptr));
    }
    for (const auto& folder : {host().folder(), host().mount(), host().cache()}) {
      ASSERT_EQ(0, chown(folder.c_str(), kUser, kUser));
    }
  }
  void TearDown() override {
    OneHostTest::TearDown();
    umount2("/dev/fuse", MNT_DETACH);
    if (!HasLab()) return;
    for (const char* name : {"mount.btfc", "btfc"})
      umount2((Programs() / name).c_str(), MNT_DETACH);
  }
  std::filesystem::path Programs() { return host().folder() / "bin"; }
  Finished Run(uid_t user, const std::string& script) {
    return Shell(As(user, "env HOME=" + host().folder().native() + " PATH=" + Programs().native() +
                              ":$PATH sh -c \"" + script + "\""),
                 host().net());
  }
  Finished MountAsUser(const std::string& options = "") {
    return Run(kUser, "mount.btfc lab " + Point().native() + " " + Cache() + options);
  }
};

TEST_F(UserTest, AnOrdinaryUsersFolderIsTheSameElsewhere) {
  const auto mounted = MountAsUser();
  ASSERT_EQ(0, mounted.code) << mounted.output;
  auto& root = lab().Add();
  lab().ShareKey(root);
  ASSERT_TRUE(root.Start());
  ASSERT_TRUE(Eventually([&] { return root.Connected(); }));

  // Others, root too, are kept out by the kernel.
  EXPECT_NE(0, Run(kOther, "ls " + Point().native()).code);
  EXPECT_EQ(0, Run(kUser, "cd " + Point().native() +
                              " && mkdir d && echo hello > d/f && ln d/f g && chmod 640 d/f && "
                              "head -c 3000000 /dev/urandom > large && sha256sum large > sum && "
                              "setfattr -n user.a -v b d/f")
                   .code);
  EXPECT_TRUE(Eventually([&] { return ReadFile(root / "d/f") == "hello\n"; }));
  EXPECT_TRUE(Eventually(
      [&] { return Shell("cd " + root.mount().native() + " && sha256sum -c sum").ok(); }));
  struct stat status {};
  ASSERT_EQ(0, stat((root / "d/f").c_str(), &status));
  EXPECT_EQ(0640U, status.st_mode & 07777U);
  EXPECT_EQ(0U, status.st_uid) << "who mounts there is who mounts here";
  WriteFile(root / "d/back", "from root");
  EXPECT_TRUE(Eventually(
      [&] { return Run(kUser, "cat " + (Point() / "d/back").native()).output == "from root"; }));
  EXPECT_EQ(std::to_string(kUser) + "\n",
            Run(kUser, "stat -c %u " + (Point() / "d/back").native()).output);

  const auto told = Run(kUser, "btfc status " + Point().native());
  EXPECT_EQ(0, told.code) << told.output;
  EXPECT_NE(std::string::npos, told.output.find("lab on " + Point().native())) << told.output;
  EXPECT_EQ(0, Run(kUser, "cd " + Point().native() + " && btfc log d/f").code);
  EXPECT_NE(0, Run(kOther, "btfc status --cache " + host().cache().native()).code);

  const pid_t daemon = DaemonPid();
  const auto unmounted = Run(kUser, "fusermount3 -u " + Point().native());
  EXPECT_EQ(0, unmounted.code) << unmounted.output;
  EXPECT_TRUE(Eventually([&] { return HasEnded(daemon); }));
  EXPECT_FALSE(Mounted());
  ASSERT_EQ(0, MountAsUser().code);
  EXPECT_EQ("hello\n", Run(kUser, "cat " + (Point() / "g").native()).output);
}

TEST_F(UserTest, ASignalEndsAnOrdinaryUsersMount) {
  ASSERT_EQ(0, MountAsUser().code);
  const pid_t daemon = DaemonPid();
  ASSERT_EQ(0, kill(daemon, SIGTERM));
  EXPECT_TRUE(Eventually([&] { return HasEnded(daemon); }));
  EXPECT_FALSE(Mounted());
}

TEST_F(UserTest, AKeyThatCannotBeReadIsNamed) {
  ASSERT_EQ(0, MountAsUser().code);
  const pid_t daemon = DaemonPid();
  ASSERT_EQ(0, Run(kUser, "fusermount3 -u " + Point().native()).code);
  ASSERT_TRUE(Eventually([&] { return HasEnded(daemon); }));
  ASSERT_EQ(0, chown((host().cache() / "cluster.key").c_str(), 0, 0));
  const auto refused = MountAsUser();
  EXPECT_EQ(32, refused.code) << refused.output;
  EXPECT_NE(std::string::npos, refused.output.find("cluster.key")) << refused.output;
  EXPECT_NE(std::string::npos, refused.output.find("Permission denied")) << refused.output;
}

TEST_F(UserTest, AFileThatCannotBeReadIsNamedAndTheRestIsTakenIn) {
  for (const char* name : {"before", "closed", "later"}) {
    WriteFile(Point() / name, name);
    ASSERT_EQ(0, chown((Point() / name).c_str(), kUser, kUser));
  }
  ASSERT_EQ(0, chown((Point() / "closed").c_str(), 0, 0));
  ASSERT_EQ(0, chmod((Point() / "closed").c_str(), 0600));
  ASSERT_EQ(0, MountAsUser().code);
  const auto told = [&] { return Run(kUser, "btfc status " + Point().native()).output; };
  EXPECT_TRUE(Eventually([&] {
    return told().find("import    done: 2 files") != std::string::npos;
  })) << told();
  EXPECT_NE(std::string::npos,
            told().find("1 could not be taken in: closed (Permission denied); `btfc import`"));
  EXPECT_EQ("warning", host().Status()["health"]);
  EXPECT_EQ("before", Run(kUser, "cat " + (Point() / "before").native()).output);
  EXPECT_EQ("later", Run(kUser, "cat " + (Point() / "later").native()).output);
  EXPECT_NE(0, Run(kUser, "ls " + (Point() / "closed").native()).code);
}

TEST_F(UserTest, WithoutASecondProcessItIsASystemError) {
  // AddressSanitizer's look for leaks at the end would need one, too.
  const auto refused =
      Run(kUser, "ASAN_OPTIONS=$ASAN_OPTIONS:detect_leaks=0 prlimit --nproc=1 mount.btfc lab " +
                     Point().native() + " " + Cache());
  EXPECT_EQ(2, refused.code) << refused.output;
  EXPECT_NE(std::string::npos, refused.output.find("no second process")) << refused.output;
}

TEST_F(UserTest, WhatFusermountDoesNotKnowIsRefused) {
  const auto refused = MountAsUser(",nosymfollow");
  EXPECT_EQ(32, refused.code) << refused.output;
  EXPECT_NE(std::string::npos, refused.output.find("nosymfollow")) << refused.output;
  EXPECT_FALSE(Mounted());
}

TEST_F(UserTest, AMountPointOfSomebodyElseIsRefused) {
  ASSERT_EQ(0, chown(Point().c_str(), 0, 0));
  const auto refused = MountAsUser();
  EXPECT_EQ(32, refused.code) << refused.output;
  EXPECT_NE(std::string::npos, refused.output.find(Point().native())) << refused.output;
  EXPECT_FALSE(Mounted());
}

TEST_F(UserTest, AllowOtherLetsOthersInWithTheirOwnRights) {
  ASSERT_EQ(0, Mount("lab " + Point().native() + " " + Cache() + ",allow_other").code);
  ASSERT_EQ(0, chmod(Point().c_str(), 0755));
  WriteFile(Point() / "open", "for all");
  WriteFile(Point() / "closed", "for root");
  chmod((Point() / "closed").c_str(), 0600);
  ASSERT_EQ(0, mkdir((Point() / "theirs").c_str(), 0700));
  ASSERT_EQ(0, chown((Point() / "theirs").c_str(), kOther, kOther));
  EXPECT_EQ("for all", Run(kOther, "cat " + (Point() / "open").native()).output);
  EXPECT_NE(0, Run(kOther, "cat " + (Point() / "closed").native()).code);
  EXPECT_NE(0, Run(kOther, "echo x > " + (Point() / "new").native()).code);
  EXPECT_EQ(0, Run(kOther, "echo x > " + (Point() / "theirs/new").native()).code);
  EXPECT_NE(0, Run(kUser, "ls " + (Point() / "theirs").native()).code);
  struct stat status {};
  ASSERT_EQ(0, stat((Point() / "theirs/new").c_str(), &status));
  EXPECT_EQ(kOther, status.st_uid);
}

TEST_F(UserTest, WithoutAllowOtherRootsMountIsRootsAlone) {
  ASSERT_EQ(0, Mount("lab " + Point().native() + " " + Cache()).code);
  WriteFile(Point() / "file", "for root");
  EXPECT_NE(0, Run(kOther, "cat " + (Point() / "file").native()).code);
}

}  // namespace
}  // namespace btfc::cluster
