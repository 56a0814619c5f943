// A daemon and its commands make and change nothing outside of their cache and their mount point.
// They run in a tree that is the machine's own, but what is changed in it lands in a folder beside.
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "lab.h"

namespace btfc::cluster {
namespace {

// The machine's files seen through an overlay; those below some folders are the real ones.
class Watched {
 public:
  explicit Watched(const std::filesystem::path& folder)
      : upper_(folder / "upper"), root_(folder / "root") {
    std::filesystem::create_directories(upper_);
    std::filesystem::create_directories(root_);
  }
  ~Watched() {
    umount2(root_.c_str(), MNT_DETACH);
    umount2(upper_.c_str(), MNT_DETACH);
  }
  Watched(const Watched&) = delete;
  Watched& operator=(const Watched&) = delete;

  // Why it cannot be made here; empty if it is.
  std::string Make() {
    if (mount("none", upper_.c_str(), "tmpfs", 0, "mode=755") != 0) return Problem("tmpfs");
    for (const char* part : {"changed", "work"}) mkdir((upper_ / part).c_str(), 0755);
    const auto options =
        fmt::format("lowerdir=/,upperdir={0}/changed,workdir={0}/work", upper_.native());
    if (mount("overlay", root_.c_str(), "overlay", 0, options.c_str()) != 0) {
      return Problem("overlay");
    }
    for (const char* real : {"/proc", "/sys"}) {
      if (!Real(real)) return Problem(real);
    }
    // Of the devices those that a daemon needs: /dev/shm and its like are watched, too.
    devices_ = {"null", "zero", "random", "urandom", "fuse"};
    const auto folder = root_ / "dev";
    if (mount("none", folder.c_str(), "tmpfs", 0, "mode=755") != 0) return Problem("/dev");
    for (const auto& device : devices_) {
      struct stat st {};
      if (stat(("/dev/" + device).c_str(), &st) != 0 ||
          mknod((folder / device).c_str(), S_IFCHR | 0666, st.st_rdev) != 0) {
        return Problem(device);
      }
    }
    return "";
  }
  // What is done below this folder is not watched.
  bool Real(const std::filesystem::path& folder) const {
    return mount(folder.c_str(), Inside(folder).c_str(), nullptr, MS_BIND | MS_REC, nullptr) == 0;
  }
  std::filesystem::path Inside(const std::filesystem::path& path) const {
    return root_ / path.relative_path();
  }
  Finished Run(std::vector<std::string> command, int net) const {
    command.insert(command.begin(), {"chroot", root_.native()});
    return RunProgram(command, net);
  }
  // Everything that was made, changed or removed: a folder in which a file came and went is here,
  // too.
  std::set<std::string> Changed() const {
    std::set<std::string> changed;
    const auto top = upper_ / "changed";
    for (const auto& entry : std::filesystem::recursive_directory_iterator(top)) {
      changed.insert("/" + entry.path().lexically_relative(top).native());
    }
    for (const auto& entry : std::filesystem::recursive_directory_iterator(root_ / "dev")) {
      const auto name = entry.path().lexically_relative(root_ / "dev").native();
      if (!devices_.contains(name)) changed.insert("/dev/" + name);
    }
    return changed;
  }

 private:
  static std::string Problem(const std::string& what) {
    return fmt::format("no {}: {}", what, std::strerror(errno));
  }

  const std::filesystem::path upper_, root_;
  std::set<std::string> devices_;
};

class FootprintTest : public testing::Test {
 protected:
  void SetUp() override {
    BTFC_NEEDS_LAB();
    lab_ = std::make_unique<Lab>(2);
    watched_ = std::make_unique<Watched>(here().folder());
    const auto why_not = watched_->Make();
    BTFC_NEEDS(why_not.empty(), why_not);
    ASSERT_TRUE(watched_->Real(here().cache()));
    ASSERT_TRUE(watched_->Real(here().mount()));
    umask_ = umask(022);
#ifdef __SANITIZE_THREAD__
    // ThreadSanitizer itself makes a file there when a program starts.
    setenv("TMPDIR", Cache().c_str(), 1);
#endif
  }
  void TearDown() override {
    if (umask_) umask(*umask_);
    if (!watched_) return;
    umount2(Point().c_str(), MNT_DETACH);
    watched_.reset();
  }
  Host& here() { return (*lab_)[0]; }
  Host& there() { return (*lab_)[1]; }
  std::filesystem::path Point() { return watched_->Inside(here().mount()); }
  std::string Cache() { return here().cache().native(); }

