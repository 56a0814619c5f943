// What the daemon answers about earlier versions and members, and the times that people give.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "fs/version_keeper.h"
#include "index/merkle.h"
#include "mount-helper/commands.h"
#include "mount-helper/version_requests.h"
#include "tests/support/temp_dir.h"

namespace btfc::mount_helper {
namespace {

using nlohmann::json;

constexpr std::int64_t kSecond = 1'000'000'000;

class VersionRequests : public testing::Test {
 protected:
  void SetUp() override {
    index::CatalogueOptions options;
    options.path = folder_.path() / "index.db";
    options.host_name = "here";
    options.now_ns = [this] { return now_ns_; };
    auto opened = index::Catalogue::Open(options);
    ASSERT_TRUE(opened);
    catalogue_ = std::move(opened).value();
  }
  void Write(const std::string& name, const std::string& bytes) {
    now_ns_ += kSecond;
    auto node = catalogue_->Lookup(index::kRootIno, name);
    if (!node) node = catalogue_->Make(index::kRootIno, name, {});
    ASSERT_TRUE(node);
    index::NewVersion version;
    version.id = index::ContentIdOf(bytes);
    version.inline_bytes = bytes;
    ASSERT_TRUE(catalogue_->BeginWrite(node.value().ino, false));
    ASSERT_TRUE(catalogue_->Commit(node.value().ino, version, false));
  }
  std::string Bytes(const std::string& name) {
    const auto node = catalogue_->Lookup(index::kRootIno, name);
    return node ? catalogue_->InlineBytes(node.value().ino).value() : "(nothing)";
  }

  test::TempDir folder_{"version-requests"};
  std::int64_t now_ns_ = 1'700'000'000 * kSecond;
  std::unique_ptr<index::Catalogue> catalogue_;
};

TEST_F(VersionRequests, RestoreTakesTheOneBeforeOrTheOneOfATime) {
  Write("f", "1");
  const std::int64_t then = now_ns_;
  Write("f", "2");
  Write("f", "3");
  EXPECT_EQ(AnswerLog({{"path", "f"}}, *catalogue_).at("versions").size(), 3U);
  now_ns_ += kSecond;
  EXPECT_FALSE(AnswerRestore({{"path", "f"}}, *catalogue_).contains("error"));
  EXPECT_EQ(Bytes("f"), "2");
  EXPECT_FALSE(AnswerRestore({{"path", "f"}, {"at_ns", then}}, *catalogue_).contains("error"));
  EXPECT_EQ(Bytes("f"), "1");
  const auto early = AnswerRestore({{"path", "f"}, {"at_ns", then - 9 * kSecond}}, *catalogue_);
  EXPECT_NE(early.at("error").get<std::string>().find("no version from"), std::string::npos);
  EXPECT_TRUE(AnswerRestore({{"path", "g"}}, *catalogue_).contains("error"));
}

TEST_F(VersionRequests, UndeleteBringsBack) {
  Write("f", "1");
  ASSERT_TRUE(catalogue_->Unlink(index::kRootIno, "f"));
  now_ns_ += kSecond;
  EXPECT_TRUE(AnswerLog({{"path", "f"}}, *catalogue_).at("versions")[0].at("removed").get<bool>());
  EXPECT_EQ(AnswerUndelete({{"path", "f"}}, *catalogue_).at("count").get<int>(), 1);
  EXPECT_EQ(Bytes("f"), "1");
  const auto again = AnswerUndelete({{"path", "f"}}, *catalogue_);
  EXPECT_EQ(again.at("error").get<std::string>(), "something is there already");
  EXPECT_TRUE(again.contains("about_path"));
}

TEST_F(VersionRequests, RemoveNamesWhatItCannotFind) {
  EXPECT_NE(
      AnswerRemove({{"host", "nobody"}}, *catalogue_).at("error").get<std::string>().find("nobody"),
      std::string::npos);
  EXPECT_NE(
      AnswerRemove({{"host", "here"}}, *catalogue_).at("error").get<std::string>().find("itself"),
      std::string::npos);
}

TEST(ParseTimeTest, AgesAndLocalTimes) {
  const std::int64_t now = 1'700'000'000 * kSecond;
  EXPECT_EQ(ParseTime("90s", now), now - 90 * kSecond);
  EXPECT_EQ(ParseTime("2h", now), now - 7200 * kSecond);
  EXPECT_EQ(ParseTime("3d", now), now - 3 * 86400 * kSecond);
  tm time{};
  time.tm_year = 126;
  time.tm_mon = 10;
  time.tm_mday = 22;
  time.tm_hour = 18;
  time.tm_min = 30;
  time.tm_isdst = -1;
  const std::int64_t want = std::int64_t{::mktime(&time)} * kSecond + kSecond - 1;
  EXPECT_EQ(ParseTime("2026-11-22 18:30", now), want);
  EXPECT_EQ(ParseTime("2026-11-22T18:30:00", now), want);
  for (const char* wrong : {"", "h", "-2h", "2w", "yesterday", "2026-11-22 18:30 x"}) {
    EXPECT_FALSE(ParseTime(wrong, now)) << wrong;
  }
}

TEST(VersionKeeper, YieldsWhereTheDiskIsNearlyFull) {
  const fs::VersionPolicy policy{.age_ns = 5, .percent = 10, .bytes = 0};
  EXPECT_EQ(fs::LimitsOf(policy, 50, 1000, 500).bytes, 100U);
  EXPECT_EQ(fs::LimitsOf(policy, 50, 1000, 500).age_ns, 5);
  EXPECT_EQ(fs::LimitsOf(policy, 50, 1000, 20).bytes, 20U) << "30 more bytes have to be free";
  EXPECT_EQ(fs::LimitsOf(policy, 10, 1000, 0).bytes, 0U);
  EXPECT_EQ(fs::LimitsOf({.age_ns = 5, .percent = 10, .bytes = 7}, 50, 1000, 500).bytes, 7U);
}

TEST(VersionKeeper, LooksAtTheDiskAsOftenAsItCouldFill) {
  using std::chrono::seconds;
  EXPECT_EQ(fs::FilledNoSoonerThan(0), seconds(0));
  EXPECT_LT(fs::FilledNoSoonerThan(std::uint64_t{1} << 30U), seconds(1));
  EXPECT_GT(fs::FilledNoSoonerThan(std::uint64_t{1} << 40U), seconds(60));
}

}  // namespace
}  // namespace btfc::mount_helper
