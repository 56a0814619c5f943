// Objects that are damaged, missing or needed by nobody.
#include "fs/scrub.h"

#include "tests/fs/files_fixture.h"

namespace btfc::fs {
namespace {

class ScrubTest : public testing::Test {
 protected:
  ScrubTest() : host_('a') {
    host_.Start();
    options_.stray_age = std::chrono::seconds(0);
  }
  std::filesystem::path Object(index::Ino ino) { return host_.store->ObjectPath(host_.Id(ino)); }
  static void Damage(const std::filesystem::path& file) {
    ASSERT_EQ(::chmod(file.c_str(), 0600), 0);
    auto fd = OpenFile(file, O_RDWR);
    ASSERT_TRUE(fd);
    ASSERT_TRUE(WriteAll(fd.value().get(), 70'000, "rot"));
  }
  ScrubReport Verify() {
    if (!scrub_) {
      scrub_ = std::make_unique<Scrub>(*host_.catalogue, *host_.store, host_.source, options_,
                                       [this](const index::ContentId& id) {
                                         host_.files->Lost(id);
                                         lost_.push_back(id);
                                       });
    }
    scrub_->Verify();
    EXPECT_TRUE(Eventually([&] { return !scrub_->Report().running; }));
    return scrub_->Report();
  }
  bool Present(const index::ContentId& id) { return host_.catalogue->IsPresent(id).value(); }

  Host host_;
  ScrubOptions options_;
  std::vector<index::ContentId> lost_;  // the scrub's thread, read while it is idle
  std::unique_ptr<Scrub> scrub_;
};

TEST_F(ScrubTest, WhatIsWholeStays) {
  host_.File("inline", Bytes(kSmall));
  const auto middle = host_.File("middle", Bytes(kMiddle));
  const auto large = host_.File("large", Bytes(kLarge));
  const auto report = Verify();
  EXPECT_EQ(report.objects, 2U);
  EXPECT_EQ(report.bytes, kMiddle + kLarge);
  EXPECT_EQ(report.damaged + report.missing + report.unreadable + report.strays, 0U);
  EXPECT_GT(report.ended_ns, 0);
  EXPECT_TRUE(Same(host_.ReadAll(middle), Bytes(kMiddle)));
  EXPECT_TRUE(Same(host_.ReadAll(large), Bytes(kLarge)));
}

TEST_F(ScrubTest, ADamagedObjectIsTakenOutAndComesBack) {
  const auto ino = host_.File("file", Bytes(kLarge));
  const auto id = host_.Id(ino);
  host_.File("other", Bytes(kMiddle, 2));
  ASSERT_TRUE(Eventually([&] { return host_.WorkNames().empty(); }));  // the object's name alone
  Damage(Object(ino));
  EXPECT_EQ(Verify().damaged, 1U);
  EXPECT_EQ(lost_, std::vector{id});
  EXPECT_FALSE(Present(id));
  EXPECT_FALSE(host_.store->Has(id));
  EXPECT_TRUE(std::filesystem::exists(host_.store->PartialPath(id))) << "its good pieces are kept";
  EXPECT_EQ(host_.Node(ino).content.id, id) << "the file is what it was";
  ASSERT_EQ(scrub_->Lost().size(), 1U);
  EXPECT_EQ(scrub_->Lost()[0].paths, std::vector<std::string>{"/file"});
  EXPECT_EQ(Verify().damaged, 0U) << "it is known";
  EXPECT_EQ(scrub_->Lost().size(), 1U) << "and not forgotten";

  host_.Arrive(id, Bytes(kLarge));
  EXPECT_TRUE(scrub_->Lost().empty());
  EXPECT_TRUE(Same(host_.ReadAll(ino), Bytes(kLarge)));
  EXPECT_EQ(host_.Versions(ino), 1U);
}

TEST_F(ScrubTest, AReadOfADamagedObjectWaitsForTheRightBytes) {
  const auto ino = host_.File("file", Bytes(kMiddle));
  Damage(Object(ino));
  Verify();
  const auto opened = host_.MustOpen(ino, O_RDONLY);
  Answer<std::string> answer;
  host_.files->Read(opened.handle, 0, kMiddle, answer.Done());
  auto asked = host_.source.Take();
  host_.Arrive(host_.Id(ino), Bytes(kMiddle));
  asked.done(Ok());
  const auto read = answer.Wait();
  ASSERT_TRUE(read);
  EXPECT_TRUE(Same(read.value(), Bytes(kMiddle)));
}

TEST_F(ScrubTest, AnEmptiedStoreIsNoDeletion) {
  std::vector<index::Ino> inodes;
  for (unsigned i = 0; i < 5; ++i) {
    inodes.push_back(host_.File("f" + std::to_string(i), Bytes(kMiddle, i)));
  }
  const auto before = host_.catalogue->Known();
  for (const auto& entry : std::filesystem::directory_iterator(host_.store->objects_folder())) {
    std::filesystem::remove_all(entry.path());
  }
  EXPECT_EQ(Verify().missing, 5U);
  EXPECT_EQ(lost_.size(), 5U);
  EXPECT_EQ(host_.catalogue->Known(), before) << "other hosts are told nothing";
  EXPECT_EQ(host_.catalogue->Count().value().files, 5U);
  EXPECT_EQ(host_.catalogue->Missing(std::nullopt, 10).value().size(), 5U);
  for (unsigned i = 0; i < 5; ++i) {
    host_.Arrive(host_.Id(inodes[i]), Bytes(kMiddle, i));
    EXPECT_TRUE(Same(host_.ReadAll(inodes[i]), Bytes(kMiddle, i)));
  }
}

TEST_F(ScrubTest, WhatCannotBeReadIsPutAside) {
  const auto ino = host_.File("file", Bytes(kMiddle));
  const auto path = Object(ino);
  std::filesystem::remove(path);
  std::filesystem::create_directory(path);  // read(2) answers an error
  EXPECT_EQ(Verify().unreadable, 1U);
  EXPECT_FALSE(std::filesystem::exists(path));
  EXPECT_TRUE(std::filesystem::exists(host_.store->lost_folder() / path.filename()));
  host_.Arrive(host_.Id(ino), Bytes(kMiddle));
  EXPECT_TRUE(Same(host_.ReadAll(ino), Bytes(kMiddle)));
}

// import=link: the file has a name that is the user's, and is never written to.
TEST_F(ScrubTest, AFileWithNamesOutsideIsNotWrittenTo) {
  const auto ino = host_.File("file", Bytes(kMiddle));
  ASSERT_TRUE(Eventually([&] { return host_.WorkNames().empty(); }));
  const auto outside = host_.dir_.path() / "outside";
  ASSERT_EQ(::link(Object(ino).c_str(), outside.c_str()), 0);
  Damage(outside);
  EXPECT_EQ(Verify().damaged, 1U);
  EXPECT_FALSE(std::filesystem::exists(host_.store->PartialPath(host_.Id(ino))));
  EXPECT_TRUE(std::filesystem::exists(outside));
}

TEST_F(ScrubTest, AFileThatIsBeingWrittenIsNotDamaged) {
  const auto ino = host_.File("file", Bytes(kLarge));
  const auto opened = host_.MustOpen(ino, O_RDWR);
  host_.Write(opened.handle, "changed");
  const auto report = Verify();
  EXPECT_EQ(report.damaged + report.missing, 0U);
  host_.Close(opened.handle);
  ASSERT_TRUE(host_.Quiet());
  EXPECT_EQ(Verify().objects, host_.store->reflinks() ? 2U : 1U);  // and the version before
  EXPECT_TRUE(Same(host_.ReadAll(ino), "changed" + Bytes(kLarge).substr(7)));
}

TEST_F(ScrubTest, AStrayFileGoes) {
  host_.File("file", Bytes(kMiddle));
  const auto stray = Bytes(kMiddle, 9);
  const auto id = index::ContentIdOf(stray);
  WriteFile(host_.store->WorkPath(999), stray);
  ASSERT_TRUE(host_.store->Link(host_.store->WorkPath(999), id));
  std::filesystem::remove(host_.store->WorkPath(999));
  WriteFile(host_.store->objects_folder() / "not an object", "stays");
  EXPECT_EQ(Verify().strays, 1U);
  EXPECT_FALSE(host_.store->Has(id));
  EXPECT_TRUE(std::filesystem::exists(host_.store->objects_folder() / "not an object"));
}

// After `btfc rebuild` the new index does not know yet what only this host had.
TEST_F(ScrubTest, AStrayFileThatAnotherIndexNeedsStays) {
  const auto stray = Bytes(kMiddle, 9);
  const auto id = index::ContentIdOf(stray);
  WriteFile(host_.store->WorkPath(999), stray);
  ASSERT_TRUE(host_.store->Link(host_.store->WorkPath(999), id));
  std::filesystem::remove(host_.store->WorkPath(999));
  std::atomic<bool> keep = true;
  options_.keep_strays = [&] { return keep.load(); };
  EXPECT_EQ(Verify().strays, 0U);
  EXPECT_TRUE(host_.store->Has(id));
  keep = false;
  EXPECT_EQ(Verify().strays, 1U);
  scrub_.reset();
}

TEST_F(ScrubTest, ThePaceIsKeptAndTheEndIsNotWaitedFor) {
  const auto ino = host_.File("file", Bytes(kLarge));
  Damage(Object(ino));
  options_.bytes_per_second = 1;  // a pass would take weeks
  options_.first_pass = std::chrono::seconds(0);
  scrub_ = std::make_unique<Scrub>(*host_.catalogue, *host_.store, host_.source, options_,
                                   [this](const index::ContentId& id) { lost_.push_back(id); });
  EXPECT_TRUE(Eventually([&] { return scrub_->Report().running; }));
  scrub_.reset();
  EXPECT_TRUE(lost_.empty());
}

}  // namespace
}  // namespace btfc::fs
