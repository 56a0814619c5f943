// What an orderly unmount leaves behind.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mount.h>
#include <unistd.h>

#include <cstring>
#include <map>
#include <string>

#include "index/merkle.h"
#include "mounted.h"

namespace btfc::fs::test {
namespace {

// Whether contents pass through the daemon or not.
class MountEnd : public testing::TestWithParam<bool> {
 protected:
  static MountedOptions Options() {
    MountedOptions options;
    options.passthrough = GetParam();
    return options;
  }
};

// close() is told to the daemon later, and an unmount does not wait for that.
TEST_P(MountEnd, WhatWasClosedIsCommitted) {
  BTFC_NEED_MOUNT();
  constexpr int kRounds = 10;
  constexpr int kFiles = 40;
  TempFolder folder("end");
  for (int round = 0; round < kRounds; ++round) {
    Mounted mounted("end", Options(), folder.path());
    std::map<std::string, std::string> written;
    for (int file = 0; file < kFiles; ++file) {
      const auto name = "f" + std::to_string(file);
      written[name] = std::string(file % 2 == 0 ? 300 : 50'000, static_cast<char>('a' + round));
      WriteWhole(mounted / name, written[name]);
    }
    ASSERT_EQ(::umount2(mounted.root().c_str(), 0), 0) << std::strerror(errno);
    mounted.WaitEnded();
    mounted.files().Stop();
    EXPECT_TRUE(mounted.catalogue().DirtyFiles().value().empty()) << "round " << round;
    for (const auto& [name, bytes] : written) {
      const auto node = mounted.catalogue().Lookup(index::kRootIno, name);
      ASSERT_TRUE(node) << name;
      EXPECT_EQ(node.value().content.id, index::ContentIdOf(bytes)) << name;
    }
  }
}

// umount -f under a program that has a file open: nobody will ever tell of its close.
TEST_P(MountEnd, WhatWasOpenIsCommittedOnceNobodyCanWrite) {
  BTFC_NEED_MOUNT();
  const std::string bytes(50'000, 'x');
  Mounted mounted("end", Options());
  const int fd = ::open((mounted / "f").c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0644);
  ASSERT_GE(fd, 0) << std::strerror(errno);
  EXPECT_EQ(::write(fd, bytes.data(), bytes.size()), std::ssize(bytes));
  ::umount2(mounted.root().c_str(), MNT_FORCE);  // EBUSY; but the connection is cut
  mounted.WaitEnded();
  ::close(fd);
  mounted.files().Stop();
  EXPECT_TRUE(mounted.catalogue().DirtyFiles().value().empty());
  const auto node = mounted.catalogue().Lookup(index::kRootIno, "f");
  ASSERT_TRUE(node);
  EXPECT_EQ(node.value().content.id, index::ContentIdOf(bytes));
}

INSTANTIATE_TEST_SUITE_P(Ways, MountEnd, testing::Bool(), [](const auto& parameter) {
  return parameter.param ? "Passthrough" : "ThroughTheDaemon";
});

}  // namespace
}  // namespace btfc::fs::test
