// Groups of local operations: what a kill leaves of them, and who sees them when.
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <sstream>

#include "catalogue_fixture.h"
#include "index/journal.h"
#include "index/recorded.h"

namespace btfc::index {
namespace {

class JournalTest : public testing::Test {
 protected:
  std::filesystem::path file() const { return dir_.path() / "ops"; }
  std::vector<std::string> Read(std::uint64_t group) {
    return Journal::Open(file()).value()->Read(group).value();
  }
  void Write(std::uint64_t group, const std::vector<std::string>& records) {
    const auto journal = std::move(Journal::Open(file()).value());
    journal->Begin(group);
    for (const auto& record : records) ASSERT_TRUE(journal->Append(record));
  }
  TempDir dir_;
};

TEST_F(JournalTest, OneGroupIsRead) {
  EXPECT_TRUE(Read(1).empty());
  const std::vector<std::string> records{"", "one", std::string(5000, 'x'), "12345678"};
  Write(1, records);
  EXPECT_EQ(records, Read(1));
  EXPECT_TRUE(Read(2).empty());
  Write(2, {"next"});
  EXPECT_TRUE(Read(1).empty());
  EXPECT_EQ(std::vector<std::string>{"next"}, Read(2)) << "what is behind it is of another group";
}

// After a power cut the database may be older than the journal and count the same groups again.
TEST_F(JournalTest, WhatAnotherProcessLeftBehindItsRecordsIsNotRead) {
  Write(1, {"aaaa", "bbbb", "cccc"});
  Write(1, {"dddd"});
  EXPECT_EQ(std::vector<std::string>{"dddd"}, Read(1));
}

TEST_F(JournalTest, ReadsUpToTheFirstDamage) {
  Write(1, {"aaaa", "bbbb", "cccc"});
  const auto size = std::filesystem::file_size(file());
  for (std::uintmax_t at = 0; at < size; ++at) {
    Write(1, {"aaaa", "bbbb", "cccc"});
    std::fstream damaged(file(), std::ios::in | std::ios::out | std::ios::binary);
    damaged.seekg(static_cast<std::streamoff>(at));
    const int byte = damaged.get();
    damaged.seekp(static_cast<std::streamoff>(at));
    damaged.put(static_cast<char>(byte ^ 0x10));
    damaged.close();
    EXPECT_EQ(at / (size / 3), Read(1).size()) << at;
  }
}

TEST_F(JournalTest, EndsWithTheFile) {
  Write(1, {"aaaa", "bbbb"});
  std::filesystem::resize_file(file(), std::filesystem::file_size(file()) - 1);
  EXPECT_EQ(std::vector<std::string>{"aaaa"}, Read(1));
}

class GroupTest : public CatalogueTest {
 protected:
  Host a_{'A', &wall_};