  Finished Mount() {
    return watched_->Run({BTFC_MOUNT_PROGRAM, "lab", here().mount().native(), "-v", "-o",
                          "cache=" + Cache() + ",versions=1d"},
                         here().net());
  }
  void Must(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), BTFC_PROGRAM);
    const auto finished = watched_->Run(arguments, here().net());
    EXPECT_EQ(0, finished.code) << arguments[1] << ": " << finished.output;
  }
  pid_t DaemonPid() {
    const auto status = here().Status();
    return status.contains("pid") ? status["pid"].get<pid_t>() : -1;
  }
  // What a daemon of every day has to do.
  void Live() {
    const auto large = RandomBytes(3 << 20, 1);
    WriteFile(Point() / "small", "1");
    EXPECT_TRUE(Eventually([&] { return ReadFile(there() / "small") == "1"; }));  // a version
    WriteFile(Point() / "small", "2");
    WriteFile(Point() / "large", large);
    std::filesystem::create_directory(Point() / "folder");
    std::filesystem::rename(Point() / "large", Point() / "folder" / "renamed");
    std::filesystem::create_symlink("small", Point() / "link");
    const auto theirs = RandomBytes(2 << 20, 2);
    WriteFile(there() / "theirs", theirs);
    EXPECT_TRUE(Eventually([&] { return ReadFile(Point() / "theirs") == theirs; }));
    EXPECT_TRUE(Eventually([&] { return ReadFile(there() / "folder" / "renamed") == large; }));
    EXPECT_TRUE(Eventually([&] { return here().Complete(); }));
    EXPECT_EQ("2", ReadFile(Point() / "small"));
    EXPECT_TRUE(std::filesystem::exists(Point() / ".btfc" / "versions" / "small"));
    // The commands go by the cache: in the overlay's tree the mount point is another one's.
    for (const char* command : {"status", "peers", "key", "verify"}) {
      Must({command, "--cache", Cache()});
    }
    Must({"log", (here().mount() / "small").native()});
    Must({"restore", (here().mount() / "small").native()});
    EXPECT_EQ("1", ReadFile(Point() / "small"));
    std::filesystem::remove(Point() / "small");
    Must({"undelete", (here().mount() / "small").native()});
    std::filesystem::remove_all(Point() / "folder");
  }

  std::unique_ptr<Lab> lab_;
  std::unique_ptr<Watched> watched_;
  std::optional<mode_t> umask_;
};

TEST_F(FootprintTest, OnlyTheCacheAndTheMount) {
  if (!watched_) return;
  ASSERT_EQ(0, Mount().code);
  lab_->ShareKey(there());
  ASSERT_TRUE(there().Start());
  ASSERT_TRUE(Eventually([&] { return here().Connected() && there().Connected(); }));
  Live();
  EXPECT_EQ(watched_->Changed(), std::set<std::string>{}) << "while it was mounted";
  // A kill, and what the next one recovers.
  pid_t daemon = DaemonPid();
  ASSERT_GT(daemon, 0);
  WriteFile(Point() / "last", RandomBytes(100'000, 3));
  ASSERT_EQ(0, kill(daemon, SIGKILL));
  ASSERT_TRUE(Eventually([&] { return HasEnded(daemon); }));
  umount2(Point().c_str(), MNT_DETACH);
  const auto again = Mount();
  ASSERT_EQ(0, again.code) << again.output;
  EXPECT_EQ(RandomBytes(100'000, 3), ReadFile(Point() / "last"));
  daemon = DaemonPid();
  ASSERT_EQ(0, umount2(Point().c_str(), 0)) << std::strerror(errno);
  ASSERT_TRUE(Eventually([&] { return HasEnded(daemon); }));
  EXPECT_EQ(watched_->Changed(), std::set<std::string>{});
  EXPECT_TRUE(std::filesystem::is_empty(here().mount())) << "nothing lies below the mount";
}

// What the other test stands on.
TEST_F(FootprintTest, WhatComesAndGoesElsewhereIsSeen) {
  if (!watched_) return;
  const auto done = watched_->Run({"sh", "-c", "echo > /etc/btfc-x && rm /etc/btfc-x"}, -1);
  ASSERT_EQ(0, done.code) << done.output;
  EXPECT_TRUE(watched_->Changed().contains("/etc"));
}

}  // namespace
}  // namespace btfc::cluster
