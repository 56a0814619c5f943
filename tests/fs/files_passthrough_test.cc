// Files with the kernel's passthrough, whose side the test plays.
#include "tests/fs/files_fixture.h"

namespace btfc::fs {
namespace {

class PassthroughTest : public testing::Test {
 protected:
  PassthroughTest() : host_('a') { host_.Start(true); }

  // An application's open: what the daemon answers and the file that the kernel opens below.
  struct App {
    Opened opened;
    Fd fd;
  };
  App OpenApp(index::Ino ino, int flags) {
    App app;
    app.opened = host_.MustOpen(ino, flags);
    EXPECT_EQ(app.opened.mode, KernelMode::kPassthrough);
    if (app.opened.backing_id != 0) {
      app.fd = host_.backing.Open(app.opened.backing_id, flags & O_ACCMODE);
    }
    return app;
  }
  App CreateApp(index::Ino ino) {
    App app;
    app.opened = host_.Create(ino);
    EXPECT_EQ(app.opened.mode, KernelMode::kPassthrough);
    app.fd = host_.backing.Open(app.opened.backing_id, O_RDWR);
    return app;
  }
  void Close(App& app) {
    EXPECT_TRUE(host_.files->Flush(app.opened.handle));
    app.fd.Reset();
    host_.files->Release(app.opened.handle);
  }
  index::Ino File(const std::string& name, std::string_view bytes) {
    const auto ino = host_.Make(name);
    auto app = CreateApp(ino);
    EXPECT_TRUE(WriteAll(app.fd.get(), 0, bytes));
    Close(app);
    EXPECT_TRUE(host_.Quiet());
    return ino;
  }
  static std::string Read(const App& app, std::size_t length) {
    return ReadUpTo(app.fd.get(), 0, length).value();
  }
  std::string ReadAll(index::Ino ino) {
    const auto opened = host_.MustOpen(ino, O_RDONLY);
    auto bytes = host_.Read(opened.handle, 0, std::size_t{8} << 20U).value();
    host_.Close(opened.handle);
    return bytes;
  }

