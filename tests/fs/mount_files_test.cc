// Files in a mount that are used in ways a table of system calls does not cover.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>
#include <random>
#include <string>

#include "index/merkle.h"
#include "mounted.h"
#include "shared_mapping.h"

namespace btfc::fs::test {
namespace {

class MountFiles : public testing::TestWithParam<bool> {
 protected:
  static MountedOptions Options() {
    MountedOptions options;
    options.passthrough = GetParam();
    return options;
  }
};

TEST_P(MountFiles, AppendsOfTwoProcessesDoNotOverwriteEachOther) {
  BTFC_NEED_MOUNT();
  Mounted mounted("append", Options());
  const std::string path = mounted / "log";
  constexpr int kLines = 500;
  const auto append = [&](const std::string& line) {  // system calls only
    const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0644);
    for (int i = 0; i < kLines; ++i) {
      if (::write(fd, line.data(), line.size()) != static_cast<ssize_t>(line.size())) return 1;
    }
    return ::close(fd) == 0 ? 0 : 1;
  };
  const std::string a = std::string(30, 'a') + "\n";
  const std::string b = std::string(30, 'b') + "\n";
  const pid_t other = ::fork();
  if (other == 0) ::_exit(append(b));
  EXPECT_EQ(append(a), 0);
  int status = 0;
  ASSERT_EQ(::waitpid(other, &status, 0), other);
  EXPECT_EQ(status, 0);
  const std::string bytes = ReadWhole(path);
  ASSERT_EQ(bytes.size(), 2U * kLines * 31);
  for (std::size_t at = 0; at < bytes.size(); at += 31) {
    ASSERT_EQ(bytes.substr(at, 31), std::string(30, bytes[at]) + "\n") << "at " << at;
  }
}

TEST_P(MountFiles, AMappingSeesWhatIsWrittenAndTheOtherWayRound) {
  BTFC_NEED_MOUNT();
  Mounted mounted("mmap", Options());
  WriteWhole(mounted / "f", std::string(8192, 'a'));
  const int fd = ::open((mounted / "f").c_str(), O_RDWR);
  ASSERT_GE(fd, 0);
  SharedMapping map(fd, 8192, PROT_READ | PROT_WRITE);
  ASSERT_EQ(map.error(), 0) << std::strerror(map.error());
  ASSERT_EQ(::pwrite(fd, "written", 7, 100), 7);
  EXPECT_EQ(map.Read(100, 7), "written");
  ASSERT_EQ(map.Store(5000, "mapped"), 0);
  ASSERT_EQ(map.Sync(), 0);
  char buffer[6];
  ASSERT_EQ(::pread(fd, buffer, 6, 5000), 6);
  EXPECT_EQ(std::string(buffer, 6), "mapped");
  const int second = ::open((mounted / "f").c_str(), O_RDONLY);
  ASSERT_GE(second, 0);
  ASSERT_EQ(::pread(second, buffer, 6, 5000), 6);
  EXPECT_EQ(std::string(buffer, 6), "mapped");
  ::close(second);
  ::close(fd);
  ASSERT_EQ(map.Store(0, "Z"), 0);  // after the last close
  ASSERT_EQ(map.Unmap(), 0);
  EXPECT_TRUE(mounted.WaitQuiet());
  EXPECT_EQ(ReadWhole(mounted / "f")[0], 'Z');
  const auto node = mounted.catalogue().Lookup(index::kRootIno, "f");
  ASSERT_TRUE(node);
  std::string expected(8192, 'a');
  expected.replace(100, 7, "written").replace(5000, 6, "mapped");
  expected[0] = 'Z';
  EXPECT_EQ(node.value().content.id, index::ContentIdOf(expected))
      << "what was stored after the close is in the version too";
}

// Under passthrough the kernel does not see such writes; programs that compare times must.
TEST_P(MountFiles, WritesThroughAMappingMoveTheTime) {
  BTFC_NEED_MOUNT();
  Mounted mounted("times", Options());
  WriteWhole(mounted / "f", std::string(4096, 'a'));
  const timespec old[2] = {{1000, 0}, {2000, 0}};
  const auto mtime_s = [&] {
    struct stat st {};
    EXPECT_EQ(::stat((mounted / "f").c_str(), &st), 0);
    return st.st_mtim.tv_sec;
  };
  for (const bool unmap_first : {true, false}) {
    ASSERT_TRUE(mounted.WaitQuiet());
    ASSERT_EQ(::utimensat(AT_FDCWD, (mounted / "f").c_str(), old, 0), 0);
    ASSERT_EQ(mtime_s(), 2000);
    const int fd = ::open((mounted / "f").c_str(), O_RDWR);
    ASSERT_GE(fd, 0);
    SharedMapping map(fd, 4096, PROT_READ | PROT_WRITE);
    ASSERT_EQ(map.error(), 0) << std::strerror(map.error());
    ASSERT_EQ(mtime_s(), 2000);
    if (unmap_first) {
      ASSERT_EQ(map.Store(0, "x"), 0);
      ASSERT_EQ(map.Unmap(), 0);
      ASSERT_EQ(::close(fd), 0);
    } else {
      ASSERT_EQ(::close(fd), 0);
      ASSERT_EQ(mtime_s(), 2000);
      ASSERT_EQ(map.Store(0, "y"), 0);
      ASSERT_EQ(map.Unmap(), 0);
    }
    EXPECT_TRUE(Eventually([&] { return mtime_s() > 2000; })) << "unmapped first: " << unmap_first;
  }
}

TEST_P(MountFiles, ManyHandlesOfOneFileSeeTheSameBytes) {
  BTFC_NEED_MOUNT();
  Mounted mounted("handles", Options());
  WriteWhole(mounted / "f", std::string(100000, 'x'));
  ASSERT_TRUE(mounted.WaitQuiet());
  const int reader = ::open((mounted / "f").c_str(), O_RDONLY);
  const int writer = ::open((mounted / "f").c_str(), O_RDWR);
  const int appender = ::open((mounted / "f").c_str(), O_WRONLY | O_APPEND);
  ASSERT_TRUE(reader >= 0 && writer >= 0 && appender >= 0);
  ASSERT_EQ(::pwrite(writer, "new", 3, 50000), 3);
  ASSERT_EQ(::write(appender, "end", 3), 3);
  char buffer[4] = {};
  ASSERT_EQ(::pread(reader, buffer, 3, 50000), 3);
  EXPECT_STREQ(buffer, "new");
  ASSERT_EQ(::pread(reader, buffer, 3, 100000), 3);
  EXPECT_STREQ(buffer, "end");
  struct stat st {};
  ASSERT_EQ(::fstat(reader, &st), 0);
  EXPECT_EQ(st.st_size, 100003);
  for (const int fd : {reader, writer, appender}) EXPECT_EQ(::close(fd), 0);
  ASSERT_TRUE(mounted.WaitQuiet());
  EXPECT_EQ(ReadWhole(mounted / "f").size(), 100003U);
}

// One file, changed at random through the mount and in an ordinary folder alike.
class Twins {
 public:
  Twins(std::filesystem::path mounted, std::filesystem::path native, unsigned seed)
      : paths_{std::move(mounted), std::move(native)}, random_(seed) {
    Reopen();
  }
  ~Twins() {
    for (const int fd : fds_) ::close(fd);
  }
  Twins(const Twins&) = delete;
  Twins& operator=(const Twins&) = delete;

