// Files whose bytes come from other hosts: reads that wait, and versions that arrive.
#include "tests/fs/files_fixture.h"

namespace btfc::fs {
namespace {

class RemoteTest : public testing::Test {
 protected:
  RemoteTest() : here_('h'), there_('t') {
    there_.Start();
    here_.Start();
  }
  // A file that the other host wrote, as this one sees it before its bytes are here.
  index::Ino FileThere(const std::string& name, std::string_view bytes) {
    there_.File(name, bytes);
    Pull(there_, here_);
    return here_.Find(name);
  }
  void Rewrite(const std::string& name, std::string_view bytes) {
    const auto opened = there_.MustOpen(there_.Find(name), O_WRONLY | O_TRUNC);
    there_.Write(opened.handle, bytes);
    there_.Close(opened.handle);
    ASSERT_TRUE(there_.Quiet());
    Pull(there_, here_);
  }
  void RestartHere(bool passthrough) {
    here_.Stop();
    here_.Start(passthrough);
  }
  std::set<std::string> ContentsHere() {
    std::set<std::string> contents;
    const auto entries = here_.catalogue->List(index::kRootIno, 0, 10);
    EXPECT_TRUE(entries);
    for (const auto& entry : entries.value()) contents.insert(here_.ReadAll(entry.node.ino));
    return contents;
  }
  // Some of the bytes, as the swarm writes them.
  void Piece(const index::ContentId& id, std::string_view bytes, std::uint64_t offset) {
    auto fd = OpenFile(here_.store->PartialPath(id), O_CREAT | O_RDWR, 0600);
    ASSERT_TRUE(fd);
    ASSERT_EQ(::ftruncate(fd.value().get(), static_cast<off_t>(id.size)), 0);
    ASSERT_TRUE(WriteAll(fd.value().get(), offset, bytes.substr(offset, 65536)));
  }

