#include "mount-helper/import_record.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>

#include "tests/support/temp_dir.h"

namespace btfc::mount_helper {
namespace {

using How = ImportRecord::How;

class ImportRecordTest : public testing::Test {
 protected:
  void SetUp() override {
    std::filesystem::create_directories(below_ / "a" / "b");
    std::filesystem::create_directory(cache_);
    Write("one");
    Write("a/two");
    Write("a/b/three");
    folder_ = fs::Fd(open(below_.c_str(), O_RDONLY | O_DIRECTORY));
    ASSERT_TRUE(folder_);
  }
  void Write(const std::string& path, const std::string& text = "x") {
    std::ofstream(below_ / path) << text;
  }
  ImportRecord::News News(How known = How::kTaken) {
    const auto news = ImportRecord(cache_).Compare(folder_.get(), known, [] { return false; });
    EXPECT_TRUE(news);
    return news ? news.value() : ImportRecord::News();
  }
  void TakeAll(How how = How::kTaken) {
    ImportRecord record(cache_);
    ASSERT_TRUE(record.AddAll(how, folder_.get(), [] { return false; }));
  }
  using Names = std::unordered_set<std::string>;

  const test::TempDir dir_;
  const std::filesystem::path below_ = dir_ / "below";
  const std::filesystem::path cache_ = dir_ / "cache";
  fs::Fd folder_;
};

TEST_F(ImportRecordTest, EverythingIsNewAtFirstAndNothingAfterwards) {
  const auto first = News();
  EXPECT_EQ(5U, first.count);
  EXPECT_EQ((Names{"one", "a", "a/two", "a/b", "a/b/three"}), first.on_the_way);
  TakeAll();
  EXPECT_EQ(0U, News().count);
}

TEST_F(ImportRecordTest, WhatIsNewIsNamedWithItsFolders) {
  TakeAll();
  Write("a/b/new");
  const auto news = News();
  EXPECT_EQ(1U, news.count);
  EXPECT_EQ(std::vector<std::string>{"a/b/new"}, news.examples);
  EXPECT_EQ((Names{"a", "a/b", "a/b/new"}), news.on_the_way);
}

TEST_F(ImportRecordTest, AnotherSizeTimeKindOrNameIsNew) {
  TakeAll();
  Write("one", "longer");
  EXPECT_EQ(1U, News().count);
  TakeAll();
  const timespec times[2] = {{1, 0}, {2, 0}};
  ASSERT_EQ(0, utimensat(folder_.get(), "a/two", times, 0));
  EXPECT_EQ(std::vector<std::string>{"a/two"}, News().examples);
  TakeAll();
  std::filesystem::rename(below_ / "one", below_ / "other");
  EXPECT_EQ(std::vector<std::string>{"other"}, News().examples);
  TakeAll();
  std::filesystem::remove(below_ / "other");
  std::filesystem::create_directory(below_ / "other");
  EXPECT_EQ(std::vector<std::string>{"other"}, News().examples);
}

TEST_F(ImportRecordTest, WhatWasLeftIsNoNewsButCanBeTaken) {
  TakeAll(How::kLeft);
  EXPECT_EQ(0U, News(How::kLeft).count);
  EXPECT_EQ(5U, News(How::kTaken).count);
}

TEST_F(ImportRecordTest, ADamagedRecordEndsAtTheDamage) {
  TakeAll();
  const auto file = cache_ / "import.record";
  ASSERT_EQ(5U * 17, std::filesystem::file_size(file));
  std::filesystem::resize_file(file, 2 * 17 + 5);
  EXPECT_EQ(3U, News().count);
  TakeAll();  // goes on after the last whole entry
  EXPECT_EQ(0U, News().count);
}

}  // namespace
}  // namespace btfc::mount_helper