  // What another process did is what this one would have done, with the numbers it had given.
  template <class Do>
  std::map<std::string, Ino> Crash(Do&& what) {
    a_.Close();
    int pipe[2];
    EXPECT_EQ(0, ::pipe(pipe));
    const pid_t child = fork();
    if (child == 0) {
      a_.Reopen();
      what();
      for (const auto& [path, bytes] : a_.Show()) {
        const auto line = path + " " + std::to_string(a_.Find(path)) + "\n";
        (void)!::write(pipe[1], line.data(), line.size());
      }
      _exit(testing::Test::HasFailure() ? 1 : 0);
    }
    ::close(pipe[1]);
    std::string all(65536, '\0');
    std::size_t have = 0;
    for (ssize_t n = 1; n > 0; have += static_cast<std::size_t>(n)) {
      n = ::read(pipe[0], all.data() + have, all.size() - have);
      if (n < 0) break;
    }
    ::close(pipe[0]);
    int status = 0;
    EXPECT_EQ(child, waitpid(child, &status, 0));
    EXPECT_EQ(0, status);
    a_.Reopen();
    std::map<std::string, Ino> inos;
    std::istringstream lines(all.substr(0, have));
    std::string path;
    for (Ino ino = 0; lines >> path >> ino;) inos[path] = ino;
    return inos;
  }
};

TEST_F(GroupTest, EveryOperationSurvivesAKill) {
  const auto inos = Crash([this] {
    a_.Make("/folder", FolderNode());
    for (int i = 0; i < 40; ++i) a_.Create("/folder/f" + std::to_string(i), std::to_string(i));
    const Ino f = a_.Find("/folder/f1");
    ASSERT_TRUE(a_->SetXattr(f, "user.x", "value", 0));
    ASSERT_TRUE(a_->SetXattr(f, "user.y", "value", 0));
    ASSERT_TRUE(a_->RemoveXattr(f, "user.y"));
    ASSERT_TRUE(a_->SetAttributes(f, ModeChange(0600)));
    ASSERT_TRUE(a_->SetAttributes(f, MtimeChange(77)));
    ASSERT_TRUE(a_->Link(f, kRootIno, "link"));
    a_.Rename("/folder/f2", "/folder/f3");
    a_.Unlink("/folder/f4");
    ASSERT_TRUE(a_->BeginWrite(a_.Find("/folder/f5"), false));
    ASSERT_TRUE(a_->BeginWrite(a_.Find("/folder/f6"), false));
    ASSERT_TRUE(a_->AbandonWrite(a_.Find("/folder/f6")));
    ASSERT_TRUE(a_->RemoveFolder(a_.Make("/a", FolderNode()), "none").has_error());
    a_.Make("/gone", FolderNode());
    ASSERT_TRUE(a_->RemoveFolder(kRootIno, "gone"));
    a_.Make("/waits", FileNode());
  });
  ASSERT_FALSE(inos.empty());
  for (const auto& [path, ino] : inos) EXPECT_EQ(ino, a_.Find(path)) << path;
  const Ino f = a_.Find("/folder/f1");
  EXPECT_EQ("value", a_->GetXattr(f, "user.x").value());
  EXPECT_EQ(1u, a_->ListXattrs(f).value().size());
  EXPECT_EQ(0600u, a_.NodeAt("/link").mode);
  EXPECT_EQ(77, a_.NodeAt("/link").mtime_ns);
  EXPECT_EQ(f, a_.Find("/link"));
  EXPECT_EQ("2", a_.Bytes("/folder/f3"));
  EXPECT_EQ(0u, a_.Find("/folder/f2"));
  EXPECT_EQ(0u, a_.Find("/folder/f4"));
  EXPECT_EQ(0u, a_.Find("/gone"));
  ASSERT_EQ(2u, a_->DirtyFiles().value().size());
  EXPECT_TRUE(a_->CheckIntegrity());
}

TEST_F(GroupTest, NumbersAreNotGivenTwiceAfterAKill) {
  const auto inos = Crash([this] {
    for (int i = 0; i < 1500; ++i) a_.Make("/f" + std::to_string(i), FileNode());
  });
  const Ino next = a_.Make("/next", FileNode());
  for (int i = 0; i < 1500; ++i) ASSERT_GT(next, a_.Find("/f" + std::to_string(i)));
}

TEST_F(GroupTest, KilledAgainAndAgain) {
  for (int round = 0; round < 8; ++round) {
    Crash([&] {
      for (int i = 0; i <= round; ++i)
        a_.Create("/f" + std::to_string(round) + "-" + std::to_string(i), "x");
    });
    ASSERT_TRUE(a_->CheckIntegrity());
  }
  EXPECT_EQ(36u, a_.Show().size());
}

TEST_F(GroupTest, ReadersSeeWhatIsNotCommittedYet) {
  for (int i = 0; i < 200; ++i) {
    const auto path = "/f" + std::to_string(i);
    const Ino ino = a_.Make(path, FileNode());
    ASSERT_EQ(ino, a_.Find(path));
    a_.Commit(ino, path);
    ASSERT_EQ(path, a_.Bytes(path));
    a_.Unlink(path);
    ASSERT_EQ(0u, a_.Find(path));
  }
}

TEST_F(GroupTest, ARefusedOperationLeavesTheGroupAsItIs) {
  a_.Make("/f", FileNode());
  for (int i = 0; i < 50; ++i) {
    EXPECT_EQ(Errno(EEXIST), a_->Make(kRootIno, "f", FileNode()).error());
    EXPECT_EQ(Errno(ENOENT), a_->Unlink(kRootIno, "none").error());
  }
  EXPECT_NE(0u, a_.Find("/f"));
  EXPECT_TRUE(a_->CheckIntegrity());
}

}  // namespace
}  // namespace btfc::index