  Host host_;
};

class PassthroughOfSize : public PassthroughTest,
                          public testing::WithParamInterface<std::size_t> {};
INSTANTIATE_TEST_SUITE_P(Sizes, PassthroughOfSize, testing::Values(0, kSmall, kMiddle, kLarge));

TEST_P(PassthroughOfSize, WrittenPastTheDaemonAndCommitted) {
  const auto bytes = Bytes(GetParam());
  const auto ino = File("f", bytes);
  EXPECT_EQ(host_.Id(ino), index::ContentIdOf(bytes));
  EXPECT_TRUE(Same(ReadAll(ino), bytes));
  EXPECT_EQ(host_.backing.registered(), 0U);
}

TEST_P(PassthroughOfSize, EveryHandleSeesTheSameFile) {
  auto bytes = Bytes(GetParam());
  const auto ino = host_.Make("f");
  auto first = CreateApp(ino);
  ASSERT_TRUE(WriteAll(first.fd.get(), 0, bytes));
  auto reader = OpenApp(ino, O_RDONLY);
  EXPECT_EQ(reader.opened.backing_id, first.opened.backing_id);
  Close(first);
  ASSERT_TRUE(host_.Quiet());
  // Committed under its reader, which goes on; and written again, and committed again.
  for (const char letter : {'X', 'Y', 'Z'}) {
    auto writer = OpenApp(ino, O_RDWR);
    EXPECT_EQ(writer.opened.backing_id, reader.opened.backing_id);
    ASSERT_TRUE(WriteAll(writer.fd.get(), 0, std::string(1, letter)));
    EXPECT_TRUE(Same(Read(reader, 1), std::string(1, letter)));
    Close(writer);
    ASSERT_TRUE(host_.Quiet());
    bytes.replace(0, 1, 1, letter);
    EXPECT_EQ(host_.Id(ino), index::ContentIdOf(bytes)) << letter;
    EXPECT_TRUE(Same(Read(reader, bytes.size() + 1), bytes));
  }
  Close(reader);
  EXPECT_TRUE(Same(ReadAll(ino), bytes));
}

TEST_P(PassthroughOfSize, TruncatingOpenWithAReader) {
  const auto ino = File("f", Bytes(GetParam()));
  auto reader = GetParam() > index::kInlineMax ? OpenApp(ino, O_RDONLY) : App{};
  auto writer = OpenApp(ino, O_RDWR | O_TRUNC);
  ASSERT_TRUE(WriteAll(writer.fd.get(), 0, "new"));
  if (reader.fd) {
    EXPECT_TRUE(Same(Read(reader, 100), "new"));
  }
  Close(writer);
  ASSERT_TRUE(host_.Quiet());
  EXPECT_EQ(host_.Id(ino), index::ContentIdOf("new"));
  if (reader.fd) {
    EXPECT_TRUE(Same(Read(reader, 100), "new"));
    Close(reader);
  }
  EXPECT_TRUE(Same(ReadAll(ino), "new"));
}

TEST_P(PassthroughOfSize, AnotherInodeWithTheSameContentIsApart) {
  const auto bytes = Bytes(GetParam());
  const auto one = File("one", bytes);
  const auto other = File("other", bytes);
  const bool object = GetParam() > index::kInlineMax;
  const auto reader = host_.MustOpen(one, O_RDONLY);
  EXPECT_EQ(reader.mode, object ? KernelMode::kPassthrough : KernelMode::kCached);
  const auto cached = host_.MustOpen(other, O_RDONLY);
  EXPECT_EQ(cached.mode, KernelMode::kCached) << "the object is the first inode's";
  const auto writer = host_.MustOpen(one, O_RDWR);
  EXPECT_EQ(writer.mode, reader.mode);
  host_.Write(writer.handle, "X");
  EXPECT_TRUE(Same(host_.Read(cached.handle, 0, bytes.size() + 1).value(), bytes));
  for (const auto handle : {writer.handle, reader.handle}) host_.Close(handle);
  ASSERT_TRUE(host_.Quiet());
  EXPECT_TRUE(Same(host_.Read(cached.handle, 0, bytes.size() + 1).value(), bytes));
  host_.Close(cached.handle);
  EXPECT_TRUE(Same(ReadAll(other), bytes));
  EXPECT_TRUE(Same(ReadAll(one).substr(0, 1), "X"));
}

TEST_P(PassthroughOfSize, AMappingIsWaitedFor) {
  const auto bytes = std::string(GetParam(), 'a') + "abc";
  const auto ino = host_.Make("f");
  auto app = CreateApp(ino);
  ASSERT_TRUE(WriteAll(app.fd.get(), 0, bytes));
  auto* mapped = static_cast<char*>(
      ::mmap(nullptr, bytes.size(), PROT_READ | PROT_WRITE, MAP_SHARED, app.fd.get(), 0));
  ASSERT_NE(mapped, MAP_FAILED);
  Close(app);
  // Past all quick retries the daemon waits for the mapping.
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::milliseconds(100);
  while (std::chrono::steady_clock::now() < deadline) {
    ASSERT_EQ(host_.Versions(ino), 0U);
    std::this_thread::yield();
  }
  mapped[0] = 'M';
  ::munmap(mapped, bytes.size());
  ASSERT_TRUE(host_.Quiet());
  EXPECT_EQ(host_.Id(ino), index::ContentIdOf("M" + bytes.substr(1)));
}

TEST_F(PassthroughTest, ANewWriterWhileAMappingIsWaitedFor) {
  const auto ino = host_.Make("f");
  auto app = CreateApp(ino);
  ASSERT_TRUE(WriteAll(app.fd.get(), 0, "first"));
  void* mapped = ::mmap(nullptr, 5, PROT_READ | PROT_WRITE, MAP_SHARED, app.fd.get(), 0);
  ASSERT_NE(mapped, MAP_FAILED);
  Close(app);
  auto second = OpenApp(ino, O_RDWR);
  ASSERT_TRUE(WriteAll(second.fd.get(), 0, "other"));
  ::munmap(mapped, 5);
  Close(second);
  ASSERT_TRUE(host_.Quiet());
  EXPECT_TRUE(Same(ReadAll(ino), "other"));
}

TEST_F(PassthroughTest, TheModeIsFixedUntilTheLastRelease) {
  const auto ino = File("f", Bytes(kSmall));
  const auto reader = host_.MustOpen(ino, O_RDONLY);
  EXPECT_EQ(reader.mode, KernelMode::kCached) << "its bytes are in the index";
  auto writer = host_.MustOpen(ino, O_RDWR);
  EXPECT_EQ(writer.mode, KernelMode::kCached);
  host_.Write(writer.handle, "X");
  host_.Close(writer.handle);
  ASSERT_TRUE(host_.Quiet());
  EXPECT_TRUE(Same(host_.Read(reader.handle, 0, 1).value(), "X"));
  host_.Close(reader.handle);
  auto app = OpenApp(ino, O_RDWR);
  Close(app);
  ASSERT_TRUE(host_.Quiet());
}

TEST_F(PassthroughTest, WithoutPrivilegesEverythingIsCached) {
  const auto ino = File("f", Bytes(kMiddle));
  host_.backing.refuse = true;
  const auto opened = host_.MustOpen(ino, O_RDWR);
  EXPECT_EQ(opened.mode, KernelMode::kCached);
  host_.Write(opened.handle, "X");
  host_.Close(opened.handle);
  ASSERT_TRUE(host_.Quiet());
  EXPECT_TRUE(Same(ReadAll(ino), "X" + Bytes(kMiddle).substr(1)));
}

TEST_F(PassthroughTest, PagesOfACachedOpenAreNotKeptOverPassthroughWrites) {
  const auto ino = File("f", Bytes(kSmall));
  host_.Close(host_.MustOpen(ino, O_RDONLY).handle);
  EXPECT_TRUE(host_.files->GetStatus().writing == 0);
  auto app = OpenApp(ino, O_RDWR);
  ASSERT_TRUE(WriteAll(app.fd.get(), 0, "X"));
  Close(app);
  ASSERT_TRUE(host_.Quiet());
  const auto opened = host_.MustOpen(ino, O_RDONLY);
  EXPECT_EQ(opened.mode, KernelMode::kCached);
  EXPECT_FALSE(opened.keep_cache);
  host_.Close(opened.handle);
}

TEST_F(PassthroughTest, FilesWithNamesOutsideAreCached) {
  const auto ino = File("f", Bytes(kLarge));
  const auto outside = host_.cache_ / "outside";
  ASSERT_EQ(::link(host_.store->ObjectPath(host_.Id(ino)).c_str(), outside.c_str()), 0);
  const auto opened = host_.MustOpen(ino, O_RDWR);
  EXPECT_TRUE(Same(ReadFile(outside), Bytes(kLarge)));
  host_.Write(opened.handle, "X");
  host_.Close(opened.handle);
  ASSERT_TRUE(host_.Quiet());
  EXPECT_TRUE(Same(ReadFile(outside), Bytes(kLarge)));
}

TEST_F(PassthroughTest, TruncateWithoutAHandleUnderAReader) {
  const auto ino = File("f", Bytes(kLarge));
  auto reader = OpenApp(ino, O_RDONLY);
  Answer<void> answer;
  host_.files->Truncate(ino, std::nullopt, 10, answer.Done());
  ASSERT_TRUE(answer.Wait());
  EXPECT_TRUE(Same(Read(reader, 100), Bytes(kLarge).substr(0, 10)));
  ASSERT_TRUE(host_.Quiet());
  EXPECT_EQ(host_.Node(ino).size, 10U);
  Close(reader);
  EXPECT_TRUE(Same(ReadAll(ino), Bytes(kLarge).substr(0, 10)));
}

// The kernel drops the releases that it has not told when a mount ends.
TEST_P(PassthroughOfSize, WhatWasClosedRightBeforeTheEndIsAVersion) {
  const auto bytes = Bytes(GetParam(), 3);
  const auto ino = host_.Make("f");
  auto app = CreateApp(ino);
  ASSERT_TRUE(WriteAll(app.fd.get(), 0, bytes));
  app.fd.Reset();
  host_.Stop();
  EXPECT_TRUE(host_.catalogue->DirtyFiles().value().empty());
  EXPECT_EQ(host_.Versions(ino), 1U);
  EXPECT_EQ(host_.Id(ino), index::ContentIdOf(bytes));
  host_.Start(true);
  EXPECT_TRUE(Same(ReadAll(ino), bytes));
}

TEST_P(PassthroughOfSize, WhoeverWritesOnAfterTheEndIsNotCutOff) {
  const auto bytes = Bytes(GetParam(), 3);
  const auto ino = host_.Make("f");
  auto app = CreateApp(ino);
  ASSERT_TRUE(WriteAll(app.fd.get(), 0, bytes));
  host_.Stop();
  EXPECT_EQ(host_.Versions(ino), 0U) << "it may still change";
  ASSERT_TRUE(WriteAll(app.fd.get(), bytes.size(), "more"));
  app.fd.Reset();
  host_.backing.Reset();
  host_.Start(true);
  ASSERT_TRUE(host_.Quiet());
  EXPECT_TRUE(Same(ReadAll(ino), bytes + "more"));
}

}  // namespace
}  // namespace btfc::fs
