// A disk that refused what was written once, and takes the next for granted.
#include "fs/object_store.h"
#include "tests/fs/files_fixture.h"
#include "tests/fs/io_faults.h"

namespace btfc::fs {
namespace {

constexpr std::size_t kHole = std::size_t{8} << 20U;

class LostSyncTest : public testing::Test {
 protected:
  // Fetched, as a whole: data, a hole, data.
  LostSyncTest() : store_(std::move(ObjectStore::Open(dir_.path() / "cache").value())) {
    const auto fd = OpenFile(store_->PartialPath(id_), O_CREAT | O_RDWR, 0600).value();
    EXPECT_TRUE(WriteAll(fd.get(), 0, data_));
    EXPECT_TRUE(WriteAll(fd.get(), data_.size() + kHole, data_));
  }
  std::uint64_t TakenBytes(const std::filesystem::path& path) const {
    struct stat st {};
    EXPECT_EQ(::stat(path.c_str(), &st), 0);
    return static_cast<std::uint64_t>(st.st_blocks) * 512;
  }

  TempDir dir_;
  std::unique_ptr<ObjectStore> store_;
  const std::string data_ = Bytes(std::size_t{1} << 20U);
  const std::string bytes_ = data_ + std::string(kHole, '\0') + data_;
  const index::ContentId id_ = index::ContentIdOf(bytes_);
};

TEST_F(LostSyncTest, WhatWasFetchedIsWrittenAgain) {
  const LostSyncs lost(1);
  EXPECT_EQ(store_->Adopt(id_).error(), Errno(EIO));
  EXPECT_FALSE(store_->Has(id_));
  EXPECT_EQ(LostSyncs::SavedBytes(), 0U) << "that takes long, and is the next one's";
  ASSERT_TRUE(store_->Adopt(id_));
  EXPECT_GE(LostSyncs::SavedBytes(), 2 * data_.size());
  EXPECT_TRUE(Same(ReadFile(store_->ObjectPath(id_)), bytes_));
  EXPECT_LT(TakenBytes(store_->ObjectPath(id_)), kHole) << "the hole";
}

TEST_F(LostSyncTest, AndAgainWhenThatFailsToo) {
  const LostSyncs lost(2, 1);
  EXPECT_EQ(store_->Adopt(id_).error(), Errno(EIO));
  EXPECT_EQ(store_->Adopt(id_).error(), Errno(EIO)) << "a write failed";
  EXPECT_EQ(store_->Adopt(id_).error(), Errno(EIO)) << "what was written again was lost, too";
  ASSERT_TRUE(store_->Adopt(id_));
  EXPECT_GE(LostSyncs::SavedBytes(), 2 * data_.size());
}

// What had left the memory is what the disk has.
TEST_F(LostSyncTest, OtherBytesAreNotAdopted) {
  const LostSyncs lost(1);
  EXPECT_EQ(store_->Adopt(id_).error(), Errno(EIO));
  const auto fd = OpenFile(store_->PartialPath(id_), O_RDWR).value();
  ASSERT_TRUE(WriteAll(fd.get(), 4096, std::string(4096, '\0')));
  EXPECT_EQ(store_->Adopt(id_).error(), Error::kCorrupt);
  EXPECT_FALSE(store_->Has(id_));
  ASSERT_TRUE(WriteAll(fd.get(), 0, data_)) << "what is good of it is still there";
  ASSERT_TRUE(store_->Adopt(id_));
}

}  // namespace
}  // namespace btfc::fs
