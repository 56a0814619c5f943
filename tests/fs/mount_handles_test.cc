// Every handle of a file sees the same bytes at once, whichever was there first and however it
// reads and writes.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>
#include <memory>
#include <string>
#include <tuple>
#include <vector>

#include "index/merkle.h"
#include "mounted.h"
#include "shared_mapping.h"

namespace btfc::fs::test {
namespace {

constexpr std::size_t kPage = 4096;

class MountHandles : public testing::TestWithParam<std::tuple<bool, std::size_t>> {
 protected:
  void SetUp() override {
    BTFC_NEED_MOUNT();
    MountedOptions options;
    options.passthrough = std::get<0>(GetParam());
    mounted_ = std::make_unique<Mounted>("handles", options);
    path_ = *mounted_ / "f";
    WriteWhole(path_, std::string(size_, 'a'));
    ASSERT_TRUE(mounted_->WaitQuiet());
  }
  void TearDown() override {
    for (const int fd : fds_) ::close(fd);
  }
  int Open(int flags) {
    const int fd = ::open(path_.c_str(), flags, 0644);
    EXPECT_GE(fd, 0) << std::strerror(errno);
    fds_.push_back(fd);
    return fd;
  }
  static std::string At(int fd, off_t offset, std::size_t length) {
    std::string bytes(length, '?');
    const auto got = ::pread(fd, bytes.data(), length, offset);
    bytes.resize(got > 0 ? static_cast<std::size_t>(got) : 0);
    return bytes;
  }
  static off_t SizeOf(int fd) {
    struct stat st {};
    EXPECT_EQ(::fstat(fd, &st), 0);
    return st.st_size;
  }
  // In another process: an application's other half has no cache in common with it.
  template <class Work>
  static void Elsewhere(Work&& work) {
    const pid_t pid = ::fork();
    if (pid == 0) ::_exit(work() ? 0 : 1);
    int status = 0;
    ASSERT_EQ(::waitpid(pid, &status, 0), pid);
    EXPECT_EQ(status, 0);
  }
  bool WriteElsewhere(int flags, off_t offset, const std::string& bytes) const {
    const int fd = ::open(path_.c_str(), flags);
    const auto put = (flags & O_APPEND) != 0 ? ::write(fd, bytes.data(), bytes.size())
                                             : ::pwrite(fd, bytes.data(), bytes.size(), offset);
    return put == std::ssize(bytes) && ::close(fd) == 0;
  }

