// btfc log, restore, undelete and remove, with another host watching.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>

#include "lab.h"

namespace btfc::cluster {
namespace {

class VersionsTest : public testing::Test {
 protected:
  void SetUp() override {
    BTFC_NEEDS_LAB();
    lab_ = std::make_unique<Lab>(2);
    ASSERT_TRUE(lab_->StartAll());
  }
  Host& here() { return (*lab_)[0]; }
  Host& there() { return (*lab_)[1]; }
  static Finished Btfc(const std::string& arguments) { return Shell(BTFC_PROGRAM " " + arguments); }
  static std::string Quoted(const std::filesystem::path& path) { return "'" + path.native() + "'"; }
  void Save(const std::string& name, const std::string& bytes) {
    WriteFile(here() / name, bytes);
    ASSERT_TRUE(Eventually([&] { return ReadFile(there() / name) == bytes; })) << name;
  }

  std::unique_ptr<Lab> lab_;
};

TEST_F(VersionsTest, WhatIsRestoredHereIsRestoredThere) {
  Save("note", "first");
  Save("note", "second");
  Save("large", RandomBytes(2 << 20, 1));
  Save("large", RandomBytes(3 << 20, 2));
  auto restored = Btfc("restore " + Quoted(here() / "note"));
  EXPECT_EQ(0, restored.code) << restored.output;
  EXPECT_EQ("first", ReadFile(here() / "note"));
  EXPECT_TRUE(Eventually([&] { return ReadFile(there() / "note") == "first"; }));
  // On the host that did not write it.
  restored = Btfc("restore " + Quoted(there() / "large"));
  EXPECT_EQ(0, restored.code) << restored.output;
  EXPECT_TRUE(Eventually([&] { return ReadFile(here() / "large") == RandomBytes(2 << 20, 1); }));
  EXPECT_TRUE(lab_->EventuallyEqual());
  EXPECT_EQ(0, here().Status()["conflicts"]);
}

TEST_F(VersionsTest, WhatIsBroughtBackHereComesBackThere) {
  ASSERT_EQ(0, mkdir((here() / "d").c_str(), 0750));
  Save("d/a", "small");
  Save("d/b", RandomBytes(2 << 20, 3));
  ASSERT_TRUE(lab_->EventuallyEqual());
  const auto before = Describe(there().mount());
  std::filesystem::remove_all(here() / "d");
  ASSERT_TRUE(Eventually([&] { return !std::filesystem::exists(there() / "d"); }));
  // By the other host than the one that deleted it.
  const auto undeleted = Btfc("undelete " + Quoted(there() / "d"));
  EXPECT_EQ(0, undeleted.code) << undeleted.output;
  EXPECT_TRUE(lab_->EventuallyEqual());
  EXPECT_EQ(before, Describe(here().mount()));
}

TEST_F(VersionsTest, ARemovedHostIsRefusedAndTheOthersGoOn) {
  auto& third = lab_->Add();
  lab_->ShareKey(third);
  ASSERT_TRUE(third.Start());
  ASSERT_TRUE(Eventually(
      [&] { return here().Connected(2) && there().Connected(2) && third.Connected(2); }));
  Save("file", "for three");
  ASSERT_TRUE(lab_->EventuallyEqual());
  // All three hosts of the laboratory have the machine's name.
  std::string device;
  const auto devices = third.Status()["devices"];
  for (const auto& known : devices) {
    if (known["self"] == true) device = known["device"].get<std::string>();
  }
  const auto name = devices[0]["name"].get<std::string>();
  const auto several = Btfc("remove '" + name + "' " + Quoted(here().mount()));
  EXPECT_EQ(1, several.code);
  EXPECT_NE(std::string::npos, several.output.find("several hosts")) << several.output;
  const auto removed = Btfc("remove " + device + " " + Quoted(here().mount()));
  EXPECT_EQ(0, removed.code) << removed.output;
  EXPECT_TRUE(Eventually([&] {
    return here().Status()["peers"].size() == 1 && there().Status()["peers"].size() == 1 &&
           third.Status()["peers"].empty();
  }));
  Save("file", "for two");
  EXPECT_EQ("for three", ReadFile(third / "file"));
  const auto again = Btfc("remove " + device + " " + Quoted(there().mount()));
  EXPECT_EQ(1, again.code);
  EXPECT_NE(std::string::npos, again.output.find("removed already")) << again.output;
}

TEST_F(VersionsTest, NothingIsBroughtBackOnAReadOnlyMount) {
  Save("note", "first");
  Save("note", "second");
  ASSERT_EQ(0, unlink((here() / "note").c_str()));
  ASSERT_TRUE(Eventually([&] { return !std::filesystem::exists(there() / "note"); }));
  ASSERT_EQ(0, there().Stop());
  ASSERT_TRUE(there().Start("ro"));
  const auto point = Quoted(there().mount());
  for (const std::string& call : std::vector<std::string>{
           "restore " + Quoted(there() / "note"), "undelete " + Quoted(there() / "note"),
           "remove host " + point, "import " + point}) {
    const auto refused = Btfc(call);
    EXPECT_EQ(1, refused.code) << call;
    EXPECT_NE(std::string::npos, refused.output.find("mounted read-only")) << refused.output;
  }
  EXPECT_EQ(0, Btfc("log " + Quoted(there() / "note")).code) << "reading is fine";
}

TEST_F(VersionsTest, NamesThatAreNotUtf8AndFolders) {
  const std::string name = "caf\xe9 \xff\x01";
  Save(name, "first");
  Save(name, "second");
  for (auto* host : {&here(), &there()}) {
    const auto path = Quoted(*host / name);
    const auto log = Btfc("log " + path);
    EXPECT_EQ(0, log.code) << log.output;
    EXPECT_NE(std::string::npos, log.output.find("current")) << log.output;
    const auto json = Btfc("log --json " + path);
    EXPECT_EQ(0, json.code) << json.output;
    EXPECT_EQ(2U, nlohmann::json::parse(json.output).size());
  }
  const auto restored = Btfc("restore " + Quoted(here() / name));
  EXPECT_EQ(0, restored.code) << restored.output;
  EXPECT_EQ("first", ReadFile(here() / name));
  ASSERT_EQ(0, unlink((here() / name).c_str()));
  const auto undeleted = Btfc("undelete " + Quoted(here() / name));
  EXPECT_EQ(0, undeleted.code) << undeleted.output;
  EXPECT_EQ("first", ReadFile(here() / name));
  const auto none = Btfc("log " + Quoted(here() / "\xff none"));
  EXPECT_EQ(1, none.code);
  EXPECT_NE(std::string::npos, none.output.find("nothing is kept of it")) << none.output;

  ASSERT_EQ(0, mkdir((here() / "folder").c_str(), 0755));
  for (const std::string call : {"log ", "log --json ", "restore "}) {
    const auto refused = Btfc(call + Quoted(here() / "folder"));
    EXPECT_EQ(1, refused.code) << refused.output;
    EXPECT_NE(std::string::npos, refused.output.find("folder: it is a folder")) << refused.output;
  }
  const auto root = Btfc("log " + Quoted(here().mount()));
  EXPECT_EQ(1, root.code);
  EXPECT_NE(std::string::npos, root.output.find("it is a folder")) << root.output;
}

}  // namespace
}  // namespace btfc::cluster
