// mount(8), fstab, options of the mount, and exit codes.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>
#include <map>

#include "one_host.h"

namespace btfc::cluster {
namespace {

class MountingTest : public OneHostTest {
 protected:
  // mount(8) finds the helper in /sbin: of this process's mount namespace only, where /sbin is
  // covered by a folder of links to what was there, and one more.
  void InstallHelper() {
    const auto folder = host().folder().native();
    const auto installed =
        Shell("set -e; cd " + folder +
              "; sbin=$(realpath /sbin); mkdir old new; mount --bind $sbin old; "
              "for f in old/*; do ln -s " +
              folder +
              "/$f new/; done; "
              "ln -sf " BTFC_MOUNT_PROGRAM " new/mount.btfc; mount --bind new $sbin");
    ASSERT_TRUE(installed.ok()) << installed.output;
    installed_ = true;
  }
  void TearDown() override {
    OneHostTest::TearDown();
    if (!installed_) return;
    Shell("umount $(realpath /sbin); umount " + (host().folder() / "old").native());
  }
  Finished Run(const std::string& line) { return Shell(line, host().net()); }

 private:
  bool installed_ = false;
};

TEST_F(MountingTest, AnFstabLine) {
  InstallHelper();
  const auto fstab = (host().folder() / "fstab").native();
  WriteFile(fstab, "films " + Point().native() +
                       " btfc _netdev,nofail,noatime,cache=" + host().cache().native() + " 0 0\n");
  for (const std::string how : {"-a", "", "--target "}) {
    const auto mounted =
        Run("mount -T " + fstab + " " + how + (how == "-a" ? "" : Point().native()));
    ASSERT_EQ(0, mounted.code) << how << ": " << mounted.output;
    EXPECT_TRUE(Mounted()) << how;
    EXPECT_EQ("films", host().Status()["cluster"]);
    EXPECT_TRUE(Run("findmnt -n -o OPTIONS " + Point().native() + " | grep -q noatime").ok());
    WriteFile(Point() / "file", how);
    const pid_t daemon = DaemonPid();
    const auto unmounted = Run("umount " + Point().native());
    ASSERT_EQ(0, unmounted.code) << unmounted.output;
    EXPECT_TRUE(Eventually([&] { return HasEnded(daemon); }));
    EXPECT_FALSE(Mounted());
  }
  EXPECT_TRUE(std::filesystem::is_empty(Point()));
}

// What mount(8) knows for every filesystem is taken, or refused in a line that says why.
TEST_F(MountingTest, TheOptionsOfMountEight) {
  InstallHelper();
  const auto mount = "mount -t btfc films " + Point().native() + " " + Cache() + ",nolpd,";
  const std::map<std::string, std::string> shown = {{"nosymfollow", "nosymfollow"},
                                                    {"symfollow", "rw"},
                                                    {"iversion", "rw"},
                                                    {"noiversion", "rw"},
                                                    {"relatime", "relatime"},
                                                    {"norelatime", "rw"},
                                                    {"noatime", "noatime"},
                                                    {"atime", "relatime"},
                                                    {"strictatime", "rw"},
                                                    {"nodiratime", "nodiratime"},
                                                    {"lazytime", "lazytime"},
                                                    {"sync", "sync"},
                                                    {"dirsync", "dirsync"},
                                                    {"noexec", "noexec"},
                                                    {"suid,dev", "rw"},
                                                    {"users,owner,group,nofail", "nosuid"},
                                                    {"user,comment=c,x-a.b=c", "nodev"}};
  for (const auto& [option, expected] : shown) {
    const auto mounted = Run(mount + option);
    ASSERT_EQ(0, mounted.code) << option << ": " << mounted.output;
    const auto options = Run("findmnt -n -o OPTIONS " + Point().native()).output;
    EXPECT_NE(std::string::npos, ("," + options).find("," + expected)) << option << ": " << options;
    Unmount();
  }
  const auto again = Run(mount + "remount,ro");
  EXPECT_NE(0, again.code);
  EXPECT_NE(std::string::npos, again.output.find("mount")) << again.output;
  EXPECT_FALSE(Mounted());
}

TEST_F(MountingTest, MountingAllTwiceMountsOnce) {
  InstallHelper();
  const auto fstab = (host().folder() / "fstab").native();
  WriteFile(fstab, "films " + Point().native() + " btfc nofail,cache=" + host().cache().native() +
                       " 0 0\n");
  ASSERT_EQ(0, Run("mount -a -T " + fstab).code);
  const pid_t daemon = DaemonPid();
  const auto again = Run("mount -a -T " + fstab);
  EXPECT_EQ(0, again.code) << again.output;
  EXPECT_EQ(daemon, DaemonPid());
  EXPECT_TRUE(Run("grep -c ' " + Point().native() + " ' /proc/self/mounts | grep -qx 1").ok());
}

TEST_F(MountingTest, AClusterCalledLikeAFolderWhereMountIsCalled) {
  InstallHelper();
  // The mount point itself: `mount -t btfc btfc ~/btfc` at home.
  const auto mounted = Run("cd " + host().folder().native() + " && mount -t btfc btfc " +
                           Point().native() + " " + Cache());
  ASSERT_EQ(0, mounted.code) << mounted.output;
  EXPECT_TRUE(Mounted());
  EXPECT_EQ("btfc", host().Status()["cluster"]);
}

TEST_F(MountingTest, MountEightHandsTheExitCodeOn) {
  InstallHelper();
  const auto mount = "mount -t btfc films " + Point().native() + " " + Cache();
  const auto unknown = Run(mount + ",nonsense");
  EXPECT_EQ(1, unknown.code) << unknown.output;
  EXPECT_NE(std::string::npos, unknown.output.find("'nonsense'")) << unknown.output;
  WriteFile(host().cache() / "cluster.key", "this is no key");
  chmod((host().cache() / "cluster.key").c_str(), 0600);
  EXPECT_EQ(32, Run(mount).code);
  EXPECT_FALSE(Mounted());
  unlink((host().cache() / "cluster.key").c_str());
  const auto mounted = Run(mount);
  EXPECT_EQ(0, mounted.code) << mounted.output;
  EXPECT_TRUE(Mounted());
}

TEST_F(MountingTest, FakeMountsNothing) {
  EXPECT_EQ(0, Mount("films " + Point().native() + " -f " + Cache()).code);
  EXPECT_FALSE(Mounted());
  EXPECT_FALSE(std::filesystem::exists(host().cache() / "index.db"));
}

TEST_F(MountingTest, WithoutTheDeviceItSaysWhatToDo) {
  const auto folder = host().folder();
  // A /dev without fuse.
  const auto refused =
      Run("unshare -m sh -c 'mkdir -p " + folder.native() + "/dev && mount -t tmpfs none " +
          folder.native() + "/dev && cp -a /dev/null /dev/urandom /dev/random /dev/zero " +
          folder.native() + "/dev && mount --move " + folder.native() + "/dev /dev && exec " +
          BTFC_MOUNT_PROGRAM " " + Point().native() + " " + Cache() + "'");
  EXPECT_EQ(32, refused.code) << refused.output;
  EXPECT_NE(std::string::npos, refused.output.find("modprobe fuse")) << refused.output;
}

TEST_F(MountingTest, ReadOnly) {
  ASSERT_TRUE(host().Start());
  WriteFile(host() / "file", "first");
  auto& other = lab().Add();
  lab().ShareKey(other);
  ASSERT_TRUE(other.Start("ro"));
  EXPECT_TRUE(Eventually([&] { return ReadFile(other / "file") == "first"; }));
  EXPECT_EQ(-1, open((other / "new").c_str(), O_WRONLY | O_CREAT, 0644));
  EXPECT_EQ(EROFS, errno);
  EXPECT_EQ(-1, unlink((other / "file").c_str()));
  EXPECT_EQ(EROFS, errno);
  WriteFile(host() / "file", "second");
  EXPECT_TRUE(Eventually([&] { return ReadFile(other / "file") == "second"; }));
  EXPECT_EQ(0, other.Stop());
}

TEST_F(MountingTest, NamesAreAsLongAsElsewhere) {
  ASSERT_TRUE(host().Start());
  WriteFile(host() / std::string(255, 'n'), "long");
  EXPECT_EQ("long", ReadFile(host() / std::string(255, 'n')));
  EXPECT_EQ(-1, open((host() / std::string(256, 'n')).c_str(), O_WRONLY | O_CREAT, 0644));
  EXPECT_EQ(ENAMETOOLONG, errno);
}

TEST_F(MountingTest, TheRootHasATimeFromTheStart) {
  const auto before = time(nullptr) - 60;
  ASSERT_TRUE(host().Start());
  struct stat status {};
  ASSERT_EQ(0, stat(Point().c_str(), &status));
  EXPECT_GT(status.st_mtime, before);
  EXPECT_GT(status.st_ctime, before);
}

// --- caches that do not fit

TEST_F(MountingTest, ACacheOfAnotherClusterIsNotTouched) {
  ASSERT_EQ(0, Mount(Point().native() + " " + Cache()).code);
  Unmount();
  const auto stranger = host().folder() / "stranger";
  ASSERT_EQ(0, Mount("other " + Point().native() + " -o cache=" + stranger.native()).code);
  ASSERT_EQ(0, umount2(Point().c_str(), 0));
  const auto index = ReadFile(host().cache() / "index.db");
  const auto refused =
      Mount(Point().native() + " " + Cache() + ",key=" + (stranger / "cluster.key").native());
  EXPECT_EQ(32, refused.code) << refused.output;
  EXPECT_NE(std::string::npos, refused.output.find("another cluster")) << refused.output;
  EXPECT_EQ(index, ReadFile(host().cache() / "index.db"));
  EXPECT_FALSE(Mounted());
}

TEST_F(MountingTest, ACacheOfANewerVersionIsNotTouched) {
  ASSERT_EQ(0, Mount(Point().native() + " " + Cache()).code);
  Unmount();
  const auto index = (host().cache() / "index.db").native();
  ASSERT_TRUE(Shell("sqlite3 " + index + " 'PRAGMA user_version = 999'").ok());
  const auto refused = Mount(Point().native() + " " + Cache());
  EXPECT_EQ(32, refused.code) << refused.output;
  EXPECT_NE(std::string::npos, refused.output.find("newer btfc")) << refused.output;
  EXPECT_EQ("999\n", Shell("sqlite3 " + index + " 'PRAGMA user_version'").output);
  EXPECT_FALSE(Mounted());
}

TEST_F(MountingTest, NeverANewClusterOverAnIndexWithoutItsKey) {
  ASSERT_EQ(0, Mount(Point().native() + " " + Cache()).code);
  Unmount();
  ASSERT_EQ(0, unlink((host().cache() / "cluster.key").c_str()));
  const auto refused = Mount(Point().native() + " " + Cache());
  EXPECT_EQ(32, refused.code);
  EXPECT_NE(std::string::npos, refused.output.find("cluster.key is missing")) << refused.output;
  EXPECT_FALSE(std::filesystem::exists(host().cache() / "cluster.key"));
}

}  // namespace
}  // namespace btfc::cluster