  const std::size_t size_ = std::get<1>(GetParam());
  std::unique_ptr<Mounted> mounted_;
  std::filesystem::path path_;
  std::vector<int> fds_;
};

TEST_P(MountHandles, AReaderOfBeforeTheFirstWriterSeesIt) {
  const int reader = Open(O_RDONLY);
  EXPECT_EQ(At(reader, 0, 1), "a");
  Elsewhere([&] { return WriteElsewhere(O_WRONLY, 0, "b"); });
  EXPECT_EQ(At(reader, 0, 1), "b");
  ASSERT_TRUE(mounted_->WaitQuiet());
  EXPECT_EQ(At(reader, 0, 1), "b") << "after the commit";
  Elsewhere([&] { return WriteElsewhere(O_RDWR, 0, "c"); });
  EXPECT_EQ(At(reader, 0, 1), "c") << "the second version";
}

TEST_P(MountHandles, WhatIsAppendedIsSeenByWhoFollows) {
  const int follower = Open(O_RDONLY);
  off_t end = SizeOf(follower);
  for (int line = 0; line < 20; ++line) {
    const std::string text = "line " + std::to_string(line) + "\n";
    Elsewhere([&] { return WriteElsewhere(O_WRONLY | O_APPEND, 0, text); });
    EXPECT_EQ(SizeOf(follower), end + std::ssize(text));
    EXPECT_EQ(At(follower, end, 100), text);
    end += std::ssize(text);
    if (line % 5 == 4) {
      ASSERT_TRUE(mounted_->WaitQuiet());
    }
  }
}

TEST_P(MountHandles, ATruncationIsSeenByAll) {
  const int reader = Open(O_RDONLY);
  EXPECT_EQ(At(reader, 0, 1), "a");
  Elsewhere([&] { return ::truncate(path_.c_str(), 3) == 0; });
  EXPECT_EQ(SizeOf(reader), 3);
  EXPECT_EQ(At(reader, 0, 100), "aaa");
  Elsewhere([&] { return ::truncate(path_.c_str(), 6) == 0; });
  EXPECT_EQ(At(reader, 0, 100), std::string("aaa\0\0\0", 6));
  Elsewhere([&] { return ::close(::open(path_.c_str(), O_WRONLY | O_TRUNC)) == 0; });
  EXPECT_EQ(SizeOf(reader), 0);
  EXPECT_EQ(At(reader, 0, 100), "");
  Elsewhere([&] { return WriteElsewhere(O_WRONLY, 0, "new"); });
  EXPECT_EQ(At(reader, 0, 100), "new");
}

TEST_P(MountHandles, AMappingOfBeforeTheFirstWriterSeesIt) {
  const int reader = Open(O_RDONLY);
  SharedMapping map(reader, kPage, PROT_READ);
  ASSERT_EQ(map.error(), 0) << std::strerror(map.error());
  EXPECT_EQ(map.Read(1, 1), "a");
  Elsewhere([&] { return WriteElsewhere(O_WRONLY, 1, "b"); });
  EXPECT_EQ(map.Read(1, 1), "b");
  ASSERT_TRUE(mounted_->WaitQuiet());
  Elsewhere([&] { return WriteElsewhere(O_WRONLY, 1, "c"); });
  EXPECT_EQ(map.Read(1, 1), "c") << "after a version came about";
}

TEST_P(MountHandles, DirectAndBufferedHandlesAgree) {
  void* memory = nullptr;
  ASSERT_EQ(::posix_memalign(&memory, kPage, kPage), 0);
  const std::unique_ptr<char, void (*)(void*)> page(static_cast<char*>(memory), ::free);
  ASSERT_EQ(::truncate(path_.c_str(), 4 * kPage), 0);
  const int buffered = Open(O_RDWR);
  const int direct = Open(O_RDWR | O_DIRECT);
  for (char letter = 'b'; letter < 'f'; ++letter) {
    std::memset(page.get(), letter, kPage);
    ASSERT_EQ(::pwrite(direct, page.get(), kPage, kPage), std::ssize(std::string(kPage, 'x')));
    EXPECT_EQ(At(buffered, kPage, 2), std::string(2, letter));
    ASSERT_EQ(::pwrite(buffered, "buffered", 8, 2 * kPage), 8);
    ASSERT_EQ(::pread(direct, page.get(), kPage, 2 * kPage), std::ssize(std::string(kPage, 'x')));
    EXPECT_EQ(std::string(page.get(), 8), "buffered");
  }
}

TEST_P(MountHandles, StoresAfterTheLastCloseBecomeAVersion) {
  ASSERT_EQ(::truncate(path_.c_str(), 5 * kPage), 0);
  const int writer = ::open(path_.c_str(), O_RDWR);
  ASSERT_GE(writer, 0);
  SharedMapping map(writer, 5 * kPage, PROT_READ | PROT_WRITE);
  ASSERT_EQ(map.error(), 0) << std::strerror(map.error());
  ASSERT_EQ(::close(writer), 0);
  const int reader = Open(O_RDONLY);
  ASSERT_EQ(map.Store(4 * kPage, "Z"), 0);
  EXPECT_EQ(At(reader, 4 * kPage, 1), "Z") << "before it is unmapped";
  ASSERT_EQ(map.Unmap(), 0);
  ASSERT_TRUE(mounted_->WaitQuiet());
  const auto node = mounted_->catalogue().Lookup(index::kRootIno, "f");
  ASSERT_TRUE(node);
  EXPECT_EQ(node.value().content.id, index::ContentIdOf(At(reader, 0, 5 * kPage)));
  EXPECT_EQ(At(reader, 4 * kPage, 1), "Z");
}

TEST_P(MountHandles, AReplacedFileLivesOnForItsHandles) {
  const int writer = Open(O_RDWR);
  WriteWhole(*mounted_ / "g", "new");
  ASSERT_EQ(::rename((*mounted_ / "g").c_str(), path_.c_str()), 0);
  const int second = Open(O_RDONLY);
  ASSERT_EQ(::pwrite(writer, "old", 3, 0), 3);
  EXPECT_EQ(At(writer, 0, 4), "olda");
  EXPECT_EQ(At(second, 0, 100), "new");
  struct stat st {};
  ASSERT_EQ(::fstat(writer, &st), 0);
  EXPECT_EQ(st.st_nlink, 0U);
  ASSERT_TRUE(mounted_->WaitQuiet());
  EXPECT_EQ(At(writer, 0, 4), "olda") << "nothing of it was committed or dropped";
}

TEST_P(MountHandles, LocksHoldAmongProcesses) {
  const int whole = Open(O_RDWR);
  ASSERT_EQ(::flock(whole, LOCK_EX), 0);
  struct flock range {};
  range.l_type = F_WRLCK;
  range.l_start = 10;
  range.l_len = 10;
  ASSERT_EQ(::fcntl(whole, F_SETLK, &range), 0);
  Elsewhere([&] {
    const int fd = ::open(path_.c_str(), O_RDWR);
    if (::flock(fd, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK) return false;
    struct flock wish = range;
    if (::fcntl(fd, F_SETLK, &wish) == 0 || (errno != EAGAIN && errno != EACCES)) return false;
    wish.l_start = 20;
    return ::fcntl(fd, F_SETLK, &wish) == 0;
  });
  ASSERT_EQ(::flock(whole, LOCK_UN), 0);
  Elsewhere([&] { return ::flock(::open(path_.c_str(), O_RDONLY), LOCK_SH | LOCK_NB) == 0; });
}

INSTANTIATE_TEST_SUITE_P(Mode, MountHandles,
                         testing::Combine(testing::Bool(), testing::Values(10, 100'000)),
                         [](const auto& suite) {
                           return std::string(std::get<0>(suite.param) ? "Passthrough" : "Cached") +
                                  std::to_string(std::get<1>(suite.param));
                         });

}  // namespace
}  // namespace btfc::fs::test
