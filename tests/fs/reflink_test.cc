// Caches on filesystems whose files can share their places on the disk.
#include <linux/falloc.h>

#include <fstream>
#include <random>

#include "fs/extents.h"
#include "tests/fs/files_fixture.h"
#include "tests/support/reflink_disk.h"

namespace btfc::fs {
namespace {

constexpr std::uint64_t kMiB = std::uint64_t{1} << 20U;
constexpr std::uint64_t kPage = 4096;

class ReflinkTest : public test::ReflinkDisk {
 protected:
  // Two files that share all they have.
  void MakeTwins(const std::string& bytes) {
    WriteFile(path() / "base", bytes);
    base_ = OpenFile(path() / "base", O_RDONLY).value();
    file_ = OpenFile(path() / "file", O_CREAT | O_RDWR, 0600).value();
    ASSERT_TRUE(Reflink(base_.get(), file_.get()));
  }
  WrittenRanges Unshared() {
    auto unshared = UnsharedRanges(base_.get(), file_.get(), [] { return false; });
    EXPECT_TRUE(unshared) << unshared.error().message();
    return unshared ? unshared.value() : WrittenRanges();
  }

  Fd base_, file_;
};

TEST_P(ReflinkTest, ACopySharesAll) {
  MakeTwins(Bytes(16 * kMiB));
  EXPECT_FALSE(Unshared().Touch(0, 16 * kMiB));
}

TEST_P(ReflinkTest, WhatIsWrittenLiesElsewhere) {
  MakeTwins(Bytes(16 * kMiB));
  ASSERT_TRUE(WriteAll(file_.get(), 5 * kMiB + 7, "some bytes"));
  const auto unshared = Unshared();
  EXPECT_TRUE(unshared.Touch(5 * kMiB, 20));
  EXPECT_FALSE(unshared.Touch(0, 4 * kMiB));
  EXPECT_FALSE(unshared.Touch(7 * kMiB, 9 * kMiB));
}

TEST_P(ReflinkTest, AnotherFileOfTheSameBytesIsAnotherFile) {
  MakeTwins(Bytes(4 * kMiB));
  WriteFile(path() / "base", Bytes(4 * kMiB));
  EXPECT_TRUE(Unshared().Touch(0, 1));
  EXPECT_TRUE(Unshared().Touch(4 * kMiB - 1, 1));
}

// Whatever is done to the one: where their bytes differ, it is told.
TEST_P(ReflinkTest, EveryDifferenceIsTold) {
  const std::size_t size = 8 * kMiB;
  std::mt19937 random(3);
  for (int round = 0; round < 20; ++round) {
    MakeTwins(Bytes(size, random()));
    for (int i = 0; i < 4; ++i) {
      const std::uint64_t offset = random() % size;
      const std::uint64_t length = 1 + random() % (i == 0 ? kMiB : 3 * kPage);
      const auto at = static_cast<off_t>(offset);
      const auto much = static_cast<off_t>(length);
      switch (random() % 5) {
        case 0:
          ASSERT_EQ(::fallocate(file_.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, at, much),
                    0);
          break;
        case 1:
          ASSERT_EQ(::fallocate(file_.get(), FALLOC_FL_ZERO_RANGE, at, much), 0);
          break;
        case 2:
          ASSERT_EQ(::ftruncate(file_.get(), at), 0);
          ASSERT_EQ(::ftruncate(file_.get(), static_cast<off_t>(size)), 0);
          break;
        default:
          ASSERT_TRUE(WriteAll(file_.get(), offset, Bytes(length, random())));
      }
    }
    const auto unshared = Unshared();
    const auto now = ReadFile(path() / "file");
    const auto was = ReadFile(path() / "base");
    for (std::size_t at = 0; at < size; at += kPage) {
      if (now.compare(at, kPage, was, at, kPage) == 0) continue;
      ASSERT_TRUE(unshared.Touch(at, kPage)) << round << ": " << at;
    }
  }
}

// With the kernel's passthrough the daemon does not see what is written.
class CommitOnReflinksTest : public ReflinkTest {
 protected:
  void SetUp() override {
    ReflinkTest::SetUp();
    if (HasFatalFailure() || IsSkipped()) return;
    host_ = std::make_unique<Host>('a', path());
    ASSERT_TRUE(host_->store->reflinks());
    host_->Start(true);
  }
  void TearDown() override {
    host_.reset();
    ReflinkTest::TearDown();
  }
  void Edit(index::Ino ino, std::uint64_t offset, std::string_view bytes) {
    const auto opened = host_->MustOpen(ino, O_RDWR);
    ASSERT_EQ(opened.mode, KernelMode::kPassthrough);
    auto below = host_->backing.Open(opened.backing_id, O_RDWR);
    ASSERT_TRUE(WriteAll(below.get(), offset, bytes));
    below.Reset();
    host_->Close(opened.handle);
    ASSERT_TRUE(host_->Quiet());
  }
  std::unique_ptr<Host> host_;
};

TEST_P(CommitOnReflinksTest, TheVersionIsWhatTheBytesAre) {
  std::string bytes = Bytes(20 * kMiB);
  const auto ino = host_->File("image", bytes);
  for (const std::uint64_t offset : {std::uint64_t{0}, 7 * kMiB + 5, 20 * kMiB - 3, 21 * kMiB}) {
    Edit(ino, offset, "some bytes");
    if (bytes.size() < offset + 10) bytes.resize(offset + 10);
    bytes.replace(offset, 10, "some bytes");
    EXPECT_EQ(host_->Id(ino), index::ContentIdOf(bytes)) << offset;
    EXPECT_TRUE(Same(host_->ReadAll(ino), bytes)) << offset;
  }
  EXPECT_EQ(host_->Versions(ino), 5U);
}

// The hash of a piece that nobody wrote to is taken on trust: here it is a wrong one, and is used.
TEST_P(CommitOnReflinksTest, PiecesThatAreSharedAreNotReadAgain) {
  std::string bytes = Bytes(20 * kMiB);
  const auto ino = host_->File("image", bytes);
  auto pieces = host_->source.PiecesOf(host_->Id(ino));
  ASSERT_TRUE(pieces);
  pieces->at(2)[0] ^= 1;
  host_->source.Hashed(host_->Id(ino), *pieces);
  Edit(ino, 7 * kMiB, "some bytes");
  EXPECT_EQ(host_->source.PiecesOf(host_->Id(ino))->at(2), pieces->at(2));
  bytes.replace(7 * kMiB, 10, "some bytes");
  EXPECT_NE(host_->Id(ino), index::ContentIdOf(bytes));
}

INSTANTIATE_TEST_SUITE_P(Disks, ReflinkTest, testing::Values("xfs", "btrfs"));
INSTANTIATE_TEST_SUITE_P(Disks, CommitOnReflinksTest, testing::Values("xfs", "btrfs"));

}  // namespace
}  // namespace btfc::fs
