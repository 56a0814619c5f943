// The states of a file on one host, without passthrough.
#include "fs/files.h"

#include "tests/fs/files_fixture.h"

namespace btfc::fs {
namespace {

class FilesTest : public testing::Test {
 protected:
  FilesTest() : host_('a') { host_.Start(); }
  Host host_;
};

class FilesOfSize : public FilesTest, public testing::WithParamInterface<std::size_t> {};
INSTANTIATE_TEST_SUITE_P(Sizes, FilesOfSize,
                         testing::Values(0, 1, kSmall, 16384, 16385, kMiddle, kLarge));

TEST_P(FilesOfSize, WhatIsWrittenIsCommittedAndReadAgain) {
  const auto bytes = Bytes(GetParam());
  const auto ino = host_.File("f", bytes);
  EXPECT_EQ(host_.Id(ino), index::ContentIdOf(bytes));
  EXPECT_EQ(host_.Node(ino).size, bytes.size());
  EXPECT_EQ(host_.Versions(ino), 1U);
  EXPECT_TRUE(Same(host_.ReadAll(ino), bytes));
  const bool object = bytes.size() > index::kInlineMax;
  EXPECT_EQ(host_.store->Has(host_.Id(ino)), object);
  EXPECT_TRUE(Eventually([&] { return host_.source.IsAvailable(host_.Id(ino)) == object; }));
}

TEST_P(FilesOfSize, AnOpenForWritingThatChangesNothingMakesNoVersion) {
  const auto bytes = Bytes(GetParam());
  const auto ino = host_.File("f", bytes);
  const auto before = host_.Node(ino);
  const auto opened = host_.MustOpen(ino, O_RDWR);
  EXPECT_TRUE(Same(host_.Read(opened.handle, 0, bytes.size() + 10).value(), bytes));
  host_.Close(opened.handle);
  ASSERT_TRUE(host_.Quiet());
  EXPECT_EQ(host_.Versions(ino), 1U);
  EXPECT_EQ(host_.Node(ino).mtime_ns, before.mtime_ns);
  EXPECT_TRUE(Same(host_.ReadAll(ino), bytes));
  EXPECT_TRUE(host_.catalogue->DirtyFiles().value().empty());
}

TEST_P(FilesOfSize, AnEditInPlaceKeepsTheRest) {
  auto bytes = Bytes(GetParam());
  const auto ino = host_.File("f", bytes);
  const auto reader = host_.MustOpen(ino, O_RDONLY);
  const auto writer = host_.MustOpen(ino, O_RDWR);
  host_.Write(writer.handle, "edited", bytes.size() / 2);
  bytes.replace(bytes.size() / 2, 6, "edited");
  EXPECT_TRUE(Same(host_.Read(reader.handle, 0, bytes.size() + 10).value(), bytes))
      << "every handle";
  ASSERT_TRUE(host_.files->Stat(ino));
  EXPECT_EQ(host_.files->Stat(ino)->size, bytes.size());
  host_.Close(writer.handle);
  ASSERT_TRUE(host_.Quiet());
  EXPECT_FALSE(host_.files->Stat(ino));
  EXPECT_TRUE(Same(host_.Read(reader.handle, 0, bytes.size() + 10).value(), bytes));
  host_.Close(reader.handle);
  EXPECT_TRUE(Same(host_.ReadAll(ino), bytes));
  EXPECT_EQ(host_.Id(ino), index::ContentIdOf(bytes));
}

TEST_P(FilesOfSize, TruncatingOpenWithAReader) {
  const auto bytes = Bytes(GetParam());
  const auto ino = host_.File("f", bytes);
  const auto reader = host_.MustOpen(ino, O_RDONLY);
  const auto writer = host_.MustOpen(ino, O_WRONLY | O_TRUNC);
  EXPECT_TRUE(Same(host_.Read(reader.handle, 0, 100).value(), ""));
  host_.Write(writer.handle, "new");
  EXPECT_TRUE(Same(host_.Read(reader.handle, 0, 100).value(), "new"));
  host_.Close(writer.handle);
  host_.Close(reader.handle);
  ASSERT_TRUE(host_.Quiet());
  EXPECT_TRUE(Same(host_.ReadAll(ino), "new"));
}

TEST_P(FilesOfSize, TruncateByPath) {
  auto bytes = Bytes(GetParam());
  const auto ino = host_.File("f", bytes);
  for (const std::size_t size : {bytes.size() + 7, bytes.size() / 2, std::size_t{0}}) {
    Answer<void> answer;
    host_.files->Truncate(ino, std::nullopt, size, answer.Done());
    ASSERT_TRUE(answer.Wait());
    ASSERT_TRUE(host_.Quiet());
    bytes.resize(size);
    EXPECT_TRUE(Same(host_.ReadAll(ino), bytes));
    EXPECT_EQ(host_.Node(ino).size, size);
  }
}

TEST_P(FilesOfSize, TwoInodesWithOneContentAreApart) {
  const auto bytes = Bytes(GetParam());
  const auto one = host_.File("one", bytes);
  const auto other = host_.File("other", bytes);
  const auto reader = host_.MustOpen(other, O_RDONLY);
  const auto writer = host_.MustOpen(one, O_RDWR);
  host_.Write(writer.handle, "X");
  EXPECT_TRUE(Same(host_.Read(reader.handle, 0, bytes.size() + 1).value(), bytes));
  host_.Close(writer.handle);
  ASSERT_TRUE(host_.Quiet());
  EXPECT_TRUE(Same(host_.Read(reader.handle, 0, bytes.size() + 1).value(), bytes));
  host_.Close(reader.handle);
  EXPECT_TRUE(Same(host_.ReadAll(other), bytes));
  EXPECT_TRUE(Same(host_.ReadAll(one).substr(0, 1), "X"));
}

TEST_P(FilesOfSize, UnlinkedWhileOpenIsWrittenFreelyAndNeverCommitted) {
  const auto bytes = Bytes(GetParam());
  const auto ino = host_.File("f", bytes);
  const auto opened = host_.MustOpen(ino, O_RDWR);
  ASSERT_TRUE(host_.catalogue->Unlink(index::kRootIno, "f"));
  host_.files->Unlinked(ino);
  host_.Write(opened.handle, "orphan");
  EXPECT_TRUE(Same(host_.Read(opened.handle, 0, 6).value(), "orphan"));
  EXPECT_TRUE(host_.files->Stat(ino));
  host_.Close(opened.handle);
  ASSERT_TRUE(host_.Quiet());
  EXPECT_FALSE(host_.WorkNames().contains(std::to_string(ino)));
  host_.files->Forgotten(ino);
  EXPECT_TRUE(host_.catalogue->DirtyFiles().value().empty());
}

TEST_F(FilesTest, AFileCreatedToReadIsCommittedEmpty) {
  const auto ino = host_.Make("f");
  const auto opened = host_.Create(ino, O_RDONLY);
  EXPECT_EQ(host_.files->Write(opened.handle, 0, "x").error(), Errno(EBADF));
  host_.Close(opened.handle);
  ASSERT_TRUE(host_.Quiet());
  EXPECT_EQ(host_.Versions(ino), 1U);
  EXPECT_TRUE(Same(host_.ReadAll(ino), ""));
}

TEST_F(FilesTest, OnlyTheLastWriterCommits) {
  const auto ino = host_.Make("f");
  const auto one = host_.Create(ino);
  const auto two = host_.MustOpen(ino, O_WRONLY);
  host_.Write(one.handle, "one");
  host_.Close(one.handle);
  EXPECT_EQ(host_.Versions(ino), 0U);
  EXPECT_EQ(host_.files->GetStatus().writing, 1U);
  host_.Write(two.handle, "two", 3);
  host_.Close(two.handle);
  ASSERT_TRUE(host_.Quiet());
  EXPECT_EQ(host_.Versions(ino), 1U);
  EXPECT_TRUE(Same(host_.ReadAll(ino), "onetwo"));
}

TEST_F(FilesTest, AWriterComesBackWhileItIsHashed) {
  const auto bytes = Bytes(64 << 20);
  const auto ino = host_.Make("f");
  const auto first = host_.Create(ino);
  host_.Write(first.handle, bytes);
  host_.files->Release(first.handle);
  const auto second = host_.MustOpen(ino, O_RDWR);
  host_.Write(second.handle, "again");
  host_.Close(second.handle);
  ASSERT_TRUE(host_.Quiet());
  EXPECT_EQ(host_.Id(ino), index::ContentIdOf("again" + bytes.substr(5)));
}

TEST_F(FilesTest, TimesSetOnAWorkingFileAreTheVersions) {
  const auto ino = host_.Make("f");
  EXPECT_FALSE(host_.files->SetTimes(ino, std::nullopt, 5).value()) << "nothing is written here";
  const auto opened = host_.Create(ino);
  host_.Write(opened.handle, "x");
  EXPECT_TRUE(host_.files->SetTimes(ino, std::nullopt, -1'500'000'000).value());
  EXPECT_EQ(host_.files->Stat(ino)->mtime_ns, -1'500'000'000);
  host_.Close(opened.handle);
  ASSERT_TRUE(host_.Quiet());
  EXPECT_EQ(host_.Node(ino).mtime_ns, -1'500'000'000);
}

TEST_F(FilesTest, SparseFilesStaySparse) {
  constexpr std::uint64_t kFar = std::uint64_t{1} << 30U;
  const auto ino = host_.Make("f");
  auto opened = host_.Create(ino);
  host_.Write(opened.handle, "end", kFar);
  EXPECT_EQ(host_.files->Seek(opened.handle, kFar + 3, SEEK_DATA).error(), Errno(ENXIO));
  EXPECT_EQ(host_.files->Seek(opened.handle, 0, SEEK_HOLE).value(), 0U);
  host_.Close(opened.handle);
  ASSERT_TRUE(host_.Quiet());
  struct stat st {};
  ASSERT_EQ(::stat(host_.store->ObjectPath(host_.Id(ino)).c_str(), &st), 0);
  EXPECT_LT(st.st_blocks * 512, 1 << 20);
  EXPECT_EQ(st.st_mode & 07777, 0400U);
  // A copy keeps the holes: another inode needs the object, so it is copied.
  const auto other = host_.Make("g");
  const auto copy = host_.Create(other);
  host_.Write(copy.handle, "end", kFar);
  host_.Close(copy.handle);
  ASSERT_TRUE(host_.Quiet());
  opened = host_.MustOpen(ino, O_RDWR);
  host_.Write(opened.handle, "begin");
  EXPECT_LT(host_.files->Stat(ino)->blocks * 512, 1U << 20U);
  EXPECT_GE(host_.files->Seek(opened.handle, 1 << 20, SEEK_DATA).value(), kFar - 4096);
  host_.Close(opened.handle);
  ASSERT_TRUE(host_.Quiet());
  EXPECT_EQ(host_.Node(ino).size, kFar + 3);
}

TEST_F(FilesTest, HolesCanBePunchedAndRangesCopied) {
  const auto bytes = Bytes(kLarge);
  const auto from = host_.File("from", bytes);
  const auto small = host_.File("small", "0123456789");
  const auto to = host_.Make("to");
  const auto in = host_.MustOpen(from, O_RDONLY);
  const auto in_small = host_.MustOpen(small, O_RDONLY);
  const auto out = host_.Create(to);
  EXPECT_EQ(host_.files->CopyRange(in.handle, 0, out.handle, 0, kLarge).value(), kLarge);
  EXPECT_EQ(host_.files->CopyRange(in_small.handle, 4, out.handle, 0, 100).value(), 6U);
  EXPECT_EQ(host_.files->CopyRange(in_small.handle, 10, out.handle, 0, 100).value(), 0U);
  ASSERT_TRUE(
      host_.files->Allocate(out.handle, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 4096, 4096));
  EXPECT_EQ(host_.files->Allocate(in.handle, 0, 0, 1).error(), Errno(EBADF));
  for (const auto handle : {in.handle, in_small.handle, out.handle}) host_.Close(handle);
  ASSERT_TRUE(host_.Quiet());
  auto expected = bytes;
  expected.replace(0, 6, "456789");
  expected.replace(4096, 4096, std::string(4096, '\0'));
  EXPECT_TRUE(Same(host_.ReadAll(to), expected));
  EXPECT_TRUE(Same(host_.ReadAll(from), bytes));
}

TEST_F(FilesTest, AFileWithANameOutsideIsNeverChangedInPlace) {
  const auto bytes = Bytes(kLarge);
  const auto ino = host_.File("f", bytes);
  const auto outside = host_.cache_ / "outside";
  ASSERT_EQ(::link(host_.store->ObjectPath(host_.Id(ino)).c_str(), outside.c_str()), 0);
  const auto opened = host_.MustOpen(ino, O_RDWR);
  host_.Write(opened.handle, "changed");
  host_.Close(opened.handle);
  ASSERT_TRUE(host_.Quiet());
  EXPECT_TRUE(Same(ReadFile(outside), bytes));
  EXPECT_TRUE(Same(host_.ReadAll(ino), "changed" + bytes.substr(7)));
}

TEST_F(FilesTest, PagesAreKeptUntilTheBytesChange) {
  for (const auto size : {kSmall, kMiddle}) {
    const auto ino = host_.File("f" + std::to_string(size), Bytes(size));
    auto opened = host_.MustOpen(ino, O_RDONLY);
    EXPECT_TRUE(opened.keep_cache) << "written through the kernel's cache";
    host_.Close(opened.handle);
    opened = host_.MustOpen(ino, O_RDONLY);
    EXPECT_EQ(opened.mode, KernelMode::kCached);
    EXPECT_TRUE(opened.keep_cache);
    host_.Close(opened.handle);
    // As a delta does.
    ASSERT_TRUE(host_.catalogue->BeginWrite(ino, false));
    ASSERT_TRUE(host_.catalogue->Commit(ino, {index::ContentIdOf("other"), "other", 1}, false));
    EXPECT_FALSE(host_.ContentChanged(ino));
    opened = host_.MustOpen(ino, O_RDONLY);
    EXPECT_FALSE(opened.keep_cache);
    host_.Close(opened.handle);
  }
}

TEST_F(FilesTest, AReadOnlyHostOpensNothingForWriting) {
  const auto ino = host_.File("f", "bytes");
  host_.Stop();
  host_.options.read_only = true;
  host_.Start();
  EXPECT_EQ(host_.Open(ino, O_RDWR).error(), Errno(EROFS));
  EXPECT_EQ(host_.Open(ino, O_RDONLY | O_TRUNC).error(), Errno(EROFS));
  EXPECT_TRUE(Same(host_.ReadAll(ino), "bytes"));
}

TEST_F(FilesTest, WhatIsNoFileIsRefused) {
  index::NewNode folder;
  folder.kind = index::Kind::kFolder;
  folder.mode = 0755;
  const auto made = host_.catalogue->Make(index::kRootIno, "d", folder);
  ASSERT_TRUE(made);
  EXPECT_EQ(host_.Open(made.value().ino, O_RDONLY).error(), Errno(EISDIR));
  EXPECT_FALSE(host_.Open(987654, O_RDONLY));
  EXPECT_EQ(host_.Read(77, 0, 1).error(), Errno(EBADF));
  EXPECT_EQ(host_.files->Write(77, 0, "x").error(), Errno(EBADF));
  EXPECT_EQ(host_.files->Flush(77).error(), Errno(EBADF));
  EXPECT_EQ(host_.files->Fsync(77, true).error(), Errno(EBADF));
  host_.files->Release(77);
  host_.files->Cancel(77);
}

TEST_F(FilesTest, ATakenObjectWaitsForTheSwarmToLetGo) {
  const auto bytes = Bytes(kLarge);
  const auto ino = host_.File("f", bytes);
  const auto id = host_.Id(ino);
  host_.source.HoldWithdrawals();
  Answer<Opened> answer;
  const auto ticket = host_.files->Open(ino, O_RDWR, answer.Done());
  EXPECT_NE(ticket, 0U);
  BTFC_NEEDS(!host_.store->reflinks(), "objects are shared, not taken, on this filesystem");
  ASSERT_TRUE(Eventually([&] { return host_.source.held() == 1; }));
  EXPECT_FALSE(answer.ready());
  host_.source.LetWithdrawalsGo();
  const auto opened = answer.Wait();
  ASSERT_TRUE(opened);
  EXPECT_FALSE(host_.store->Has(id));
  EXPECT_FALSE(host_.Node(ino).content.present);
  host_.Close(opened.value().handle);
  ASSERT_TRUE(host_.Quiet());
  EXPECT_TRUE(host_.store->Has(id)) << "unchanged: it is the object again";
  EXPECT_TRUE(host_.Node(ino).content.present);
  EXPECT_TRUE(Eventually([&] { return host_.source.IsAvailable(id); }));
}

TEST_F(FilesTest, AnOpenThatWaitsCanBeCancelled) {
  const auto ino = host_.File("f", Bytes(kLarge));
  BTFC_NEEDS(!host_.store->reflinks(), "nothing waits on this filesystem");
  host_.source.HoldWithdrawals();
  Answer<Opened> answer;
  const auto ticket = host_.files->Open(ino, O_RDWR, answer.Done());
  host_.files->Cancel(ticket);
  EXPECT_EQ(answer.Wait().error(), Errno(EINTR));
  host_.source.LetWithdrawalsGo();
  ASSERT_TRUE(host_.Quiet());
  EXPECT_TRUE(Same(host_.ReadAll(ino), Bytes(kLarge)));
  EXPECT_EQ(host_.Versions(ino), 1U);
}

TEST_F(FilesTest, StopCommitsWhatIsQuiet) {
  const auto bytes = Bytes(kLarge);
  const auto ino = host_.Make("f");
  const auto opened = host_.Create(ino);
  host_.Write(opened.handle, bytes);
  host_.files->Release(opened.handle);
  host_.Stop();
  EXPECT_EQ(host_.Versions(ino), 1U);
  EXPECT_TRUE(host_.WorkNames().empty());
  host_.Start();
  EXPECT_TRUE(Same(host_.ReadAll(ino), bytes));
}

TEST_F(FilesTest, ManyWritersOfManyFilesAtOnce) {
  constexpr int kThreads = 4;
  constexpr int kRounds = 40;
  std::vector<index::Ino> inodes;
  for (int i = 0; i < 3; ++i) inodes.push_back(host_.File("f" + std::to_string(i), Bytes(kMiddle)));
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      for (int round = 0; round < kRounds; ++round) {
        const auto ino = inodes[static_cast<std::size_t>(t + round) % inodes.size()];
        const int flags = round % 3 == 0 ? O_RDWR : round % 3 == 1 ? O_RDONLY : O_RDWR | O_TRUNC;
        const auto opened = host_.Open(ino, flags);
        ASSERT_TRUE(opened) << opened.error().message();
        if (flags != O_RDONLY) {
          host_.Write(opened.value().handle, Bytes(100, static_cast<std::uint32_t>(round)), 0);
        }
        ASSERT_TRUE(host_.Read(opened.value().handle, 0, 100));
        host_.Close(opened.value().handle);
      }
    });
  }
  for (auto& thread : threads) thread.join();
  ASSERT_TRUE(host_.Quiet());
  for (const auto ino : inodes) {
    const auto bytes = host_.ReadAll(ino);
    EXPECT_EQ(index::ContentIdOf(bytes), host_.Id(ino));
  }
}

// Its bytes had an object's name already: they would take their room for ever.
TEST_F(FilesTest, AFileThatIsRemovedWhileItIsCommittedLeavesNothing) {
  const auto ino = host_.Make("f");
  const auto opened = host_.Create(ino);
  host_.Write(opened.handle, Bytes(kLarge));
  host_.source.on_hashed = [this, ino] {
    ASSERT_TRUE(host_.catalogue->Unlink(index::kRootIno, "f"));
    host_.files->Unlinked(ino);
  };
  host_.Close(opened.handle);
  ASSERT_TRUE(host_.Quiet());
  EXPECT_TRUE(Eventually([&] { return host_.WorkNames().empty(); }));
  const auto objects = std::filesystem::recursive_directory_iterator(host_.store->objects_folder());
  for (const auto& entry : objects) EXPECT_FALSE(entry.is_regular_file()) << entry.path();
}

}  // namespace
}  // namespace btfc::fs