  Host here_, there_;
  const std::string bytes_ = Bytes(kLarge);
};

TEST_F(RemoteTest, SmallContentsAreThereAtOnce) {
  const auto ino = FileThere("f", "small");
  EXPECT_TRUE(Same(here_.ReadAll(ino), "small"));
  EXPECT_EQ(here_.source.waiting(), 0U);
}

// What a file was before it was opened for writing is not here, and nobody waits for it; what came
// meanwhile is still to come.
TEST_F(RemoteTest, WhatIsBeingWrittenOverIsNotMissing) {
  const auto ino = FileThere("f", bytes_);
  const auto missing = [&] { return here_.catalogue->CountMissing().value(); };
  EXPECT_EQ(missing().objects, 1U);
  here_.Arrive(here_.Id(ino), bytes_);
  EXPECT_EQ(missing().objects, 0U);
  const auto opened = here_.MustOpen(ino, O_RDWR);
  BTFC_NEEDS(!here_.store->reflinks(), "objects are shared, not taken, on this filesystem");
  EXPECT_FALSE(here_.Node(ino).content.present) << "its object is the working file now";
  EXPECT_EQ(missing().objects, 0U);
  EXPECT_EQ(missing().bytes, 0U);
  EXPECT_EQ(here_.catalogue->Count().value().missing_objects, 0U);
  Rewrite("f", Bytes(kLarge + 1, 2));
  EXPECT_EQ(missing().objects, 1U);
  EXPECT_EQ(missing().bytes, kLarge + 1);
  here_.Write(opened.handle, "x");
  here_.Close(opened.handle);
}

TEST_F(RemoteTest, AReadWaitsForExactlyItsBytes) {
  const auto ino = FileThere("f", bytes_);
  const auto id = here_.Id(ino);
  const auto opened = here_.MustOpen(ino, O_RDONLY);
  EXPECT_EQ(opened.mode, KernelMode::kDirect);
  Answer<std::string> answer;
  EXPECT_NE(here_.files->Read(opened.handle, 70000, 100, answer.Done()), 0U);
  auto asked = here_.source.Take();
  EXPECT_EQ(asked.id, id);
  EXPECT_EQ(asked.offset, 70000U);
  EXPECT_EQ(asked.length, 100U);
  EXPECT_FALSE(answer.ready());
  EXPECT_EQ(here_.files->GetStatus().waiting, 1U);
  Piece(id, bytes_, 65536);
  asked.done(Ok());
  EXPECT_EQ(answer.Wait().value(), bytes_.substr(70000, 100));
  EXPECT_EQ(here_.files->GetStatus().waiting, 0U);
  here_.Close(opened.handle);
}

TEST_F(RemoteTest, RepliesAreWholeUpToTheEnd) {
  const auto ino = FileThere("f", bytes_);
  const auto opened = here_.MustOpen(ino, O_RDONLY);
  EXPECT_TRUE(Same(here_.Read(opened.handle, bytes_.size(), 10).value(), ""));
  Answer<std::string> answer;
  here_.files->Read(opened.handle, bytes_.size() - 3, 10, answer.Done());
  auto asked = here_.source.Take();
  EXPECT_EQ(asked.length, 3U);
  // It arrives whole, and as another file, before the answer comes.
  here_.Arrive(asked.id, bytes_);
  EXPECT_EQ(answer.Wait().value(), bytes_.substr(bytes_.size() - 3));
  asked.done(Ok());
  here_.Close(opened.handle);
}

TEST_F(RemoteTest, AReadCanBeCancelled) {
  const auto ino = FileThere("f", bytes_);
  const auto opened = here_.MustOpen(ino, O_RDONLY);
  Answer<std::string> answer;
  const auto ticket = here_.files->Read(opened.handle, 0, 10, answer.Done());
  here_.files->Cancel(ticket);
  EXPECT_EQ(answer.Wait().error(), Errno(EINTR));
  EXPECT_EQ(here_.source.cancelled(), 1);
  EXPECT_EQ(here_.source.waiting(), 0U);
  here_.files->Cancel(ticket);
  here_.Close(opened.handle);
}

TEST_F(RemoteTest, AReadThatNobodyCanAnswerFailsInTime) {
  here_.Stop();
  here_.options.read_timeout = std::chrono::milliseconds(30);
  here_.Start();
  const auto ino = FileThere("f", bytes_);
  const auto opened = here_.MustOpen(ino, O_RDONLY);
  EXPECT_EQ(here_.Read(opened.handle, 0, 10).error(), Errno(EIO));
  EXPECT_TRUE(Eventually([&] { return here_.source.waiting() == 0; })) << "taken back";
  here_.Close(opened.handle);
  EXPECT_EQ(here_.Open(ino, O_RDWR).error(), Errno(EIO)) << "as the open of a writer";
  EXPECT_EQ(here_.files->GetStatus().waiting, 0U);
}

TEST_F(RemoteTest, AFailedFetchIsAnErrorOfTheRead) {
  const auto ino = FileThere("f", bytes_);
  const auto opened = here_.MustOpen(ino, O_RDONLY);
  Answer<std::string> answer;
  here_.files->Read(opened.handle, 0, 10, answer.Done());
  here_.source.Take().done(Error::kUnavailable);
  EXPECT_EQ(answer.Wait().error(), Errno(EIO));
  here_.Close(opened.handle);
}

TEST_F(RemoteTest, OpenHandlesGoOnWhenTheObjectArrives) {
  RestartHere(true);
  const auto ino = FileThere("f", bytes_);
  const auto early = here_.MustOpen(ino, O_RDONLY);
  EXPECT_EQ(early.mode, KernelMode::kDirect);
  here_.Arrive(here_.Id(ino), bytes_);
  EXPECT_TRUE(Same(here_.Read(early.handle, 5, 100).value(), bytes_.substr(5, 100)));
  const auto later = here_.MustOpen(ino, O_RDONLY);
  EXPECT_EQ(later.mode, KernelMode::kDirect) << "while such a handle lives";
  here_.Close(early.handle);
  here_.Close(later.handle);
  const auto fresh = here_.MustOpen(ino, O_RDONLY);
  EXPECT_EQ(fresh.mode, KernelMode::kPassthrough);
  here_.Close(fresh.handle);
}

TEST_F(RemoteTest, AWriterWaitsForTheWholeObject) {
  const auto ino = FileThere("f", bytes_);
  const auto reader = here_.MustOpen(ino, O_RDONLY);
  Answer<Opened> answer;
  EXPECT_NE(here_.files->Open(ino, O_RDWR, answer.Done()), 0U);
  const auto asked = here_.source.Take();
  EXPECT_EQ(asked.offset, 0U);
  EXPECT_EQ(asked.length, bytes_.size());
  EXPECT_FALSE(answer.ready());
  here_.Arrive(asked.id, bytes_);
  asked.done(Ok());
  const auto writer = answer.Wait();
  ASSERT_TRUE(writer);
  EXPECT_EQ(writer.value().mode, KernelMode::kDirect);
  here_.Write(writer.value().handle, "edit");
  EXPECT_TRUE(Same(here_.Read(reader.handle, 0, 8).value(), "edit" + bytes_.substr(4, 4)));
  here_.Close(writer.value().handle);
  here_.Close(reader.handle);
  ASSERT_TRUE(here_.Quiet());
  EXPECT_TRUE(Same(here_.ReadAll(ino), "edit" + bytes_.substr(4)));
}

TEST_F(RemoteTest, AWaitingWriterCanBeCancelledAndTakesItsFetchBack) {
  const auto ino = FileThere("f", bytes_);
  Answer<Opened> answer;
  const auto ticket = here_.files->Open(ino, O_RDWR, answer.Done());
  EXPECT_EQ(here_.source.waiting(), 1U);
  here_.files->Cancel(ticket);
  EXPECT_EQ(answer.Wait().error(), Errno(EINTR));
  EXPECT_EQ(here_.source.waiting(), 0U);
  EXPECT_EQ(here_.MustOpen(ino, O_RDONLY).mode, KernelMode::kDirect);
}

TEST_F(RemoteTest, ASlowFetchIsNotGivenUpWhileSomethingComes) {
  here_.Stop();
  here_.options.read_timeout = std::chrono::milliseconds(200);
  here_.Start();
  const auto ino = FileThere("f", bytes_);
  Answer<Opened> answer;
  here_.files->Open(ino, O_RDWR, answer.Done());
  const auto asked = here_.source.Take();
  const auto begin = std::chrono::steady_clock::now();
  for (std::uint64_t offset = 0; offset + 65536 < bytes_.size(); offset += 65536) {
    Piece(asked.id, bytes_, offset);
    const auto next = begin + std::chrono::milliseconds(20) * (offset / 65536);
    while (std::chrono::steady_clock::now() < next) std::this_thread::yield();
    ASSERT_FALSE(answer.ready()) << offset;
  }
  here_.Arrive(asked.id, bytes_);
  ASSERT_TRUE(answer.Wait());
}

TEST_F(RemoteTest, ATruncatingOpenNeedsNothing) {
  const auto ino = FileThere("f", bytes_);
  const auto reader = here_.MustOpen(ino, O_RDONLY);
  Answer<std::string> waiting;
  here_.files->Read(reader.handle, 0, 10, waiting.Done());
  const auto writer = here_.MustOpen(ino, O_WRONLY | O_TRUNC);
  EXPECT_EQ(waiting.Wait().value(), "") << "the file is empty now";
  here_.Write(writer.handle, "mine");
  EXPECT_TRUE(Same(here_.Read(reader.handle, 0, 10).value(), "mine"));
  here_.Close(writer.handle);
  here_.Close(reader.handle);
  ASSERT_TRUE(here_.Quiet());
  EXPECT_TRUE(Same(here_.ReadAll(ino), "mine"));
}

TEST_F(RemoteTest, AnObjectThatIsGoneIsFetchedAgain) {
  const auto ino = FileThere("f", bytes_);
  here_.Arrive(here_.Id(ino), bytes_);
  ASSERT_TRUE(here_.store->Remove(here_.Id(ino)));
  const auto opened = here_.MustOpen(ino, O_RDONLY);
  EXPECT_EQ(opened.mode, KernelMode::kDirect);
  EXPECT_FALSE(here_.Node(ino).content.present);
  here_.Close(opened.handle);
}

// --- versions that arrive

TEST_F(RemoteTest, AChangeWithNobodyThereIsSeenByTheNextOpen) {
  const auto ino = FileThere("f", "old");
  EXPECT_TRUE(Same(here_.ReadAll(ino), "old"));
  Rewrite("f", "new");
  EXPECT_FALSE(here_.ContentChanged(ino));
  const auto opened = here_.MustOpen(ino, O_RDONLY);
  EXPECT_FALSE(opened.keep_cache);
  EXPECT_TRUE(Same(here_.Read(opened.handle, 0, 10).value(), "new"));
  here_.Close(opened.handle);
}

class Superseded : public RemoteTest,
                   public testing::WithParamInterface<std::tuple<std::size_t, bool>> {};
INSTANTIATE_TEST_SUITE_P(Sizes, Superseded,
                         testing::Combine(testing::Values(kSmall, kLarge), testing::Bool()));

TEST_P(Superseded, ReadersKeepTheirs) {
  const auto [size, passthrough] = GetParam();
  RestartHere(passthrough);
  const auto old_bytes = Bytes(size, 1);
  const auto new_bytes = Bytes(size, 2);
  const auto ino = FileThere("f", old_bytes);
  if (size > index::kInlineMax) here_.Arrive(here_.Id(ino), old_bytes);
  const auto reader = here_.MustOpen(ino, O_RDONLY);
  Rewrite("f", new_bytes);
  if (size > index::kInlineMax) here_.Arrive(here_.Id(ino), new_bytes);
  EXPECT_TRUE(here_.ContentChanged(ino));
  EXPECT_FALSE(here_.ContentChanged(ino)) << "nobody has the new one open";
  EXPECT_TRUE(Same(here_.Read(reader.handle, 0, size).value(), old_bytes));
  EXPECT_TRUE(Same(here_.ReadAll(ino), new_bytes));
  const auto writer = here_.MustOpen(ino, O_RDWR);
  here_.Write(writer.handle, "X");
  EXPECT_TRUE(Same(here_.Read(reader.handle, 0, size).value(), old_bytes));
  here_.Close(writer.handle);
  ASSERT_TRUE(here_.Quiet());
  EXPECT_TRUE(Same(here_.Read(reader.handle, 0, size).value(), old_bytes));
  here_.Close(reader.handle);
  EXPECT_TRUE(Same(here_.ReadAll(ino), "X" + new_bytes.substr(1)));
}

TEST_F(RemoteTest, TheSameContentAgainChangesNothing) {
  const auto ino = FileThere("f", "same");
  const auto reader = here_.MustOpen(ino, O_RDONLY);
  Rewrite("f", "same");
  EXPECT_FALSE(here_.ContentChanged(ino));
  here_.Close(reader.handle);
}

TEST_F(RemoteTest, AWriterIsNotDisturbedAndBothContentsStay) {
  const auto ino = FileThere("f", "base");
  const auto writer = here_.MustOpen(ino, O_RDWR);
  here_.Write(writer.handle, "mine");
  Rewrite("f", "theirs");
  EXPECT_FALSE(here_.ContentChanged(ino));
  EXPECT_TRUE(Same(here_.Read(writer.handle, 0, 10).value(), "mine"));
  here_.Close(writer.handle);
  ASSERT_TRUE(here_.Quiet());
  EXPECT_EQ(ContentsHere(), (std::set<std::string>{"mine", "theirs"}));
}

// Removed here while it is open for writing; the other host's edit brings it back.
TEST_F(RemoteTest, WhatIsWrittenAfterAnEditBeatADeletionIsCommitted) {
  const auto ino = FileThere("f", "base");
  const auto old = here_.MustOpen(ino, O_RDWR);
  here_.Write(old.handle, "begun");
  ASSERT_TRUE(here_.catalogue->Unlink(index::kRootIno, "f"));
  here_.files->Unlinked(ino);
  Rewrite("f", "theirs");
  ASSERT_EQ(here_.Find("f"), ino);
  EXPECT_FALSE(here_.ContentChanged(ino));
  const auto anew = here_.MustOpen(ino, O_WRONLY | O_TRUNC);
  here_.Write(anew.handle, "mine");
  here_.Close(anew.handle);
  here_.Close(old.handle);
  ASSERT_TRUE(here_.Quiet());
  EXPECT_EQ(ContentsHere(), (std::set<std::string>{"mine", "theirs"}));
}

// Copying a big file takes minutes, and who tells of the change has others to tell of.
TEST_F(RemoteTest, WhoTellsOfAChangeDoesNotWaitForACopy) {
  RestartHere(true);
  const auto bytes = Bytes(kLarge);
  const auto ino = FileThere("f", bytes);
  here_.Arrive(here_.Id(ino), bytes);
  const auto reader = here_.MustOpen(ino, O_RDONLY);
  here_.source.HoldWithdrawals();
  Answer<Opened> opened;
  here_.files->Open(ino, O_RDWR, opened.Done());
  ASSERT_TRUE(here_.files->Busy(ino));
  Rewrite("f", "theirs");
  Answer<bool> superseded;
  auto told = std::async(std::launch::async, [&] {
    return here_.files->ContentChanged(ino,
                                       [done = superseded.Done()](bool answer) { done(answer); });
  });
  EXPECT_EQ(told.wait_for(kPatience), std::future_status::ready);
  EXPECT_FALSE(superseded.ready());
  here_.source.LetWithdrawalsGo();
  EXPECT_FALSE(told.get());
  const auto writer = opened.Wait();
  ASSERT_TRUE(writer);
  EXPECT_FALSE(superseded.Wait().value()) << "merged with the commit";
  here_.Close(writer.value().handle);
  here_.Close(reader.handle);
  EXPECT_TRUE(here_.Quiet());
}

TEST_F(RemoteTest, AnOpenThatWaitsGetsTheNewContent) {
  const auto ino = FileThere("f", bytes_);
  Answer<Opened> answer;
  here_.files->Open(ino, O_RDWR, answer.Done());
  EXPECT_EQ(here_.source.waiting(), 1U);
  Rewrite("f", "small now");
  EXPECT_FALSE(here_.ContentChanged(ino));
  const auto opened = answer.Wait();
  ASSERT_TRUE(opened);
  EXPECT_TRUE(Same(here_.Read(opened.value().handle, 0, 20).value(), "small now"));
  EXPECT_EQ(here_.source.waiting(), 0U);
  here_.Close(opened.value().handle);
}

// Where contents are changed in place no host may have kept the version before.
TEST_F(RemoteTest, AReaderThatGotNothingGoesOnWithTheNextVersion) {
  for (const bool here_first : {false, true}) {
    const auto name = here_first ? "f" : "g";
    const auto ino = FileThere(name, Bytes(kLarge, 1));
    const auto before = here_.Id(ino);
    const auto reader = here_.MustOpen(ino, O_RDONLY);
    Answer<std::string> read;
    here_.files->Read(reader.handle, 70000, 100, read.Done());
    const auto bytes = Bytes(kLarge, 2);
    Rewrite(name, bytes);
    if (here_first) here_.Arrive(here_.Id(ino), bytes);
    EXPECT_TRUE(here_.ContentChanged(ino)) << "to the kernel it is superseded all the same";
    if (!here_first) {
      EXPECT_FALSE(read.ready());
      auto late = here_.source.Take();
      EXPECT_EQ(late.id, before);
      here_.Arrive(here_.Id(ino), bytes);
      EXPECT_TRUE(Same(read.Wait().value(), bytes.substr(70000, 100)));
      Piece(before, Bytes(kLarge, 1), 65536);
      late.done(Ok());  // nobody waits for it any more
    }
    EXPECT_TRUE(Same(read.Wait().value(), bytes.substr(70000, 100)));
    EXPECT_EQ(here_.source.waiting(), 0U);
    EXPECT_TRUE(Same(here_.Read(reader.handle, 5, 100).value(), bytes.substr(5, 100)));
    EXPECT_TRUE(Same(here_.ReadAll(ino), bytes));
    here_.Close(reader.handle);
  }
}

// The same if it came between the open and the first read.
TEST_F(RemoteTest, AReaderThatHasNotReadYetGoesOnWithTheNextVersion) {
  const auto ino = FileThere("f", Bytes(kLarge, 1));
  const auto reader = here_.MustOpen(ino, O_RDONLY);
  const auto bytes = Bytes(kLarge, 2);
  Rewrite("f", bytes);
  EXPECT_TRUE(here_.ContentChanged(ino));
  here_.Arrive(here_.Id(ino), bytes);
  Answer<std::string> read;
  here_.files->Read(reader.handle, 70000, 100, read.Done());
  ASSERT_TRUE(read.ready());
  EXPECT_TRUE(Same(read.Wait().value(), bytes.substr(70000, 100)));
  EXPECT_EQ(here_.source.waiting(), 0U);
  EXPECT_TRUE(Same(here_.Read(reader.handle, 5, 100).value(), bytes.substr(5, 100)));
  here_.Close(reader.handle);
}

// Bytes of two versions would make one that nobody wrote; and who knows the size may count on it.
TEST_F(RemoteTest, AReaderThatGotSomeOrKnowsAnotherSizeKeepsItsVersion) {
  for (const bool some : {true, false}) {
    const auto name = some ? "f" : "g";
    const auto ino = FileThere(name, bytes_);
    const auto before = here_.Id(ino);
    const auto reader = here_.MustOpen(ino, O_RDONLY);
    if (some) {
      Answer<std::string> first;
      here_.files->Read(reader.handle, 0, 100, first.Done());
      auto asked = here_.source.Take();
      Piece(asked.id, bytes_, 0);
      asked.done(Ok());
      EXPECT_TRUE(Same(first.Wait().value(), bytes_.substr(0, 100)));
    }
    Answer<std::string> read;
    here_.files->Read(reader.handle, 70000, 100, read.Done());
    const auto bytes = Bytes(some ? kLarge : kLarge - 1, 2);
    Rewrite(name, bytes);
    EXPECT_TRUE(here_.ContentChanged(ino));
    here_.Arrive(here_.Id(ino), bytes);
    EXPECT_FALSE(read.ready());
    auto asked = here_.source.Take();
    EXPECT_EQ(asked.id, before);
    Piece(before, bytes_, 65536);
    asked.done(Ok());
    EXPECT_TRUE(Same(read.Wait().value(), bytes_.substr(70000, 100)));
    EXPECT_TRUE(Same(here_.ReadAll(ino), bytes));
    here_.Close(reader.handle);
  }
}

TEST_F(RemoteTest, WaitingCallsEndWithStop) {
  const auto ino = FileThere("f", bytes_);
  const auto reader = here_.MustOpen(ino, O_RDONLY);
  Answer<std::string> read;
  Answer<Opened> open;
  here_.files->Read(reader.handle, 0, 10, read.Done());
  here_.files->Open(ino, O_RDWR, open.Done());
  here_.files->Stop();
  EXPECT_FALSE(read.Wait());
  EXPECT_FALSE(open.Wait());
}

}  // namespace
}  // namespace btfc::fs