  void Reopen() {
    for (std::size_t i = 0; i < 2; ++i) {
      if (fds_[i] >= 0) {
        ASSERT_EQ(::close(fds_[i]), 0);
      }
      fds_[i] = ::open(paths_[i].c_str(), O_RDWR | O_CREAT, 0644);
      ASSERT_GE(fds_[i], 0) << std::strerror(errno);
    }
  }

  void Step() {
    switch (Below(9)) {
      case 0:
      case 1:
      case 2:
        return Write();
      case 3:
        return Read();
      case 4:
        return Both("truncate", [size = Offset()](int fd) { return ::ftruncate(fd, size); });
      case 5:
        return Both("fallocate", [mode = Mode(), at = Offset(), length = 1 + Below(20000)](int fd) {
          return ::fallocate(fd, mode, at, length);
        });
      case 6:
        return Map();
      case 7:
        return Copy();
      default:
        return Both("fsync", [](int fd) { return ::fsync(fd); });
    }
  }

  void Compare() {
    struct stat st[2]{};
    for (std::size_t i = 0; i < 2; ++i) ASSERT_EQ(::fstat(fds_[i], &st[i]), 0);
    ASSERT_EQ(st[0].st_size, st[1].st_size);
    std::string bytes[2];
    for (std::size_t i = 0; i < 2; ++i) bytes[i] = ReadWhole(paths_[i]);
    ASSERT_TRUE(bytes[0] == bytes[1]) << Difference(bytes[0], bytes[1]);
  }

 private:
  long Below(long limit) { return std::uniform_int_distribution<long>(0, limit - 1)(random_); }
  long Offset() { return Below(200000); }
  int Mode() {
    constexpr int kModes[] = {0, FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                              FALLOC_FL_ZERO_RANGE};
    return kModes[Below(4)];
  }

