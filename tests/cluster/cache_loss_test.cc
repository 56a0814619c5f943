// Caches that are damaged, emptied or gone: nothing is deleted anywhere, and everything comes back.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <set>

#include "lab.h"

namespace btfc::cluster {
namespace {

class CacheLossTest : public testing::Test {
 protected:
  void SetUp() override {
    BTFC_NEEDS_LAB();
    lab_ = std::make_unique<Lab>(2);
    auto& lab = *lab_;
    ASSERT_TRUE(lab.StartAll());
    ASSERT_EQ(0, mkdir((lab[0] / "d").c_str(), 0755));
    WriteFile(lab[0] / "d/inline", "a few bytes");
    WriteFile(lab[0] / "d/small", RandomBytes(200'000, 1));
    WriteFile(lab[1] / "large", RandomBytes(9 << 20, 2));
    ASSERT_EQ(0, symlink("d/small", (lab[1] / "link").c_str()));
    ASSERT_TRUE(lab.EventuallyEqual());
    before_ = Describe(lab[0].mount());
  }
  Host& keeper() { return (*lab_)[0]; }
  Host& victim() { return (*lab_)[1]; }
  // Both hosts show what there was before.
  void ExpectEverythingBack() {
    ASSERT_TRUE(Eventually([&] { return victim().Connected(); }));
    EXPECT_TRUE(lab_->EventuallyEqual());
    EXPECT_EQ(before_, Describe(keeper().mount()));
    EXPECT_EQ(before_, Describe(victim().mount()));
  }
  void Damage(const std::filesystem::path& file, std::size_t from, std::size_t to) {
    auto bytes = ReadFile(file);
    for (auto at = from; at < std::min(to, bytes.size()); ++at) bytes[at] = '\xa5';
    WriteFile(file, bytes);
  }
  Finished Rebuild(const std::string& more = "") {
    return Shell(BTFC_PROGRAM " rebuild --cache " + victim().cache().native() + more);
  }
  std::string Word() {
    const auto status = victim().Status();
    return status.contains("import") ? status["import"].get<std::string>() : "";
  }

  std::unique_ptr<Lab> lab_;
  std::string before_;
};

TEST_F(CacheLossTest, AnEmptiedCacheComesBack) {
  ASSERT_EQ(0, victim().Stop());
  ASSERT_TRUE(Shell("cd " + victim().cache().native() +
                    " && find . -mindepth 1 ! -name cluster.key -delete")
                  .ok());
  ASSERT_TRUE(victim().Start());
  ExpectEverythingBack();
}

TEST_F(CacheLossTest, ACacheThatIsGoneComesBackWithTheKey) {
  ASSERT_EQ(0, victim().Stop());
  std::filesystem::remove_all(victim().cache());
  std::filesystem::create_directory(victim().cache());
  lab_->ShareKey(victim());
  ASSERT_TRUE(victim().Start());
  ExpectEverythingBack();
}

// Under a running daemon: whatever it does then, the others keep everything.
TEST_F(CacheLossTest, ACacheEmptiedUnderTheDaemonDeletesNothingElsewhere) {
  ASSERT_TRUE(Shell("cd " + victim().cache().native() +
                    " && find objects work partial index.db* -delete 2>/dev/null; true")
                  .ok());
  Shell("ls -lR " + victim().mount().native());
  WriteFile(keeper() / "meanwhile", "written elsewhere");
  before_ = Describe(keeper().mount());
  victim().Kill();
  EXPECT_EQ(before_, Describe(keeper().mount()));
  ASSERT_TRUE(Shell("rm -f " + victim().cache().native() + "/index.db*").ok());
  ASSERT_TRUE(victim().Start());
  ExpectEverythingBack();
}

TEST_F(CacheLossTest, LostObjectsAreFetchedAgain) {
  ASSERT_EQ(0, victim().Stop());
  ASSERT_TRUE(Shell("rm -rf " + victim().cache().native() + "/objects").ok());
  ASSERT_TRUE(victim().Start());
  ASSERT_TRUE(Eventually([&] { return victim().Connected(); }));
  EXPECT_TRUE(Eventually([&] { return Describe(victim().mount()) == before_; }));
  EXPECT_EQ(before_, Describe(keeper().mount()));
}

TEST_F(CacheLossTest, ADamagedIndexIsRebuiltAndNothingIsFetchedAgain) {
  ASSERT_EQ(0, victim().Stop());
  const auto index = victim().cache() / "index.db";
  Damage(index, 0, 16);
  EXPECT_FALSE(victim().Start());
  EXPECT_NE(std::string::npos, victim().Log().find("btfc rebuild --cache")) << victim().Log();
  const auto rebuilt = Rebuild();
  ASSERT_EQ(0, rebuilt.code) << rebuilt.output;
  const auto received = victim().ReceivedBytes();
  ASSERT_TRUE(victim().Start());
  EXPECT_TRUE(Eventually([&] { return Word().rfind("rebuild done", 0) == 0; })) << Word();
  ExpectEverythingBack();
  EXPECT_LT(victim().ReceivedBytes() - received, 4U << 20);
  EXPECT_EQ(0, victim().Status()["conflicts"]);
}

// What no other host has yet is read from the damaged index.
TEST_F(CacheLossTest, WhatOnlyThisHostHadSurvivesItsIndex) {
  victim().SetLink(false);
  ASSERT_TRUE(Eventually([&] { return !victim().Connected(); }, std::chrono::seconds(60)));
  WriteFile(victim() / "d/mine", "never told to anybody");
  WriteFile(victim() / "d/mine too", RandomBytes(300'000, 3));
  WriteFile(victim() / "d/inline", "edited here");
  WriteFile(keeper() / "theirs", "written while nobody looked");
  ASSERT_TRUE(Eventually([&] { return victim().Status()["writing"] == 0; }));
  // Written, not closed, and killed.
  const int fd = open((victim() / "d/open").c_str(), O_WRONLY | O_CREAT, 0640);
  ASSERT_GE(fd, 0);
  ASSERT_EQ(7, write(fd, "halfway", 7));
  victim().Kill();
  close(fd);
  // What is in the log would mend the database.
  const auto index = victim().cache() / "index.db";
  ASSERT_TRUE(Shell("sqlite3 " + index.native() + " 'PRAGMA wal_checkpoint(TRUNCATE)'").ok());
  Damage(index, 0, 16);
  EXPECT_FALSE(victim().Start());
  ASSERT_EQ(0, Rebuild().code);
  victim().SetLink(true);
  ASSERT_TRUE(victim().Start());
  EXPECT_TRUE(
      Eventually([&] { return Word().rfind("rebuild done", 0) == 0; }, std::chrono::seconds(60)))
      << Word();
  EXPECT_TRUE(lab_->EventuallyEqual());
  for (auto* host : {&keeper(), &victim()}) {
    EXPECT_EQ("never told to anybody", ReadFile(*host / "d/mine"));
    EXPECT_EQ(RandomBytes(300'000, 3), ReadFile(*host / "d/mine too"));
    EXPECT_EQ("written while nobody looked", ReadFile(*host / "theirs"));
    // Its name may have been in the journal alone, which goes with the index; its bytes are here.
    EXPECT_TRUE(Shell("grep -rqx halfway " + host->mount().native()).ok());
    // Edited apart from the index that was lost: both texts stay.
    const auto texts = Shell("cat " + (*host / "d").native() + "/inline*").output;
    EXPECT_NE(std::string::npos, texts.find("a few bytes")) << texts;
    EXPECT_NE(std::string::npos, texts.find("edited here")) << texts;
  }
}

TEST_F(CacheLossTest, ALonelyHostIsRebuiltFromItsOwnIndex) {
  ASSERT_EQ(0, keeper().Stop());
  ASSERT_EQ(0, victim().Stop());
  Damage(victim().cache() / "index.db", 0, 16);
  ASSERT_EQ(0, Rebuild(" --alone").code);
  ASSERT_TRUE(victim().Start());
  EXPECT_TRUE(Eventually([&] { return Word().rfind("rebuild done", 0) == 0; })) << Word();
  EXPECT_EQ(before_, Describe(victim().mount()));
}

// Never a mount of an empty folder.
TEST_F(CacheLossTest, AnIndexThatIsEmptyOrCutOffIsRebuilt) {
  for (const std::string length : {"0", "4096", "6000"}) {
    ASSERT_EQ(0, victim().Stop());
    ASSERT_TRUE(Shell("truncate -s " + length + " " + (victim().cache() / "index.db").native() +
                      " && : > " + (victim().folder() / "log").native())
                    .ok());
    EXPECT_FALSE(victim().Start()) << length;
    EXPECT_NE(std::string::npos, victim().Log().find("btfc rebuild --cache")) << victim().Log();
    ASSERT_EQ(0, Rebuild().code);
    ASSERT_TRUE(victim().Start());
    EXPECT_TRUE(Eventually([&] { return Word().rfind("rebuild done", 0) == 0; })) << Word();
    ExpectEverythingBack();
  }
}

// Nothing is left but contents: they come back without their names.
TEST_F(CacheLossTest, ALonelyHostWithoutAnyIndexKeepsItsContents) {
  ASSERT_EQ(0, keeper().Stop());
  ASSERT_EQ(0, victim().Stop());
  ASSERT_EQ(0, truncate((victim().cache() / "index.db").c_str(), 0));
  ASSERT_EQ(0, Rebuild(" --alone").code);
  ASSERT_TRUE(victim().Start());
  EXPECT_TRUE(Eventually([&] { return Word().rfind("rebuild done: 2 files", 0) == 0; })) << Word();
  std::set<std::string> found;
  for (const auto& entry : std::filesystem::directory_iterator(victim() / "found again")) {
    found.insert(ReadFile(entry.path()));
  }
  EXPECT_EQ((std::set{RandomBytes(200'000, 1), RandomBytes(9 << 20, 2)}), found);
}

TEST_F(CacheLossTest, AKillAtTheVeryFirstStartIsNoDamage) {
  auto& fresh = lab_->Add();
  for (int i = 0; i < 2; ++i) {
    fresh.SetEnvironment("BTFC_FAULT_POINT=index.open:1");
    EXPECT_FALSE(fresh.Start());
    EXPECT_EQ(128 + SIGKILL, fresh.WaitForEnd(std::chrono::milliseconds(0)));
  }
  fresh.SetEnvironment("");
  ASSERT_TRUE(fresh.Start()) << fresh.Log();
  WriteFile(fresh / "file", "x");
  EXPECT_EQ(0, fresh.Stop());
}

TEST_F(CacheLossTest, AMountedFolderIsNotRebuilt) {
  const auto refused = Rebuild();
  EXPECT_EQ(1, refused.code);
  EXPECT_NE(std::string::npos, refused.output.find("umount")) << refused.output;
  EXPECT_TRUE(std::filesystem::exists(victim().cache() / "index.db"));
}

}  // namespace
}  // namespace btfc::cluster
