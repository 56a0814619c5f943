// What survives a daemon that is killed at any moment.
#include "tests/fs/files_fixture.h"

namespace btfc::fs {
namespace {

class RecoverTest : public testing::Test {
 protected:
  RecoverTest() : host_('a') {}
  std::string Work(index::Ino ino) { return host_.store->WorkPath(ino); }
  std::set<std::string> Lost() {
    std::set<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator(host_.store->lost_folder())) {
      names.insert(entry.path().filename());
    }
    return names;
  }
  Host host_;
};

class RecoverOfSize : public RecoverTest,
                      public testing::WithParamInterface<std::tuple<std::size_t, bool>> {};
INSTANTIATE_TEST_SUITE_P(Sizes, RecoverOfSize,
                         testing::Combine(testing::Values(0, kSmall, kMiddle, kLarge),
                                          testing::Bool()));

TEST_P(RecoverOfSize, WhatCloseReturnedForIsThere) {
  const auto [size, passthrough] = GetParam();
  host_.Start(passthrough);
  const auto bytes = Bytes(size);
  const auto ino = host_.Make("f");
  const auto opened = host_.Create(ino);
  host_.Write(opened.handle, bytes);
  EXPECT_TRUE(host_.files->Flush(opened.handle));
  host_.Crash();
  host_.Start(passthrough);
  EXPECT_TRUE(Same(host_.ReadAll(ino), bytes)) << "at once, from its working file";
  ASSERT_TRUE(host_.Quiet());
  EXPECT_EQ(host_.Id(ino), index::ContentIdOf(bytes));
  EXPECT_TRUE(Same(host_.ReadAll(ino), bytes));
  EXPECT_EQ(host_.Versions(ino), 1U);
}

TEST_P(RecoverOfSize, AnEditOfACommittedFileIsThere) {
  const auto [size, passthrough] = GetParam();
  host_.Start(passthrough);
  const auto bytes = Bytes(size) + "12345";
  const auto ino = host_.File("f", bytes);
  const auto opened = host_.MustOpen(ino, O_RDWR);
  host_.Write(opened.handle, "edit");
  EXPECT_TRUE(host_.files->Flush(opened.handle));
  host_.Crash();
  host_.Start(passthrough);
  ASSERT_TRUE(host_.Quiet());
  EXPECT_TRUE(Same(host_.ReadAll(ino), "edit" + bytes.substr(4)));
  EXPECT_EQ(host_.Versions(ino), 2U);
}

TEST_P(RecoverOfSize, AnOpenThatChangedNothingLeavesNothing) {
  const auto [size, passthrough] = GetParam();
  host_.Start(passthrough);
  const auto bytes = Bytes(size);
  const auto ino = host_.File("f", bytes);
  host_.MustOpen(ino, O_RDWR);
  host_.Crash();
  host_.Start(passthrough);
  ASSERT_TRUE(host_.Quiet());
  EXPECT_TRUE(Same(host_.ReadAll(ino), bytes));
  EXPECT_EQ(host_.Versions(ino), 1U);
  EXPECT_TRUE(host_.catalogue->DirtyFiles().value().empty());
  EXPECT_TRUE(Eventually([&] { return host_.WorkNames().empty(); }));
}

TEST_P(RecoverOfSize, KilledRightAfterTheCommit) {
  const auto [size, passthrough] = GetParam();
  host_.Start(passthrough);
  const auto bytes = Bytes(size);
  const auto ino = host_.File("f", bytes);
  host_.Crash();
  host_.Start(passthrough);
  ASSERT_TRUE(host_.Quiet());
  EXPECT_TRUE(Same(host_.ReadAll(ino), bytes));
  EXPECT_EQ(host_.Versions(ino), 1U);
  // And it can be written to, though its working name may still be there.
  const auto opened = host_.MustOpen(ino, O_RDWR);
  host_.Write(opened.handle, "X");
  host_.Close(opened.handle);
  ASSERT_TRUE(host_.Quiet());
  EXPECT_TRUE(Same(host_.ReadAll(ino), "X" + bytes.substr(size == 0 ? 0 : 1)));
  EXPECT_TRUE(Eventually([&] { return host_.WorkNames().empty(); }));
}

// After link(2) into the store, before the row: the bytes are the working file's still.
TEST_F(RecoverTest, KilledBetweenTheObjectAndItsRow) {
  host_.Start();
  const auto bytes = Bytes(kLarge);
  const auto ino = host_.File("f", bytes);
  auto edited = host_.MustOpen(ino, O_RDWR);
  host_.Write(edited.handle, "edit");
  const auto now = "edit" + bytes.substr(4);
  ASSERT_TRUE(host_.store->Link(Work(ino), index::ContentIdOf(now)));
  host_.Crash();
  host_.Start();
  // It is written to before its commit: the object that was begun must not change with it.
  edited = host_.MustOpen(ino, O_RDWR);
  host_.Write(edited.handle, "more");
  const auto begun = index::ContentIdOf(now);
  if (host_.store->Has(begun)) {
    EXPECT_TRUE(Same(ReadFile(host_.store->ObjectPath(begun)), now));
  }
  host_.Close(edited.handle);
  ASSERT_TRUE(host_.Quiet());
  EXPECT_TRUE(Same(host_.ReadAll(ino), "more" + bytes.substr(4)));
}

// The object's own file was taken, but the power went before its new name was on the disk.
TEST_F(RecoverTest, AnObjectThatWasWrittenToUnderItsName) {
  host_.Start();
  const auto bytes = Bytes(kLarge);
  const auto ino = host_.File("f", bytes);
  host_.Stop();
  ASSERT_TRUE(host_.catalogue->SetPresent(host_.Id(ino), false));
  ASSERT_TRUE(host_.catalogue->BeginWrite(ino, true));
  {
    const auto path = host_.store->ObjectPath(host_.Id(ino));
    ASSERT_EQ(::chmod(path.c_str(), 0600), 0);
    const auto fd = OpenFile(path, O_RDWR);
    ASSERT_TRUE(fd);
    ASSERT_TRUE(WriteAll(fd.value().get(), 0, "torn"));
  }
  const auto id = host_.Id(ino);
  host_.Start();
  ASSERT_TRUE(host_.Quiet());
  EXPECT_TRUE(Same(host_.ReadAll(ino), "torn" + bytes.substr(4)));
  EXPECT_FALSE(host_.store->Has(id));
}

// The version's row reached the disk, its bytes did not: never wrong bytes.
TEST_F(RecoverTest, ATornObjectIsFetchedAgain) {
  host_.Start();
  const auto bytes = Bytes(kLarge);
  const auto ino = host_.File("f", bytes);
  const auto id = host_.Id(ino);
  host_.Crash();
  ASSERT_TRUE(std::filesystem::exists(Work(ino))) << "the name waits for the disk";
  {
    const auto path = host_.store->ObjectPath(id);
    ASSERT_EQ(::chmod(path.c_str(), 0600), 0);
    const auto fd = OpenFile(path, O_RDWR);
    ASSERT_TRUE(fd);
    ASSERT_TRUE(WriteAll(fd.value().get(), 100, std::string(4096, '\0')));
  }
  host_.Start();
  EXPECT_TRUE(Eventually([&] { return !host_.store->Has(id); }));
  EXPECT_TRUE(Eventually([&] { return !host_.Node(ino).content.present; }));
  EXPECT_EQ(Lost().size(), 1U) << "what is left of it is kept";
  EXPECT_EQ(host_.MustOpen(ino, O_RDONLY).mode, KernelMode::kDirect);
}

TEST_F(RecoverTest, RemovedFilesAreDropped) {
  host_.Start();
  const auto ino = host_.File("f", "bytes");
  const auto opened = host_.MustOpen(ino, O_RDWR);
  host_.Write(opened.handle, "orphan");
  ASSERT_TRUE(host_.catalogue->Unlink(index::kRootIno, "f"));
  host_.files->Unlinked(ino);
  host_.Crash();
  host_.Start();
  EXPECT_TRUE(host_.WorkNames().empty());
  EXPECT_TRUE(Lost().empty());
  EXPECT_TRUE(host_.catalogue->DirtyFiles().value().empty());
}

TEST_F(RecoverTest, AWorkingFileOfNobodyIsKept) {
  WriteFile(Work(4711), "whose?");
  WriteFile(host_.store->work_folder() / "strange", "what?");
  WriteFile(host_.store->NewWorkPath(5), "half made");
  host_.Start();
  EXPECT_TRUE(host_.WorkNames().empty());
  EXPECT_EQ(Lost(), (std::set<std::string>{"4711", "strange"}));
  EXPECT_TRUE(Same(ReadFile(host_.store->lost_folder() / "4711"), "whose?"));
}

TEST_F(RecoverTest, AWorkingFileWithoutANoteIsCommitted) {
  host_.Start();
  const auto ino = host_.File("f", "bytes");
  host_.Stop();
  WriteFile(Work(ino), "written, and the note was lost");
  host_.Start();
  ASSERT_TRUE(host_.Quiet());
  EXPECT_TRUE(Same(host_.ReadAll(ino), "written, and the note was lost"));
}

TEST_F(RecoverTest, AnEarlierVersionsFileIsNotCommittedAgain) {
  host_.Start();
  const auto ino = host_.File("f", "first");
  const auto opened = host_.MustOpen(ino, O_WRONLY | O_TRUNC);
  host_.Write(opened.handle, "second");
  host_.Close(opened.handle);
  ASSERT_TRUE(host_.Quiet());
  host_.Stop();
  WriteFile(Work(ino), "first");
  host_.Start();
  ASSERT_TRUE(host_.Quiet());
  EXPECT_TRUE(Same(host_.ReadAll(ino), "second"));
  EXPECT_TRUE(Eventually([&] { return host_.WorkNames().empty(); }));
}

// A kill finds the committed file set aside, and no other one made yet.
TEST_F(RecoverTest, AVersionThatIsNotKeptAnyMoreIsNotBroughtBack) {
  host_.Start();
  const auto ino = host_.File("f", Bytes(kMiddle, 1));
  const std::uint32_t last = 40;  // more than are kept
  for (std::uint32_t seed = 2; seed <= last; ++seed) {
    const auto opened = host_.MustOpen(ino, O_WRONLY | O_TRUNC);
    host_.Write(opened.handle, Bytes(kMiddle, seed));
    host_.Close(opened.handle);
    ASSERT_TRUE(host_.Quiet());
  }
  host_.Stop();
  const auto kept = host_.catalogue->History(ino);
  ASSERT_TRUE(kept);
  const auto is_kept = [&](std::uint32_t seed) {
    const auto id = index::ContentIdOf(Bytes(kMiddle, seed));
    return std::ranges::any_of(kept.value(), [&](const auto& each) { return each.id == id; });
  };
  std::uint32_t former = 2;
  while (former < last && is_kept(former)) ++former;
  ASSERT_LT(former, last) << "all versions are kept";
  WriteFile(Work(ino) + "-1", Bytes(kMiddle, former));
  std::filesystem::create_hard_link(host_.store->ObjectPath(host_.Id(ino)), Work(ino) + "-2");
  host_.Start();
  ASSERT_TRUE(host_.Quiet());
  EXPECT_TRUE(Same(host_.ReadAll(ino), Bytes(kMiddle, last)));
  EXPECT_TRUE(Eventually([&] { return host_.WorkNames().empty(); }));
}

TEST_F(RecoverTest, ANameThatWaitsForTheDiskIsNoEditOnceItsVersionIsKeptNoMore) {
  Host other('b');
  host_.Start();
  other.Start();
  const auto ino = host_.File("f", Bytes(kMiddle, 1));
  const auto first = host_.Id(ino);
  host_.Stop();
  Pull(host_, other);
  other.Arrive(first, Bytes(kMiddle, 1));
  const auto opened = other.MustOpen(other.Find("f"), O_WRONLY | O_TRUNC);
  other.Write(opened.handle, Bytes(kMiddle, 2));
  other.Close(opened.handle);
  ASSERT_TRUE(other.Quiet());
  Pull(other, host_);
  index::VersionLimits nothing;
  nothing.age_ns = 0;
  ASSERT_TRUE(host_.catalogue->PruneVersions(nothing));
  ASSERT_EQ(host_.Versions(ino), 1U);
  // Neither the object nor the working name was let go of yet.
  ASSERT_TRUE(host_.store->Has(first));
  ::unlink(Work(ino).c_str());
  std::filesystem::create_hard_link(host_.store->ObjectPath(first), Work(ino));
  host_.Start();
  ASSERT_TRUE(host_.Quiet());
  EXPECT_EQ(host_.Id(ino), index::ContentIdOf(Bytes(kMiddle, 2)));
}

TEST_F(RecoverTest, ANewFileThatWasNeverOpenedIsCommittedEmpty) {
  const auto ino = host_.Make("f");
  host_.Start();
  ASSERT_TRUE(host_.Quiet());
  EXPECT_EQ(host_.Versions(ino), 1U);
  EXPECT_TRUE(Same(host_.ReadAll(ino), ""));
}

TEST_F(RecoverTest, WhoStillWritesPastADeadDaemonIsWaitedFor) {
  host_.Start(true);
  const auto ino = host_.Make("f");
  const auto opened = host_.Create(ino);
  auto application = host_.backing.Open(opened.backing_id, O_RDWR);
  ASSERT_TRUE(WriteAll(application.get(), 0, "before"));
  host_.Crash();
  host_.Start();
  EXPECT_TRUE(Same(host_.ReadAll(ino), "before"));
  ASSERT_TRUE(WriteAll(application.get(), 6, " and after"));
  EXPECT_EQ(host_.Versions(ino), 0U);
  application.Reset();
  ASSERT_TRUE(host_.Quiet());
  EXPECT_TRUE(Same(host_.ReadAll(ino), "before and after"));
}

TEST_F(RecoverTest, ObjectsWhoseRowsWereLostAreFoundAgain) {
  host_.Start();
  const auto bytes = Bytes(kLarge);
  const auto ino = host_.File("f", bytes);
  host_.Stop();
  ASSERT_TRUE(host_.catalogue->SetPresent(host_.Id(ino), false));
  host_.Start();
  EXPECT_TRUE(Eventually([&] { return host_.Node(ino).content.present; }));
  EXPECT_TRUE(Same(host_.ReadAll(ino), bytes));
}

TEST_F(RecoverTest, WorkingNamesGoWhenTheDiskHasTheBytes) {
  host_.Start();
  const auto ino = host_.File("f", Bytes(kMiddle));
  EXPECT_TRUE(host_.WorkNames().contains(std::to_string(ino)));
  // Written again before: the first version's file waits under another name.
  const auto opened = host_.MustOpen(ino, O_WRONLY | O_TRUNC);
  host_.Write(opened.handle, Bytes(kMiddle, 2));
  host_.Close(opened.handle);
  ASSERT_TRUE(host_.Quiet());
  EXPECT_TRUE(Eventually([&] { return host_.WorkNames().empty(); }));
  EXPECT_TRUE(Same(host_.ReadAll(ino), Bytes(kMiddle, 2)));
}

TEST_F(RecoverTest, ObjectsThatNobodyNeedsAreCollected) {
  host_.options.collect_interval = std::chrono::milliseconds(20);
  host_.options.versions.age_ns = 0;
  host_.Start();
  const auto bytes = Bytes(kMiddle);
  const auto ino = host_.File("f", bytes);
  const auto id = host_.Id(ino);
  const auto kept = host_.File("kept", Bytes(kMiddle, 2));
  ASSERT_TRUE(host_.catalogue->Unlink(index::kRootIno, "f"));
  host_.files->Unlinked(ino);
  host_.files->Forgotten(ino);
  EXPECT_TRUE(Eventually([&] { return !host_.store->Has(id); }));
  EXPECT_TRUE(host_.source.WasWithdrawn(id));
  EXPECT_TRUE(Same(host_.ReadAll(kept), Bytes(kMiddle, 2)));
}

}  // namespace
}  // namespace btfc::fs
