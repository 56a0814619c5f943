#include "fs/written_ranges.h"

#include <gtest/gtest.h>

#include <random>
#include <string>
#include <vector>

#include "tests/fs/files_fixture.h"

namespace btfc::fs {
namespace {

constexpr std::uint64_t kUnit = std::uint64_t{256} << 10U;
constexpr std::uint64_t kMax = ~std::uint64_t{0};

TEST(WrittenRangesTest, NothingIsTouchedAtFirst) {
  const WrittenRanges ranges;
  EXPECT_FALSE(ranges.Touch(0, kMax));
}

TEST(WrittenRangesTest, AByteTouchesItsUnit) {
  WrittenRanges ranges;
  ranges.Add(3 * kUnit + 5, 1);
  EXPECT_TRUE(ranges.Touch(3 * kUnit, 1));
  EXPECT_TRUE(ranges.Touch(4 * kUnit - 1, 1));
  EXPECT_TRUE(ranges.Touch(0, 10 * kUnit));
  EXPECT_FALSE(ranges.Touch(0, 3 * kUnit));
  EXPECT_FALSE(ranges.Touch(4 * kUnit, kUnit));
}

TEST(WrittenRangesTest, EndsOfWhatIsPossible) {
  WrittenRanges ranges;
  ranges.Add(7, 0);
  EXPECT_FALSE(ranges.Touch(0, kUnit));
  ranges.Add(kMax - 1, 100);
  EXPECT_TRUE(ranges.Touch(kMax, 1));
  EXPECT_FALSE(ranges.Touch(0, kMax - 2 * kUnit));
  ranges.AddFrom(kUnit);
  EXPECT_TRUE(ranges.Touch(1000 * kUnit, 1));
  EXPECT_FALSE(ranges.Touch(0, kUnit));
}

TEST(WrittenRangesTest, IsWhatAMapOfUnitsSays) {
  std::mt19937 random(1);
  for (int round = 0; round < 200; ++round) {
    WrittenRanges ranges;
    std::vector<bool> written(64);
    for (int i = 0; i < 20; ++i) {
      const std::uint64_t offset = random() % (60 * kUnit);
      const std::uint64_t length = random() % (4 * kUnit);
      ranges.Add(offset, length);
      for (std::uint64_t at = offset / kUnit; length > 0 && at * kUnit < offset + length; ++at) {
        written[at] = true;
      }
      for (std::uint64_t unit = 0; unit < written.size(); ++unit) {
        ASSERT_EQ(ranges.Touch(unit * kUnit + 9, 1), written[unit]) << round << " " << unit;
      }
    }
  }
}

TEST(WrittenRangesTest, TooManyAreAll) {
  WrittenRanges ranges;
  for (std::uint64_t i = 1; i < 40'000; ++i) ranges.Add(2 * i * kUnit, 1);
  EXPECT_TRUE(ranges.Touch(39'999 * 2 * kUnit, 1));
  EXPECT_TRUE(ranges.Touch(3 * kUnit, 1));
  EXPECT_FALSE(ranges.Touch(0, kUnit));
}

// --- what a commit costs

class CostOfACommitTest : public testing::Test {
 protected:
  CostOfACommitTest() : host_('a') { host_.Start(); }
  void WriteBehind(index::Ino ino, std::uint64_t offset, std::string_view bytes) {
    const auto fd = OpenFile(host_.store->WorkPath(ino), O_WRONLY);
    ASSERT_TRUE(fd);
    ASSERT_TRUE(WriteAll(fd.value().get(), offset, bytes));
  }
  Host host_;
};

// A byte that changes behind the daemon shows that it was not read again.
TEST_F(CostOfACommitTest, IsThatOfWhatWasWritten) {
  std::string bytes = Bytes(kLarge);
  const auto ino = host_.File("f", bytes);
  const auto opened = host_.MustOpen(ino, O_RDWR);
  host_.Write(opened.handle, "changed", 5 * kUnit);
  bytes.replace(5 * kUnit, 7, "changed");
  WriteBehind(ino, 8 * kUnit, "unseen");
  host_.Close(opened.handle);
  ASSERT_TRUE(host_.Quiet());
  EXPECT_EQ(host_.Id(ino), index::ContentIdOf(bytes));
  EXPECT_EQ(host_.Versions(ino), 2U);
}

TEST_F(CostOfACommitTest, IsThatOfWhatWasAppended) {
  std::string bytes = Bytes(kLarge);
  const auto ino = host_.File("log", bytes);
  for (int i = 0; i < 3; ++i) {
    const auto opened = host_.MustOpen(ino, O_WRONLY | O_APPEND);
    host_.Write(opened.handle, "a line\n", bytes.size());
    bytes += "a line\n";
    if (i == 2) WriteBehind(ino, kUnit, "unseen");
    host_.Close(opened.handle);
    ASSERT_TRUE(host_.Quiet());
    EXPECT_EQ(host_.Id(ino), index::ContentIdOf(bytes)) << i;
  }
}

TEST_F(CostOfACommitTest, IsAPassAfterATruncation) {
  const auto ino = host_.File("f", Bytes(kLarge));
  const auto first = host_.MustOpen(ino, O_RDWR);
  const auto second = host_.MustOpen(ino, O_WRONLY | O_TRUNC);
  host_.Write(second.handle, "x", kLarge - 1);
  host_.Close(second.handle);
  host_.Close(first.handle);
  ASSERT_TRUE(host_.Quiet());
  EXPECT_EQ(host_.Id(ino), index::ContentIdOf(std::string(kLarge - 1, '\0') + "x"));
}

// What a killed daemon had been told of is not known to the next one.
TEST_F(CostOfACommitTest, IsAPassAfterACrash) {
  std::string bytes = Bytes(kLarge);
  const auto ino = host_.File("f", bytes);
  const auto opened = host_.MustOpen(ino, O_RDWR);
  host_.Write(opened.handle, "changed", 5 * kUnit);
  bytes.replace(5 * kUnit, 7, "changed");
  host_.Crash();
  host_.Start();
  ASSERT_TRUE(host_.Quiet());
  EXPECT_EQ(host_.Id(ino), index::ContentIdOf(bytes));
}

// What the working file began with is not what the version's hashes say.
TEST_F(CostOfACommitTest, IsAPassIfTheObjectWasFoundDamaged) {
  std::string bytes = Bytes(kLarge);
  const auto ino = host_.File("f", bytes);
  const auto opened = host_.MustOpen(ino, O_RDWR);
  host_.Write(opened.handle, "changed", 5 * kUnit);
  bytes.replace(5 * kUnit, 7, "changed");
  WriteBehind(ino, 8 * kUnit, "damage");
  bytes.replace(8 * kUnit, 6, "damage");
  host_.files->Lost(index::ContentIdOf(Bytes(kLarge)));
  host_.Close(opened.handle);
  ASSERT_TRUE(host_.Quiet());
  EXPECT_EQ(host_.Id(ino), index::ContentIdOf(bytes));
}

// A file of a user who edits it below the mount, too, is read again.
TEST_F(CostOfACommitTest, IsAPassForAFileWithNamesOutside) {
  std::string bytes = Bytes(kLarge);
  const auto ino = host_.File("f", bytes);
  const auto object = host_.store->ObjectPath(host_.Id(ino));
  const TempDir outside;
  std::filesystem::create_hard_link(object, outside.path() / "original");
  {
    const auto fd = OpenFile(outside.path() / "original", O_WRONLY);
    ASSERT_TRUE(fd);
    ASSERT_TRUE(WriteAll(fd.value().get(), 8 * kUnit, "edited"));
    bytes.replace(8 * kUnit, 6, "edited");
  }
  const auto opened = host_.MustOpen(ino, O_RDWR);
  host_.Write(opened.handle, "changed", 5 * kUnit);
  bytes.replace(5 * kUnit, 7, "changed");
  host_.Close(opened.handle);
  ASSERT_TRUE(host_.Quiet());
  EXPECT_EQ(host_.Id(ino), index::ContentIdOf(bytes));
}

class CostOfAnyCommitTest : public CostOfACommitTest, public testing::WithParamInterface<unsigned> {
 protected:
  std::size_t Below(std::size_t limit) { return random_() % limit; }

  // One change of the open file, and of what its bytes are expected to be.
  void Change(Handle handle, std::string* bytes) {
    const std::size_t offset = Below(kMost);
    const std::size_t length = 1 + Below(kUnit);
    switch (Below(6)) {
      case 0:
        return Truncate(handle, Below(kMost), bytes);
      case 1: {
        constexpr int kPunch = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
        ASSERT_TRUE(host_.files->Allocate(handle, kPunch, offset, length));
        if (offset < bytes->size()) {
          const std::size_t part = std::min(length, bytes->size() - offset);
          bytes->replace(offset, part, part, '\0');
        }
        return;
      }
      case 2:
        ASSERT_TRUE(host_.files->Allocate(handle, 0, offset, length));
        if (bytes->size() < offset + length) bytes->resize(offset + length);
        return;
      case 3: {
        if (bytes->empty()) return;
        const std::size_t from = Below(bytes->size());
        const auto copied = host_.files->CopyRange(handle, from, handle, offset, length);
        if (!copied) return;  // one range over the other
        const std::string part = bytes->substr(from, copied.value());
        return Replace(bytes, offset, part);
      }
      default: {
        const std::string part = Bytes(length, static_cast<unsigned>(random_()));
        host_.Write(handle, part, offset);
        return Replace(bytes, offset, part);
      }
    }
  }
  void Truncate(Handle handle, std::size_t size, std::string* bytes) {
    Answer<void> answer;
    host_.files->Truncate(ino_, handle, size, answer.Done());
    ASSERT_TRUE(answer.Wait());
    bytes->resize(size);
  }
  static void Replace(std::string* bytes, std::size_t offset, const std::string& part) {
    if (bytes->size() < offset + part.size()) bytes->resize(offset + part.size());
    bytes->replace(offset, part.size(), part);
  }

  static constexpr std::size_t kMost = std::size_t{3} << 20U;  // bytes
  std::mt19937 random_{GetParam()};
  index::Ino ino_ = 0;
};

TEST_P(CostOfAnyCommitTest, TheVersionIsWhatTheBytesAre) {
  std::string bytes = Bytes(kMost);
  ino_ = host_.File("f", bytes);
  for (int round = 0; round < 12; ++round) {
    const int flags = O_RDWR | (Below(8) == 0 ? O_TRUNC : 0);
    const auto opened = host_.MustOpen(ino_, flags);
    if ((flags & O_TRUNC) != 0) bytes.clear();
    for (std::size_t i = Below(4); i-- > 0;) Change(opened.handle, &bytes);
    host_.Close(opened.handle);
    ASSERT_TRUE(host_.Quiet());
    ASSERT_EQ(host_.Id(ino_), index::ContentIdOf(bytes)) << round;
    ASSERT_TRUE(Same(host_.ReadAll(ino_), bytes)) << round;
  }
}

INSTANTIATE_TEST_SUITE_P(Seeds, CostOfAnyCommitTest, testing::Range(1U, 9U));

}  // namespace
}  // namespace btfc::fs
