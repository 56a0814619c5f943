// A disk whose files can share their places on it.
#pragma once

#include <gtest/gtest.h>
#include <sched.h>
#include <sys/mount.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

#include "tests/support/needs.h"
#include "tests/support/temp_dir.h"

namespace btfc::test {

inline bool KernelKnows(const std::string& filesystem) {
  std::ifstream known("/proc/filesystems");
  for (std::string word; known >> word;) {
    if (word == filesystem) return true;
  }
  return std::system(("modprobe -q " + filesystem).c_str()) == 0;  // NOLINT(*-env33-c)
}

// The parameter is the filesystem's type. Seen by this process alone.
class ReflinkDisk : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    constexpr std::uintmax_t kBytes = std::uintmax_t{512} << 20U;
    BTFC_NEEDS(::geteuid() == 0, "needs root to mount a disk");
    const std::string kind = GetParam();
    if (!KernelKnows(kind)) GTEST_SKIP() << "this kernel has no " << kind;
    ASSERT_EQ(::unshare(CLONE_NEWNS), 0);
    ASSERT_EQ(::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr), 0);
    const auto image = dir_.path() / "image";
    std::filesystem::create_directory(path());
    std::ofstream(image).flush();
    std::filesystem::resize_file(image, kBytes);
    const std::string line = "PATH=$PATH:/usr/sbin:/sbin; mkfs." + kind + " -q '" + image.native() +
                             "' && mount -o loop '" + image.native() + "' '" + path().native() +
                             "'";
    ASSERT_EQ(std::system(line.c_str()), 0) << line;  // NOLINT(*-env33-c)
  }
  void TearDown() override { ::umount2(path().c_str(), MNT_DETACH); }
  std::filesystem::path path() const { return dir_.path() / "disk"; }

  TempDir dir_;
};

}  // namespace btfc::test