  template <class Call>
  void Both(const char* what, Call&& call) {
    long result[2];
    int problem[2];
    for (std::size_t i = 0; i < 2; ++i) {
      errno = 0;
      result[i] = call(fds_[i]);
      problem[i] = errno;
    }
    ASSERT_EQ(result[0], result[1])
        << what << ": " << std::strerror(problem[0]) << " and " << std::strerror(problem[1]);
    if (result[0] < 0) {
      ASSERT_EQ(problem[0], problem[1]) << what;
    }
  }

  void Write() {
    std::string bytes(static_cast<std::size_t>(1 + Below(30000)), '\0');
    for (char& c : bytes) c = static_cast<char>(Below(256));
    const long at = Offset();
    Both("pwrite", [&](int fd) { return ::pwrite(fd, bytes.data(), bytes.size(), at); });
  }

  void Read() {
    const long at = Offset();
    std::string got[2];
    std::size_t i = 0;
    Both("pread", [&](int fd) {
      got[i].assign(30000, '\0');
      return ::pread(fd, got[i++].data(), 30000, at);
    });
    ASSERT_TRUE(got[0] == got[1]) << "pread at " << at << ": " << Difference(got[0], got[1]);
  }

  void Map() {
    struct stat st {};
    ASSERT_EQ(::fstat(fds_[1], &st), 0);
    if (st.st_size == 0) return;
    const auto size = static_cast<std::size_t>(st.st_size);
    const auto at = static_cast<std::size_t>(Below(st.st_size));
    const std::size_t length = std::min<std::size_t>(size - at, 100);
    const char letter = static_cast<char>('a' + Below(26));
    Both("mmap", [&](int fd) -> long {
      SharedMapping map(fd, size, PROT_READ | PROT_WRITE);
      const int stored = map.Store(at, std::string(length, letter));
      return stored != 0 ? stored : map.Unmap();
    });
  }

  void Copy() {
    const off_t from = Below(100000);
    const off_t to = 100000 + Below(100000);
    Both("copy_file_range", [&](int fd) {
      off_t in = from;
      off_t out = to;
      return ::copy_file_range(fd, &in, fd, &out, 20000, 0);
    });
  }

  static std::string Difference(const std::string& a, const std::string& b) {
    std::size_t at = 0;
    while (at < a.size() && at < b.size() && a[at] == b[at]) ++at;
    return "sizes " + std::to_string(a.size()) + " and " + std::to_string(b.size()) +
           ", different from byte " + std::to_string(at);
  }

  std::filesystem::path paths_[2];
  std::mt19937 random_;
  int fds_[2] = {-1, -1};
};

TEST_P(MountFiles, RandomChangesGiveTheSameFileAsAnOrdinaryFolder) {
  BTFC_NEED_MOUNT();
  Mounted mounted("random", Options());
  TempFolder native("native");
  for (unsigned seed = 1; seed <= 3; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    const std::string name = "f" + std::to_string(seed);
    Twins twins(mounted / name, native / name, seed);
    for (int step = 0; step < 300; ++step) {
      SCOPED_TRACE("step " + std::to_string(step));
      twins.Step();
      if (step % 10 == 9) twins.Compare();
      if (step % 25 == 24) twins.Reopen();
      // Now and then a version comes about in between.
      if (step % 100 == 99) {
        ASSERT_EQ(::truncate((mounted / name).c_str(), 150000), 0);
        ASSERT_EQ(::truncate((native / name).c_str(), 150000), 0);
      }
      if (HasFatalFailure()) return;
    }
  }
}

TEST_P(MountFiles, WhatWasCommittedIsReadAgainAndChangedAgain) {
  BTFC_NEED_MOUNT();
  Mounted mounted("again", Options());
  std::string bytes;
  for (int round = 0; round < 5; ++round) {
    bytes += std::string(20000, static_cast<char>('a' + round));
    const int fd = ::open((mounted / "f").c_str(), O_WRONLY | O_CREAT | O_APPEND, 0644);
    ASSERT_GE(fd, 0);
    ASSERT_EQ(::write(fd, bytes.data() + bytes.size() - 20000, 20000), 20000);
    ASSERT_EQ(::close(fd), 0);
    EXPECT_TRUE(ReadWhole(mounted / "f") == bytes) << "before the commit";
    ASSERT_TRUE(mounted.WaitQuiet());
    EXPECT_TRUE(ReadWhole(mounted / "f") == bytes) << "after the commit";
    const auto node = mounted.catalogue().Lookup(index::kRootIno, "f");
    ASSERT_TRUE(node);
    EXPECT_EQ(node.value().content.id, index::ContentIdOf(bytes));
  }
}

INSTANTIATE_TEST_SUITE_P(Mode, MountFiles, testing::Bool(),
                         [](const auto& suite) { return suite.param ? "Passthrough" : "Cached"; });

}  // namespace
}  // namespace btfc::fs::test
