// When the times of a file move, and that a version coming about in the background moves none.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>
#include <string>
#include <tuple>

#include "mounted.h"

namespace btfc::fs::test {
namespace {

using Times = std::tuple<std::int64_t, std::int64_t>;  // mtime and ctime, ns

std::int64_t Ns(const timespec& time) { return time.tv_sec * 1'000'000'000 + time.tv_nsec; }

class MountTimes : public testing::TestWithParam<std::tuple<bool, std::size_t>> {
 protected:
  void SetUp() override {
    BTFC_NEED_MOUNT();
    MountedOptions options;
    options.passthrough = std::get<0>(GetParam());
    mounted_ = std::make_unique<Mounted>("times", options);
    path_ = *mounted_ / "f";
    Write(O_CREAT | O_WRONLY, std::string(std::get<1>(GetParam()), 'a'));
    ASSERT_TRUE(mounted_->WaitQuiet());
  }
  // Answers the times that were shown when it was closed.
  Times Write(int flags, const std::string& bytes) {
    const int fd = ::open(path_.c_str(), flags, 0644);
    EXPECT_GE(fd, 0) << std::strerror(errno);
    EXPECT_EQ(::write(fd, bytes.data(), bytes.size()), std::ssize(bytes));
    EXPECT_EQ(::close(fd), 0);
    return Shown();
  }
  Times Shown() {
    struct stat st {};
    EXPECT_EQ(::stat(path_.c_str(), &st), 0) << std::strerror(errno);
    return {Ns(st.st_mtim), Ns(st.st_ctim)};
  }
  // What is shown when the kernel asks anew, now that the version is there.
  Times Kept() {
    EXPECT_TRUE(mounted_->WaitQuiet());
    const auto node = mounted_->catalogue().Lookup(index::kRootIno, "f");
    EXPECT_TRUE(node);
    return node ? Times{node.value().mtime_ns, node.value().ctime_ns} : Times{};
  }
  static bool BothMoved(const Times& before, const Times& after) {
    return std::get<0>(after) > std::get<0>(before) && std::get<1>(after) > std::get<1>(before);
  }

  std::unique_ptr<Mounted> mounted_;
  std::filesystem::path path_;
};

TEST_P(MountTimes, ACommitMovesNone) {
  Times before = Shown();
  EXPECT_EQ(Kept(), before) << "of a new file";
  const Times rewritten = Write(O_WRONLY, "b");
  EXPECT_TRUE(BothMoved(before, rewritten));
  EXPECT_EQ(Kept(), rewritten) << "of a new version";
}

// make(1) depends on it: an output that comes out the same is newer than its input all the same.
TEST_P(MountTimes, WritingTheSameBytesMovesThem) {
  const Times before = Shown();
  const Times in_place = Write(O_WRONLY, "a");
  EXPECT_TRUE(BothMoved(before, in_place));
  EXPECT_EQ(Kept(), in_place);
  const Times anew = Write(O_WRONLY | O_TRUNC, std::string(std::get<1>(GetParam()), 'a'));
  EXPECT_TRUE(BothMoved(in_place, anew));
  EXPECT_EQ(Kept(), anew);
}

TEST_P(MountTimes, AnOpenForWritingAloneMovesNone) {
  const Times before = Shown();
  const int fd = ::open(path_.c_str(), O_RDWR);
  ASSERT_GE(fd, 0);
  struct stat st {};
  ASSERT_EQ(::fchmod(fd, 0644), 0);  // asks the daemon for attributes
  ASSERT_EQ(::fstat(fd, &st), 0);
  const Times meanwhile{Ns(st.st_mtim), Ns(st.st_ctim)};
  EXPECT_EQ(std::get<0>(meanwhile), std::get<0>(before));
  ASSERT_EQ(::close(fd), 0);
  EXPECT_EQ(Shown(), meanwhile);
  EXPECT_EQ(Kept(), meanwhile);
}

TEST_P(MountTimes, ATimeSetWhileItIsWrittenStays) {
  const int fd = ::open(path_.c_str(), O_RDWR);
  ASSERT_GE(fd, 0);
  ASSERT_EQ(::write(fd, "a", 1), 1);  // the same byte
  const timespec times[2] = {{1000, 0}, {2000, 7}};
  ASSERT_EQ(::futimens(fd, times), 0);
  const Times set = Shown();
  EXPECT_EQ(std::get<0>(set), 2'000'000'000'007);
  ASSERT_EQ(::close(fd), 0);
  EXPECT_EQ(Shown(), set);
  EXPECT_EQ(Kept(), set);
}

TEST_P(MountTimes, ATimeSetUnderAReaderIsWhatAWriterBeginsWith) {
  const int reader = ::open(path_.c_str(), O_RDONLY);
  ASSERT_GE(reader, 0);
  const timespec times[2] = {{1000, 0}, {2000, 7}};
  ASSERT_EQ(::utimensat(AT_FDCWD, path_.c_str(), times, 0), 0);
  const int writer = ::open(path_.c_str(), O_RDWR);
  ASSERT_GE(writer, 0);
  ASSERT_EQ(::fchmod(writer, 0600), 0);
  EXPECT_EQ(std::get<0>(Shown()), 2'000'000'000'007);
  ASSERT_EQ(::close(writer), 0);
  ASSERT_EQ(::close(reader), 0);
  EXPECT_EQ(std::get<0>(Kept()), 2'000'000'000'007);
}

TEST_P(MountTimes, SettingAtimeAloneMovesCtime) {
  const Times before = Shown();
  const timespec times[2] = {{1000, 0}, {0, UTIME_OMIT}};
  ASSERT_EQ(::utimensat(AT_FDCWD, path_.c_str(), times, 0), 0);
  EXPECT_EQ(std::get<0>(Shown()), std::get<0>(before));
  EXPECT_GT(std::get<1>(Shown()), std::get<1>(before));
}

INSTANTIATE_TEST_SUITE_P(Mode, MountTimes,
                         testing::Combine(testing::Bool(), testing::Values(10, 100'000)),
                         [](const auto& suite) {
                           return std::string(std::get<0>(suite.param) ? "Passthrough" : "Cached") +
                                  std::to_string(std::get<1>(suite.param));
                         });

}  // namespace
}  // namespace btfc::fs::test
