// File handles (name_to_handle_at(2)), as NFS servers and backup programs keep them: they outlive
// what the kernel remembers.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <memory>
#include <string>

#include "mounted.h"

namespace btfc::fs::test {
namespace {

// As the system calls want it: a header, with the handle's bytes behind it.
class FileHandle {
 public:
  explicit FileHandle(const std::filesystem::path& path) {
    get()->handle_bytes = kBytes;
    int mount = 0;
    EXPECT_EQ(::name_to_handle_at(AT_FDCWD, path.c_str(), get(), &mount, 0), 0)
        << path << ": " << std::strerror(errno);
  }
  // A descriptor, or minus errno.
  int Open(const Mounted& mounted, int flags) {
    const int where = ::open(mounted.root().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    const int fd = ::open_by_handle_at(where, get(), flags | O_CLOEXEC);
    const int result = fd < 0 ? -errno : fd;
    ::close(where);
    return result;
  }

 private:
  static constexpr unsigned kBytes = 128;  // MAX_HANDLE_SZ

  file_handle* get() { return reinterpret_cast<file_handle*>(bytes_.data()); }
  alignas(file_handle) std::array<char, sizeof(file_handle) + kBytes> bytes_{};
};

std::string ReadAll(int fd) {
  std::string bytes(100'000, '\0');
  const auto got = ::pread(fd, bytes.data(), bytes.size(), 0);
  bytes.resize(got > 0 ? static_cast<std::size_t>(got) : 0);
  return bytes;
}

class MountFileHandles : public testing::Test {
 protected:
  void SetUp() override {
    BTFC_NEED_MOUNT();
    Mount();
    std::filesystem::create_directories(*mounted_ / "a/b/c");
    WriteWhole(*mounted_ / "a/b/c/small", "some bytes");
    WriteWhole(*mounted_ / "a/large", large_);
  }
  // A new mount: the kernel has no inode of it but the root.
  void Mount() {
    mounted_.reset();
    mounted_ = std::make_unique<Mounted>("handles", MountedOptions{}, folder_.path());
  }

  const std::string large_ = std::string(50'000, 'l');
  TempFolder folder_{"handles"};
  std::unique_ptr<Mounted> mounted_;
};

TEST_F(MountFileHandles, OpenWhatTheKernelHasForgotten) {
  FileHandle small(*mounted_ / "a/b/c/small");
  FileHandle large(*mounted_ / "a/large");
  std::filesystem::rename(*mounted_ / "a/large", *mounted_ / "elsewhere");
  Mount();
  const int one = small.Open(*mounted_, O_RDONLY);
  ASSERT_GE(one, 0) << std::strerror(-one);
  EXPECT_EQ(ReadAll(one), "some bytes");
  ::close(one);
  const int other = large.Open(*mounted_, O_RDWR);
  ASSERT_GE(other, 0) << std::strerror(-other);
  EXPECT_EQ(ReadAll(other), large_);
  EXPECT_EQ(::pwrite(other, "LL", 2, 0), 2);
  ::close(other);
  EXPECT_EQ(ReadWhole(*mounted_ / "elsewhere"), "LL" + large_.substr(2));
}

// The kernel finds the way up to the root from a folder by its handle.
TEST_F(MountFileHandles, OpenFoldersWithTheirPath) {
  FileHandle folder(*mounted_ / "a/b/c");
  Mount();
  const int fd = folder.Open(*mounted_, O_RDONLY | O_DIRECTORY);
  ASSERT_GE(fd, 0) << std::strerror(-fd);
  const auto path = std::filesystem::read_symlink("/proc/self/fd/" + std::to_string(fd));
  EXPECT_EQ(path, *mounted_ / "a/b/c");
  ::close(fd);
}

TEST_F(MountFileHandles, AreStaleOnceTheFileIsRemoved) {
  FileHandle file(*mounted_ / "a/large");
  FileHandle folder(*mounted_ / "a/b/c");
  std::filesystem::remove(*mounted_ / "a/large");
  std::filesystem::remove_all(*mounted_ / "a/b/c");
  EXPECT_EQ(file.Open(*mounted_, O_RDONLY), -ESTALE);
  Mount();
  EXPECT_EQ(file.Open(*mounted_, O_RDONLY), -ESTALE);
  EXPECT_EQ(folder.Open(*mounted_, O_RDONLY), -ESTALE);
}

}  // namespace
}  // namespace btfc::fs::test
