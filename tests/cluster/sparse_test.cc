// Files with holes: they take no room on other hosts, and nobody sends their zeros. BTFC_LONG: one
// of 10 GiB.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>

#include "lab.h"

namespace btfc::cluster {
namespace {

constexpr off_t kMiB = 1 << 20;

constexpr off_t kPieceMax = 4 * kMiB;  // of a file of 10 GiB

off_t LargeSize() { return (std::getenv("BTFC_LONG") != nullptr ? 10'240 : 1'024) * kMiB; }

std::int64_t DiskBytes(const std::filesystem::path& file) {
  struct stat st {};
  if (::stat(file.c_str(), &st) != 0) return -1;
  return st.st_blocks * 512;
}

// Where data begins in the file, as SEEK_DATA says.
std::vector<off_t> DataStarts(const std::filesystem::path& file) {
  std::vector<off_t> starts;
  const int fd = ::open(file.c_str(), O_RDONLY);
  for (off_t at = 0; (at = ::lseek(fd, at, SEEK_DATA)) >= 0; at = ::lseek(fd, at, SEEK_HOLE)) {
    starts.push_back(at);
  }
  ::close(fd);
  return starts;
}

void PutAt(const std::filesystem::path& file, off_t offset, const std::string& bytes, off_t size) {
  const int fd = ::open(file.c_str(), O_RDWR | O_CREAT, 0644);
  ASSERT_GE(fd, 0);
  ASSERT_EQ(::ftruncate(fd, size), 0);
  ASSERT_EQ(::pwrite(fd, bytes.data(), bytes.size(), offset), std::ssize(bytes));
  ASSERT_EQ(::close(fd), 0);
}

TEST(SparseTest, HolesTravelAsHoles) {
  BTFC_NEEDS_LAB();
  Lab lab(2);
  ASSERT_TRUE(lab.StartAll());
  auto& a = lab[0];
  auto& b = lab[1];
  const std::string some = RandomBytes(64 * 1024, 1);
  const std::uint64_t sent_before = a.SentBytes();
  PutAt(a / "image", 100 * kMiB, some, 256 * kMiB);
  PutAt(a / "empty", 0, {}, 256 * kMiB);
  PutAt(a / "small", 600 * 1024, "end", kMiB);
  ASSERT_TRUE(lab.EventuallyEqual());
  EXPECT_LT(a.SentBytes() - sent_before, 8U * kMiB) << "zeros are not sent";
  for (const char* name : {"image", "empty", "small"}) {
    SCOPED_TRACE(name);
    EXPECT_LE(DiskBytes(a / name), 256 * 1024);
    EXPECT_LE(DiskBytes(b / name), 256 * 1024) << "it takes no room there";
    EXPECT_GE(DiskBytes(b / name), DiskBytes(a / name)) << "but what its data take";
    EXPECT_EQ(DataStarts(a / name), DataStarts(b / name));
  }
  EXPECT_EQ(DataStarts(b / "image"), std::vector<off_t>{100 * kMiB});

  // Changed over there: it stays sparse on both.
  PutAt(b / "image", 200 * kMiB, some, 256 * kMiB);
  PutAt(b / "image", 50 * kMiB, some, 300 * kMiB);
  ASSERT_TRUE(lab.EventuallyEqual());
  const std::vector<off_t> expected{50 * kMiB, 100 * kMiB, 200 * kMiB};
  EXPECT_EQ(DataStarts(a / "image"), expected);
  EXPECT_EQ(DataStarts(b / "image"), expected);
  EXPECT_LE(DiskBytes(a / "image"), 512 * 1024);

  // What is punched there is a hole here.
  const int fd = ::open((a / "image").c_str(), O_RDWR);
  ASSERT_GE(fd, 0);
  ASSERT_EQ(::fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 90 * kMiB, 20 * kMiB), 0);
  ASSERT_EQ(::close(fd), 0);
  ASSERT_TRUE(lab.EventuallyEqual());
  EXPECT_EQ(DataStarts(b / "image"), (std::vector<off_t>{50 * kMiB, 200 * kMiB}));
}

std::string GetAt(const std::filesystem::path& file, off_t offset, std::size_t size) {
  std::string bytes(size, '\0');
  const int fd = ::open(file.c_str(), O_RDONLY);
  const auto got = ::pread(fd, bytes.data(), size, offset);
  ::close(fd);
  bytes.resize(static_cast<std::size_t>(std::max<ssize_t>(got, 0)));
  return bytes;
}

// A disk image: here and there some data, the last byte at its end.
TEST(SparseTest, ALargeOneCostsWhatItsDataCost) {
  BTFC_NEEDS_LAB();
  Lab lab(2);
  ASSERT_TRUE(lab.StartAll());
  auto& a = lab[0];
  auto& b = lab[1];
  const off_t size = LargeSize();
  const off_t block = 64 * 1024;
  const std::vector<off_t> places{0, size / 3 / block * block, size / 2, size - block};
  const std::uint64_t sent_before = a.SentBytes();
  {
    const int fd = ::open((a / "disk").c_str(), O_RDWR | O_CREAT, 0644);
    ASSERT_GE(fd, 0);
    for (const off_t place : places) {
      const auto some = RandomBytes(block, static_cast<unsigned>(place / block));
      ASSERT_EQ(::pwrite(fd, some.data(), some.size(), place), block);
    }
    ASSERT_EQ(::close(fd), 0);
  }
  ASSERT_TRUE(Eventually(
      [&] {
        std::error_code error;
        return std::filesystem::file_size(b / "disk", error) == static_cast<std::uintmax_t>(size) &&
               !error && b.Complete();
      },
      std::chrono::minutes(5)));
  EXPECT_EQ(DataStarts(b / "disk"), places);
  for (const off_t place : places) {
    EXPECT_EQ(GetAt(b / "disk", place, block),
              RandomBytes(block, static_cast<unsigned>(place / block)));
  }
  EXPECT_EQ(GetAt(b / "disk", size / 2 - block, block), std::string(block, '\0'));
  for (const Host* host : {&a, &b}) {
    EXPECT_LE(DiskBytes(*host / "disk"), kMiB);
  }
  // Pieces without data are not sent; above 1 GiB they are larger.
  EXPECT_LT(a.SentBytes() - sent_before, places.size() * kPieceMax + kMiB);
}

}  // namespace
}  // namespace btfc::cluster
