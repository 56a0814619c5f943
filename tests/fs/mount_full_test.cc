// A disk that is full: the application gets ENOSPC, nothing else breaks, and all goes on when
// there is room again.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string>

#include "mounted.h"

namespace btfc::fs::test {
namespace {

class MountFull : public testing::TestWithParam<bool> {};

// A small filesystem for the cache.
class SmallDisk {
 public:
  explicit SmallDisk(const std::filesystem::path& folder) : folder_(folder) {
    EXPECT_EQ(::mount("none", folder_.c_str(), "tmpfs", 0, "size=24m"), 0) << std::strerror(errno);
  }
  ~SmallDisk() { EXPECT_EQ(::umount2(folder_.c_str(), 0), 0) << std::strerror(errno); }
  SmallDisk(const SmallDisk&) = delete;
  SmallDisk& operator=(const SmallDisk&) = delete;

  // The kernel tells of the last close of a removed file a moment after close(2) returned.
  bool WaitForRoom() const {
    return Eventually([this] {
      struct statvfs figures {};
      return ::statvfs(folder_.c_str(), &figures) == 0 &&
             figures.f_bavail * figures.f_frsize > 4U << 20U;
    });
  }

 private:
  std::filesystem::path folder_;
};

TEST_P(MountFull, WritersGetEnospcAndGoOnWhenThereIsRoom) {
  BTFC_NEED_MOUNT();
  TempFolder folder("full");
  SmallDisk disk(folder.path());
  MountedOptions options;
  options.passthrough = GetParam();
  Mounted mounted("full", options, folder.path());
  WriteWhole(mounted / "kept", std::string(100'000, 'k'));
  ASSERT_TRUE(mounted.WaitQuiet());

  const int fd = ::open((mounted / "big").c_str(), O_WRONLY | O_CREAT, 0644);
  ASSERT_GE(fd, 0);
  const std::string bytes(1 << 20, 'b');
  ssize_t put = 0;
  std::size_t total = 0;
  for (int i = 0; i < 40 && (put = ::write(fd, bytes.data(), bytes.size())) > 0; ++i) {
    total += static_cast<std::size_t>(put);
  }
  EXPECT_EQ(put, -1);
  EXPECT_EQ(errno, ENOSPC);
  EXPECT_GT(total, std::size_t{10} << 20U);
  EXPECT_EQ(::fallocate(fd, 0, 0, 100 << 20), -1);
  EXPECT_EQ(errno, ENOSPC);
  struct stat st {};
  EXPECT_EQ(::fstat(fd, &st), 0);
  EXPECT_EQ(static_cast<std::size_t>(st.st_size), total) << "what was written is there";
  EXPECT_TRUE(ReadWhole(mounted / "kept") == std::string(100'000, 'k'));
  EXPECT_EQ(::unlink((mounted / "big").c_str()), 0) << "removing needs no room";
  EXPECT_EQ(::close(fd), 0);
  EXPECT_TRUE(mounted.WaitQuiet());
  EXPECT_TRUE(disk.WaitForRoom());
  WriteWhole(mounted / "after", std::string(1 << 20, 'a'));
  EXPECT_TRUE(mounted.WaitQuiet());
  EXPECT_TRUE(ReadWhole(mounted / "after") == std::string(1 << 20, 'a'));
}

// What was is kept for a while, but not at the price of what is; nor does it wait for its turn.
TEST_P(MountFull, RoomOfWhatIsRemovedIsThereSoon) {
  BTFC_NEED_MOUNT();
  TempFolder folder("full");
  SmallDisk disk(folder.path());
  MountedOptions options;
  options.passthrough = GetParam();
  Mounted mounted("full", options, folder.path());
  const std::string bytes(6 << 20, 'b');
  for (const char* name : {"one", "two"}) {
    WriteWhole(mounted / name, name + bytes);
    ASSERT_TRUE(mounted.WaitQuiet());
  }
  const auto object = mounted.store().ObjectPath(
      mounted.catalogue().Lookup(index::kRootIno, "one").value().content.id);
  ASSERT_TRUE(std::filesystem::exists(object));
  const int fd = ::open((mounted / "rest").c_str(), O_WRONLY | O_CREAT, 0644);
  ASSERT_GE(fd, 0);
  while (::write(fd, bytes.data(), 64 << 10) > 0) {
  }
  EXPECT_EQ(errno, ENOSPC);
  EXPECT_EQ(::unlink((mounted / "one").c_str()), 0);
  EXPECT_TRUE(Eventually([&] { return !std::filesystem::exists(object); }))
      << "sooner than in a minute";
  EXPECT_GT(::write(fd, bytes.data(), 64 << 10), 0);
  EXPECT_EQ(::close(fd), 0);
  EXPECT_TRUE(ReadWhole(mounted / "two") == "two" + bytes);
}

// A removal frees some of the reserve, and who fills the disk takes what that removal leaves.
TEST_P(MountFull, RemovingGoesOnWhileSomebodyFillsTheDisk) {
  BTFC_NEED_MOUNT();
  TempFolder folder("full");
  SmallDisk disk(folder.path());
  MountedOptions options;
  options.passthrough = GetParam();
  Mounted mounted("full", options, folder.path());
  const auto small = [&](int i) { return mounted / ("small" + std::to_string(i)); };
  constexpr int kFiles = 8;
  for (int i = 0; i < kFiles; ++i) WriteWhole(small(i), "some bytes");
  ASSERT_TRUE(mounted.WaitQuiet());
  const int fd = ::open((mounted / "big").c_str(), O_WRONLY | O_CREAT, 0644);
  ASSERT_GE(fd, 0);
  const std::string bytes(4096, 'b');
  for (int i = 0; i < kFiles; ++i) {
    while (::write(fd, bytes.data(), bytes.size()) > 0) {
    }
    EXPECT_EQ(errno, ENOSPC);
    EXPECT_EQ(::unlink(small(i).c_str()), 0) << i << ": " << std::strerror(errno);
  }
  while (::write(fd, bytes.data(), bytes.size()) > 0) {
  }
  EXPECT_EQ(::unlink((mounted / "big").c_str()), 0) << std::strerror(errno);
  EXPECT_EQ(::close(fd), 0);
  EXPECT_TRUE(mounted.WaitQuiet());
  EXPECT_TRUE(disk.WaitForRoom());
  WriteWhole(mounted / "after", std::string(1 << 20, 'a'));
  EXPECT_TRUE(mounted.WaitQuiet());
}

INSTANTIATE_TEST_SUITE_P(Mode, MountFull, testing::Bool(),
                         [](const auto& suite) { return suite.param ? "Passthrough" : "Cached"; });

}  // namespace
}  // namespace btfc::fs::test
