// What an interrupted fetch left of a copy that shares its places on the disk with an earlier
// version.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <fstream>
#include <string>

#include "tests/support/reflink_disk.h"
#include "torrent/partial_file.h"

namespace btfc::torrent {
namespace {

constexpr std::size_t kMiB = std::size_t{1} << 20U;

class OwnDiskBytesTest : public test::ReflinkDisk {};

TEST_P(OwnDiskBytesTest, AreThoseThatNoOtherFileHas) {
  const std::string bytes(8 * kMiB, 'x');
  std::ofstream(path() / "base", std::ios::binary) << bytes;
  const int base = ::open((path() / "base").c_str(), O_RDONLY | O_CLOEXEC);
  const int file = ::open((path() / "file").c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0600);
  ASSERT_EQ(::fsync(base), 0);
  EXPECT_GE(OwnDiskBytes(path() / "base"), bytes.size());
  ASSERT_EQ(::ioctl(file, FICLONE, base), 0);
  EXPECT_LT(OwnDiskBytes(path() / "file"), kMiB);
  ASSERT_EQ(::pwrite(file, bytes.data(), 4 * kMiB, 2 * kMiB), 4 * kMiB);
  ASSERT_EQ(::fsync(file), 0);
  EXPECT_GE(OwnDiskBytes(path() / "file"), 4 * kMiB);
  EXPECT_LT(OwnDiskBytes(path() / "file"), 5 * kMiB);
  ::close(base);
  ::close(file);
}

TEST(OwnDiskBytes, OfNoFileAreNone) { EXPECT_EQ(OwnDiskBytes("/nonexistent"), 0U); }

INSTANTIATE_TEST_SUITE_P(Disks, OwnDiskBytesTest, testing::Values("xfs", "btrfs"));

}  // namespace
}  // namespace btfc::torrent
