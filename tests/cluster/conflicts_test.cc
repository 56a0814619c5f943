// Two hosts that cannot see each other change the same things; then the cable is back.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <set>

#include "lab.h"

namespace btfc::cluster {
namespace {

class ConflictsTest : public testing::Test {
 protected:
  void Cut() {
    lab_->operator[](1).SetLink(false);
    ASSERT_TRUE(Eventually([&] { return !(*lab_)[0].Connected(1); }, std::chrono::seconds(60)));
  }
  void Heal() {
    (*lab_)[1].SetLink(true);
    ASSERT_TRUE(Eventually([&] { return (*lab_)[0].Connected(1) && (*lab_)[1].Connected(1); },
                           std::chrono::seconds(60)));
  }
  std::set<std::string> Texts(const Host& host) const {
    std::set<std::string> texts;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(host.mount())) {
      if (entry.is_regular_file()) texts.insert(ReadFile(entry.path()));
    }
    return texts;
  }
  std::size_t CountConflicts(const Host& host) const {
    std::size_t count = 0;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(host.mount())) {
      count += entry.path().filename().string().find(" (conflict ") != std::string::npos;
    }
    return count;
  }

  std::unique_ptr<Lab> lab_;
};

TEST_F(ConflictsTest, BothTextsOfAnEditedFileStay) {
  BTFC_NEEDS_LAB();
  lab_ = std::make_unique<Lab>(2);
  auto& lab = *lab_;
  ASSERT_TRUE(lab.StartAll());
  WriteFile(lab[0] / "report.txt", "first");
  ASSERT_TRUE(lab.EventuallyEqual());
  Cut();
  WriteFile(lab[0] / "report.txt", "from one");
  WriteFile(lab[1] / "report.txt", "from two");
  Heal();
  ASSERT_TRUE(lab.EventuallyEqual());
  EXPECT_EQ((std::set<std::string>{"from one", "from two"}), Texts(lab[0]));
  EXPECT_EQ(1U, CountConflicts(lab[0]));
  EXPECT_EQ(1, lab[0].Status()["conflicts"]);
}

// An editor writes a new file and renames it over the old one.
TEST_F(ConflictsTest, BothTextsOfAFileSavedByEditorsStay) {
  BTFC_NEEDS_LAB();
  lab_ = std::make_unique<Lab>(2);
  auto& lab = *lab_;
  ASSERT_TRUE(lab.StartAll());
  WriteFile(lab[0] / "notes", "first");
  ASSERT_TRUE(lab.EventuallyEqual());
  Cut();
  for (int i = 0; i < 2; ++i) {
    WriteFile(lab[i] / ".notes.tmp", "saved by " + std::to_string(i));
    ASSERT_EQ(0, rename((lab[i] / ".notes.tmp").c_str(), (lab[i] / "notes").c_str()));
  }
  Heal();
  ASSERT_TRUE(lab.EventuallyEqual());
  EXPECT_EQ((std::set<std::string>{"saved by 0", "saved by 1"}), Texts(lab[0]));
  EXPECT_EQ(1U, CountConflicts(lab[0]));
}

TEST_F(ConflictsTest, AnEditBeatsADeletion) {
  BTFC_NEEDS_LAB();
  lab_ = std::make_unique<Lab>(2);
  auto& lab = *lab_;
  ASSERT_TRUE(lab.StartAll());
  WriteFile(lab[0] / "a", "first");
  WriteFile(lab[0] / "b", "first");
  ASSERT_TRUE(lab.EventuallyEqual());
  Cut();
  ASSERT_EQ(0, unlink((lab[0] / "a").c_str()));
  WriteFile(lab[1] / "a", "edited");
  ASSERT_EQ(0, unlink((lab[0] / "b").c_str()));
  Heal();
  ASSERT_TRUE(lab.EventuallyEqual());
  EXPECT_EQ("edited", ReadFile(lab[0] / "a"));
  EXPECT_NE(0, access((lab[1] / "b").c_str(), F_OK));
}

TEST_F(ConflictsTest, FoldersOfOneNameBecomeOne) {
  BTFC_NEEDS_LAB();
  lab_ = std::make_unique<Lab>(2);
  auto& lab = *lab_;
  ASSERT_TRUE(lab.StartAll());
  Cut();
  for (int i = 0; i < 2; ++i) {
    ASSERT_EQ(0, mkdir((lab[i] / "photos").c_str(), 0755));
    WriteFile(lab[i] / ("photos/" + std::to_string(i)), "photo " + std::to_string(i));
    WriteFile(lab[i] / "photos/same", "the same");
  }
  Heal();
  ASSERT_TRUE(lab.EventuallyEqual());
  EXPECT_EQ((std::set<std::string>{"photo 0", "photo 1", "the same"}), Texts(lab[1]));
  EXPECT_EQ(0U, CountConflicts(lab[1]));
}

// Nobody who looks ever finds the file missing or half-written.
TEST_F(ConflictsTest, ASaveArrivesInOneStep) {
  BTFC_NEEDS_LAB();
  lab_ = std::make_unique<Lab>(2);
  auto& lab = *lab_;
  ASSERT_TRUE(lab.StartAll());
  WriteFile(lab[0] / "doc", "version 0");
  ASSERT_TRUE(lab.EventuallyEqual());
  for (int i = 1; i <= 50; ++i) {
    const auto text = "version " + std::to_string(i);
    WriteFile(lab[0] / "doc.tmp", text);
    ASSERT_EQ(0, rename((lab[0] / "doc.tmp").c_str(), (lab[0] / "doc").c_str()));
    ASSERT_TRUE(Eventually([&] {
      const auto seen = ReadFile(lab[1] / "doc");
      EXPECT_EQ(0U, seen.rfind("version ", 0)) << "seen: '" << seen << "'";
      return seen == text;
    }));
  }
}

}  // namespace
}  // namespace btfc::cluster
