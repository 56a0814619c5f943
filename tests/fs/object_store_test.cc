// The store's names, and copies of files.
#include "fs/object_store.h"

#include "tests/fs/files_fixture.h"

namespace btfc::fs {
namespace {

class ObjectStoreTest : public testing::Test {
 protected:
  ObjectStoreTest() : store_(std::move(ObjectStore::Open(dir_.path() / "cache").value())) {}
  std::filesystem::path Working(const std::string& bytes, index::Ino ino = 5) {
    WriteFile(store_->WorkPath(ino), bytes);
    return store_->WorkPath(ino);
  }
  TempDir dir_;
  std::unique_ptr<ObjectStore> store_;
  const std::string bytes_ = Bytes(kMiddle);
  const index::ContentId id_ = index::ContentIdOf(bytes_);
};

TEST_F(ObjectStoreTest, FoldersAreTheOwnersAlone) {
  for (const char* name : {"", "objects", "partial", "work", "lost+found"}) {
    struct stat st {};
    ASSERT_EQ(::stat((dir_.path() / "cache" / name).c_str(), &st), 0) << name;
    EXPECT_EQ(st.st_mode & 07777, 0700U) << name;
  }
  EXPECT_TRUE(ObjectStore::Open(dir_.path() / "cache")) << "again";
  WriteFile(dir_.path() / "file", "");
  EXPECT_EQ(ObjectStore::Open(dir_.path() / "file").error(), Errno(ENOTDIR));
}

TEST_F(ObjectStoreTest, NamesSayWhatTheyHold) {
  const auto path = store_->ObjectPath(id_);
  EXPECT_EQ(path.parent_path().filename(), index::ToHex(id_).substr(0, 2));
  EXPECT_EQ(index::ParseContentName(path.filename().string()), id_);
  for (const std::string& name :
       std::vector<std::string>{"", "ab", "5", index::ToHex(id_) + "-", index::ToHex(id_) + "-x",
                                index::ToHex(id_) + "-07", "+" + index::ToHex(id_).substr(1) + "-5",
                                index::ToHex(id_) + "_5"}) {
    EXPECT_FALSE(index::ParseContentName(name)) << name;
  }
}

TEST_F(ObjectStoreTest, AWorkingFileBecomesAnObject) {
  const auto working = Working(bytes_);
  EXPECT_FALSE(store_->Has(id_));
  EXPECT_TRUE(store_->Link(working, id_).value());
  EXPECT_TRUE(store_->Has(id_));
  EXPECT_TRUE(store_->Link(working, id_).value()) << "the same file again";
  EXPECT_FALSE(store_->Link(Working(bytes_, 6), id_).value()) << "another file";
  struct stat st {};
  ASSERT_EQ(::stat(store_->ObjectPath(id_).c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 07777, 0400U);
  EXPECT_TRUE(store_->Take(id_, working));
  EXPECT_FALSE(store_->Has(id_));
  EXPECT_TRUE(Same(ReadFile(working), bytes_));
  EXPECT_TRUE(store_->Remove(id_)) << "it is not there";
}

TEST_F(ObjectStoreTest, AnObjectOfAnotherLengthDoesNotCountAndIsMended) {
  ASSERT_TRUE(store_->Link(Working("cut off"), id_));
  EXPECT_FALSE(store_->Has(id_));
  EXPECT_TRUE(store_->Link(Working(bytes_, 6), id_).value());
  EXPECT_TRUE(store_->Has(id_));
  EXPECT_TRUE(Same(ReadFile(store_->ObjectPath(id_)), bytes_));
}

TEST_F(ObjectStoreTest, WhatArrivedIsAdopted) {
  EXPECT_FALSE(store_->Adopt(id_));
  WriteFile(store_->PartialPath(id_), "cut off");
  EXPECT_EQ(store_->Adopt(id_).error(), Error::kCorrupt);
  WriteFile(store_->PartialPath(id_), bytes_);
  ASSERT_TRUE(store_->Adopt(id_));
  EXPECT_TRUE(store_->Has(id_));
  EXPECT_FALSE(std::filesystem::exists(store_->PartialPath(id_)));
  // And again, beside a file that may be open.
  struct stat before {};
  struct stat after {};
  ASSERT_EQ(::stat(store_->ObjectPath(id_).c_str(), &before), 0);
  WriteFile(store_->PartialPath(id_), bytes_);
  ASSERT_TRUE(store_->Adopt(id_));
  ASSERT_EQ(::stat(store_->ObjectPath(id_).c_str(), &after), 0);
  EXPECT_EQ(before.st_ino, after.st_ino);
  EXPECT_FALSE(std::filesystem::exists(store_->PartialPath(id_)));
}

TEST_F(ObjectStoreTest, ExchangeLeavesTheNameAtNoMoment) {
  ASSERT_TRUE(store_->Link(Working(bytes_), id_));
  const auto copy = Working(bytes_, 6);
  struct stat object {};
  struct stat taken {};
  ASSERT_EQ(::stat(store_->ObjectPath(id_).c_str(), &object), 0);
  ASSERT_TRUE(store_->Exchange(copy, id_));
  ASSERT_EQ(::stat(copy.c_str(), &taken), 0);
  EXPECT_EQ(object.st_ino, taken.st_ino);
  EXPECT_EQ(taken.st_mode & 07777, 0600U);
  EXPECT_TRUE(Same(ReadFile(store_->ObjectPath(id_)), bytes_));
}

TEST(CloneTest, CopiesAndKeepsHoles) {
  TempDir dir;
  const auto from = OpenFile(dir.path() / "from", O_CREAT | O_RDWR, 0600);
  const auto to = OpenFile(dir.path() / "to", O_CREAT | O_RDWR, 0600);
  ASSERT_TRUE(from && to);
  constexpr std::uint64_t kSize = std::uint64_t{64} << 20U;
  ASSERT_TRUE(WriteAll(from.value().get(), 1 << 20, Bytes(kMiddle)));
  ASSERT_EQ(::ftruncate(from.value().get(), kSize), 0);
  ASSERT_TRUE(CloneFile(from.value().get(), to.value().get(), kSize));
  const auto st = StatOf(to.value().get()).value();
  EXPECT_EQ(static_cast<std::uint64_t>(st.st_size), kSize);
  EXPECT_LT(st.st_blocks * 512, 4 << 20);
  EXPECT_TRUE(Same(ReadUpTo(to.value().get(), 1 << 20, kMiddle).value(), Bytes(kMiddle)));
  EXPECT_EQ(CloneFile(from.value().get(), to.value().get(), kSize, [] { return true; }).has_error(),
            !Reflink(from.value().get(), to.value().get()).has_value());
}

}  // namespace
}  // namespace btfc::fs
