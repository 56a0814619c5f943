// Mounting and unmounting: options, mistakes, unclean ends.
#include "fs/mount_point.h"

#include <fcntl.h>
#include <grp.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>
#include <fstream>
#include <sstream>
#include <string>

#include "later_process.h"
#include "mounted.h"

namespace btfc::fs::test {
namespace {

constexpr unsigned kUser = 65534;  // nobody

struct Shown {
  std::string options;  // of the mount
  std::string type;
  std::string source;
};

// The uppermost mount on this path; empty if there is none.
Shown Find(const std::filesystem::path& path) {
  std::ifstream mounts("/proc/self/mountinfo");
  Shown shown;
  for (std::string line; std::getline(mounts, line);) {
    std::istringstream words(line);
    std::string skip, target, options;
    words >> skip >> skip >> skip >> skip >> target >> options;
    if (target != path.string()) continue;
    while (words >> skip && skip != "-") {
    }
    shown.options = "," + options + ",";
    words >> shown.type >> shown.source;
  }
  return shown;
}

testing::AssertionResult Has(const Shown& shown, const std::string& option) {
  if (shown.options.find("," + option + ",") != std::string::npos) {
    return testing::AssertionSuccess();
  }
  return testing::AssertionFailure() << option << " is not in " << shown.options;
}

TEST(MountOptions, NamesBecomeFlagsAndTheRestIsHandedOn) {
  MountRequest request;
  request.options = {"noatime", "suid", "relatime", "context=a"};
  request.read_only = true;
  request.allow_other = true;
  const KernelMountOptions options = ParseKernelOptions(request);
  EXPECT_EQ(options.flags,
            static_cast<unsigned long>(MS_NODEV | MS_NOATIME | MS_RELATIME | MS_RDONLY));
  EXPECT_EQ(options.data, "default_permissions,context=a,allow_other");
  EXPECT_EQ(options.for_helper, "default_permissions,noatime,context=a,ro,allow_other")
      << "fusermount3 knows no relatime and grants no suid";
}

TEST(MountPointErrors, AreSaidInASentence) {
  BTFC_NEED_MOUNT();
  TempFolder folder("mistakes");
  MountRequest request;
  request.source = "name";
  std::string why;
  request.path = folder / "missing";
  auto mounted = MountPoint::Attach(request, &why);
  ASSERT_FALSE(mounted);
  EXPECT_EQ(mounted.error(), Errno(ENOENT));
  EXPECT_EQ(why, "the mount point " + request.path.string() + " does not exist");

  WriteWhole(folder / "file", "x");
  request.path = folder / "file";
  mounted = MountPoint::Attach(request, &why);
  ASSERT_FALSE(mounted);
  EXPECT_EQ(mounted.error(), Errno(ENOTDIR));
  EXPECT_EQ(why, "the mount point " + request.path.string() + " is not a folder");

  request.path = folder.path();
  request.options = {"no-such-option"};
  mounted = MountPoint::Attach(request, &why);
  ASSERT_FALSE(mounted);
  EXPECT_NE(why.find("no-such-option"), std::string::npos) << why;
}

TEST(MountPoint, SourceTypeAndDefaultOptions) {
  BTFC_NEED_MOUNT();
  MountedOptions options;
  options.kernel_options = {"noatime"};
  Mounted mounted("my cluster,1", options);
  const Shown shown = Find(mounted.root());
  EXPECT_EQ(shown.type, "fuse.btfc");
  EXPECT_EQ(shown.source, "my\\040cluster,1") << "as mount(8) compares it, escaped by the kernel";
  EXPECT_TRUE(Has(shown, "nosuid"));
  EXPECT_TRUE(Has(shown, "nodev"));
  EXPECT_TRUE(Has(shown, "noatime"));
  EXPECT_TRUE(Has(shown, "rw"));
}

TEST(MountPoint, RootMayAskOtherwise) {
  BTFC_NEED_MOUNT();
  MountedOptions options;
  options.kernel_options = {"suid", "dev", "noexec"};
  Mounted mounted("options", options);
  const Shown shown = Find(mounted.root());
  EXPECT_FALSE(Has(shown, "nosuid"));
  EXPECT_FALSE(Has(shown, "nodev"));
  EXPECT_TRUE(Has(shown, "noexec"));
}

TEST(MountPoint, ReadOnly) {
  BTFC_NEED_MOUNT();
  MountedOptions options;
  options.read_only = true;
  Mounted mounted("readonly", options);
  EXPECT_TRUE(Has(Find(mounted.root()), "ro"));
  EXPECT_LT(::open((mounted / "f").c_str(), O_CREAT | O_WRONLY, 0644), 0);
  EXPECT_EQ(errno, EROFS);
  EXPECT_LT(::mkdir((mounted / "d").c_str(), 0755), 0);
  EXPECT_EQ(errno, EROFS);
}

TEST(MountPoint, FreeSpaceIsThatOfTheCache) {
  BTFC_NEED_MOUNT();
  Mounted mounted("space");
  struct statvfs here {};
  struct statvfs there {};
  ASSERT_EQ(::statvfs(mounted.root().c_str(), &here), 0);
  ASSERT_EQ(::statvfs(mounted.cache().c_str(), &there), 0);
  EXPECT_EQ(here.f_blocks * here.f_frsize, there.f_blocks * there.f_frsize);
  EXPECT_EQ(here.f_namemax, 255U);
}

TEST(MountPoint, AFolderThatIsNotEmptyIsCovered) {
  BTFC_NEED_MOUNT();
  TempFolder folder("covered");
  WriteWhole(folder / "below", "x");
  MountRequest request;
  request.path = folder.path();
  request.source = "name";
  std::string why;
  const auto mounted = MountPoint::Attach(request, &why);
  ASSERT_TRUE(mounted) << why;
  EXPECT_TRUE(mounted.value()->attached());
  mounted.value()->Disconnect();
  EXPECT_EQ(mounted.value()->Detach(), MountPoint::Detached::kWhole);
  EXPECT_FALSE(mounted.value()->attached());
  EXPECT_EQ(ReadWhole(folder / "below"), "x");
}

TEST(MountPoint, OthersComeInOnlyIfAllowed) {
  BTFC_NEED_MOUNT();
  for (const bool allowed : {false, true}) {
    MountedOptions options;
    options.allow_other = allowed;
    Mounted mounted("others", options);
    WriteWhole(mounted / "f", "x");
    const auto file = mounted / "f";
    const int problem =
        InProcess([&] { return ::access(file.c_str(), R_OK) == 0 ? 0 : errno; }, kUser);
    EXPECT_EQ(problem, allowed ? 0 : EACCES);
  }
}

TEST(MountPoint, UmountEndsTheLoop) {
  BTFC_NEED_MOUNT();
  Mounted mounted("umount");
  WriteWhole(mounted / "f", "x");
  ASSERT_EQ(::umount2(mounted.root().c_str(), 0), 0) << std::strerror(errno);
  mounted.WaitEnded();
  EXPECT_EQ(Find(mounted.root()).type, "");
}

TEST(MountPoint, UnmountingWhileFilesAreOpenEndsToo) {
  BTFC_NEED_MOUNT();
  Mounted mounted("busy");
  WriteWhole(mounted / "f", "x");
  const int fd = ::open((mounted / "f").c_str(), O_RDONLY);
  ASSERT_GE(fd, 0);
  mounted.Unmount();
  EXPECT_EQ(Find(mounted.root()).type, "") << "out of the tree at once";
  struct stat st {};
  EXPECT_LT(::fstatat(fd, "x", &st, 0), 0);
  ::close(fd);
}

TEST(MountPoint, LazyUmountGoesOnUntilTheLastFileIsClosed) {
  BTFC_NEED_MOUNT();
  Mounted mounted("lazy");
  const int fd = ::open((mounted / "f").c_str(), O_RDWR | O_CREAT, 0644);
  ASSERT_GE(fd, 0);
  ASSERT_EQ(::umount2(mounted.root().c_str(), MNT_DETACH), 0);
  EXPECT_EQ(::write(fd, "still", 5), 5);
  EXPECT_EQ(::fsync(fd), 0);
  EXPECT_EQ(::close(fd), 0);
  mounted.WaitEnded();
  const auto node = mounted.catalogue().Lookup(index::kRootIno, "f");
  EXPECT_TRUE(node);
}

TEST(MountPoint, TheDeadMountOfAKilledDaemonIsReplaced) {
  BTFC_NEED_MOUNT();
  TempFolder folder("dead");
  int ready[2];
  ASSERT_EQ(::pipe(ready), 0);
  const pid_t daemon = ::fork();
  if (daemon == 0) {
    MountRequest request;
    request.path = folder.path();
    request.source = "name";
    std::string why;
    const auto mounted = MountPoint::Attach(request, &why);
    const char ok = mounted ? 'y' : 'n';
    if (::write(ready[1], &ok, 1) != 1) ::_exit(1);
    for (;;) ::pause();
  }
  char ok = 0;
  ASSERT_EQ(::read(ready[0], &ok, 1), 1);
  EXPECT_EQ(ok, 'y');
  ASSERT_EQ(::kill(daemon, SIGKILL), 0);
  ASSERT_EQ(::waitpid(daemon, nullptr, 0), daemon);
  ::close(ready[0]);
  ::close(ready[1]);
  struct stat st {};
  ASSERT_LT(::stat(folder.path().c_str(), &st), 0);
  ASSERT_EQ(errno, ENOTCONN);

  MountRequest request;
  request.path = folder.path();
  request.source = "name";
  std::string why;
  const auto mounted = MountPoint::Attach(request, &why);
  ASSERT_TRUE(mounted) << why;
  mounted.value()->Disconnect();
  EXPECT_EQ(mounted.value()->Detach(), MountPoint::Detached::kWhole);
  EXPECT_EQ(Find(folder.path()).type, "") << "nothing is left below it";
}

// As a user without rights, through fusermount3. In a process of its own that becomes that user;
// what it finds it says by its exit status.
TEST(MountPoint, AnOrdinaryUserMountsThroughFusermount) {
  BTFC_NEED_MOUNT();
  BTFC_NEEDS(::access("/usr/bin/fusermount3", X_OK) == 0, "there is no fusermount3");
  TempFolder folder("user");
  TempFolder scratch("device");
  ASSERT_EQ(::chown(folder.path().c_str(), kUser, kUser), 0);
  const int result = InProcess(
      [&] {
        MountedOptions options;
        options.allow_other = false;  // needs user_allow_other in fuse.conf
        Mounted mounted("user", options, folder.path());
        if (mounted.mount().passthrough()) return 10;
        if (Find(mounted.root()).type != "fuse.btfc") return 11;
        if (Find(mounted.root()).source != "user") return 12;
        const int fd = ::open((mounted / "f").c_str(), O_RDWR | O_CREAT, 0644);
        if (fd < 0 || ::write(fd, "hello", 5) != 5 || ::close(fd) != 0) return 13;
        if (ReadWhole(mounted / "f") != "hello") return 14;
        struct stat st {};
        if (::stat((mounted / "f").c_str(), &st) != 0 || st.st_uid != kUser) return 15;
        if (::chown((mounted / "f").c_str(), 0, 0) == 0 || errno != EPERM) return 16;
        mounted.Unmount();
        return Find(mounted.root()).type.empty() ? 0 : 17;
      },
      kUser, [&] { OpenFuseToAll(scratch.path()); });
  EXPECT_EQ(result, 0);
}

TEST(MountPoint, WhatFusermountRefusesIsSaid) {
  BTFC_NEED_MOUNT();
  BTFC_NEEDS(::access("/usr/bin/fusermount3", X_OK) == 0, "there is no fusermount3");
  TempFolder folder("refused");  // root's: not writable by others
  TempFolder scratch("device");
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  EXPECT_EQ(InProcess(
                [&] {
                  MountRequest request;
                  request.path = folder.path();
                  request.source = "name";
                  std::string why;
                  if (MountPoint::Attach(request, &why)) return 1;
                  return ::write(ends[1], why.data(), why.size()) > 0 ? 0 : 2;
                },
                kUser, [&] { OpenFuseToAll(scratch.path()); }),
            0);
  ::close(ends[1]);
  char why[512] = {};
  EXPECT_GT(::read(ends[0], why, sizeof(why) - 1), 0);
  ::close(ends[0]);
  EXPECT_NE(std::string(why).find(folder.path().string()), std::string::npos) << why;
}

}  // namespace
}  // namespace btfc::fs::test
