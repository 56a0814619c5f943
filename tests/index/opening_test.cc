// Opening what is there: after a crash, after a copy, and what cannot be opened.
#include <sched.h>
#include <sqlite3.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <fstream>

#include "catalogue_fixture.h"
#include "tests/support/needs.h"

namespace btfc::index {
namespace {

class OpeningTest : public CatalogueTest {
 protected:
  Host a_{'A', &wall_};

  std::filesystem::path file() const { return a_.dir() / "index.db"; }

  void Sql(const std::string& sql) {
    sqlite3* db = nullptr;
    ASSERT_EQ(SQLITE_OK, sqlite3_open(file().c_str(), &db));
    EXPECT_EQ(SQLITE_OK, sqlite3_exec(db, sql.c_str(), nullptr, nullptr, nullptr))
        << sqlite3_errmsg(db);
    sqlite3_close(db);
  }

  std::string Bytes() const {
    std::ifstream in(file(), std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }

  // Another process opens the catalogue, does this, and ends without closing anything.
  template <class Do>
  void Crash(Do&& what) {
    a_.Close();
    const pid_t child = fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      a_.Reopen();
      what();
      _exit(testing::Test::HasFailure() ? 1 : 0);
    }
    int status = 0;
    ASSERT_EQ(child, waitpid(child, &status, 0));
    ASSERT_EQ(0, status);
    a_.Reopen();
  }

  std::error_code OpenError(const CatalogueOptions& options) {
    const auto opened = Catalogue::Open(options);
    return opened ? std::error_code() : opened.error();
  }
};

TEST_F(OpeningTest, ACrashLosesNothingThatHadReturned) {
  const DeviceId self = a_->self();
  Crash([this] {
    for (int i = 0; i < 50; ++i) a_.Create("/f" + std::to_string(i), "x");
    a_.Make("/waits", FileNode());
    a_.Unlink("/f7");
  });
  EXPECT_EQ(50u, a_.Show().size());
  EXPECT_EQ(self, a_->self()) << "without a reboot it is the same device";
  EXPECT_TRUE(a_->CheckIntegrity());
  ASSERT_EQ(1u, a_->DirtyFiles().value().size());
  EXPECT_EQ(a_.Find("/waits"), a_->DirtyFiles().value()[0].ino);
}

TEST_F(OpeningTest, ABatchThatACrashCutOffLeftNothing) {
  Crash([this] {
    auto* batch = new Catalogue::Batch(*a_);
    (void)batch;
    for (int i = 0; i < 50; ++i) a_.Create("/f" + std::to_string(i), "x");
  });
  EXPECT_TRUE(a_.Show().empty());
}

TEST_F(OpeningTest, WhatNobodyCanReachAfterACrashIsDropped) {
  Crash([this] {
    a_.Make("/removed", FileNode());
    a_.Unlink("/removed");
  });
  EXPECT_TRUE(a_->DirtyFiles().value().empty());
  EXPECT_TRUE(a_->CheckIntegrity());
}

TEST_F(OpeningTest, AnUncleanEndAcrossARebootIsANewDevice) {
  const DeviceId self = a_->self();
  a_.Close();
  Sql("UPDATE meta SET value = 'another boot' WHERE key = 'boot'");
  a_.Reopen();
  EXPECT_EQ(self, a_->self()) << "it had been closed";
  a_.Close();
  Sql("UPDATE meta SET value = 'another boot' WHERE key = 'boot'");
  Sql("UPDATE meta SET value = '0' WHERE key = 'clean'");
  a_.Reopen();
  EXPECT_NE(self, a_->self());
  EXPECT_EQ(2u, a_->Devices().value().size());
  EXPECT_EQ("A", a_->Devices().value()[1].name);
}

TEST_F(OpeningTest, AnotherMachineFileOrKeyIsANewDevice) {
  DeviceId self = a_->self();
  a_.Close();
  Sql("UPDATE meta SET value = 'another machine' WHERE key = 'machine'");
  a_.Reopen();
  EXPECT_NE(self, a_->self());
  self = a_->self();
  a_.Close();
  std::filesystem::copy_file(file(), a_.dir() / "copy");
  std::filesystem::rename(a_.dir() / "copy", file());
  a_.Reopen();
  EXPECT_NE(self, a_->self());
  self = a_->self();
  a_.Close();
  auto options = a_.Options();
  options.node_key.fill(99);
  const auto other = Catalogue::Open(options);
  ASSERT_TRUE(other);
  EXPECT_NE(self, other.value()->self());
}

TEST_F(OpeningTest, AnOldCopyOfItselfGoesOnAsANewDevice) {
  Host b('B', &wall_);
  const Ino file_here = a_.Create("/f", "1");
  ASSERT_TRUE(a_->BeginWrite(file_here, false));
  Exchange({&a_, &b});
  const DeviceId self = a_->self();
  a_.Close();
  const std::string old = Bytes();
  a_.Reopen();
  a_.Create("/g", "2");
  a_.Write("/f", "3");
  Exchange({&a_, &b});
  a_.Close();
  // The same file, with its contents of before.
  { std::fstream(file(), std::ios::in | std::ios::out | std::ios::binary) << old; }
  std::filesystem::resize_file(file(), old.size());
  a_.Reopen();
  ASSERT_EQ(self, a_->self());
  EXPECT_EQ(0u, a_.Find("/g"));
  a_.Create("/h", "4");  // with a number that this device has used already
  EXPECT_EQ(make_error_code(Error::kNotCovered), Give(a_, Cut(b, a_->Known())).error());
  EXPECT_NE(self, a_->self());
  EXPECT_FALSE(a_->Known().contains(self));
  Send(b, a_);
  EXPECT_EQ("2", a_.Bytes("/g"));
  EXPECT_EQ("3", a_.Bytes("/f"));
  a_.Create("/i", "5");
  const auto shown = Exchange({&a_, &b});
  EXPECT_EQ("5", shown.at("/i"));
  EXPECT_EQ("4", shown.at("/h"));
  EXPECT_EQ("2", shown.at("/g"));
  a_.Reopen();
  EXPECT_NE(self, a_->self());
}

TEST_F(OpeningTest, RefusesWhatIsNotItsOwn) {
  a_.Create("/f", "x");
  a_.Close();
  auto options = a_.Options();
  options.cluster.fill(8);
  EXPECT_EQ(make_error_code(Error::kOtherCluster), OpenError(options));
  Sql("PRAGMA user_version = 1000");
  EXPECT_EQ(make_error_code(Error::kTooNew), OpenError(a_.Options()));
  Sql("PRAGMA user_version = 1");
  Sql("PRAGMA application_id = 1");
  EXPECT_EQ(make_error_code(Error::kCorrupt), OpenError(a_.Options()));
}

TEST_F(OpeningTest, RefusesWhatIsNoDatabase) {
  a_.Close();
  std::ofstream(file(), std::ios::binary | std::ios::trunc) << std::string(10000, 'x');
  EXPECT_EQ(make_error_code(Error::kCorrupt), OpenError(a_.Options()));
}

// SQLite would take it for a new database, and remove the log beside it.
TEST_F(OpeningTest, AnEmptyFileWhereAnIndexWasIsDamage) {
  a_.Create("/f", "x");
  a_.Close();
  for (const std::uintmax_t length : {0, 1, 15, 30, 100, 600, 4096, 5000}) {
    const std::string whole = Bytes();
    std::filesystem::resize_file(file(), length);
    std::ofstream(a_.dir() / "index.db-wal") << "the log";
    const std::string left = Bytes();
    EXPECT_EQ(make_error_code(Error::kCorrupt), OpenError(a_.Options())) << length;
    EXPECT_EQ(left, Bytes()) << length;
    if (length <= 1) {
      EXPECT_TRUE(std::filesystem::exists(a_.dir() / "index.db-wal")) << length;
    }
    std::filesystem::remove(a_.dir() / "index.db-wal");
    std::ofstream(file(), std::ios::binary | std::ios::trunc) << whole;
  }
  a_.Reopen();
  EXPECT_EQ("x", a_.Bytes("/f"));
}

TEST_F(OpeningTest, ADatabaseThatLostItsTablesIsDamage) {
  a_.Close();
  std::filesystem::remove(file());
  Sql("PRAGMA journal_mode = WAL");
  ASSERT_GT(Bytes().size(), 0u);
  EXPECT_EQ(make_error_code(Error::kCorrupt), OpenError(a_.Options()));
}

TEST_F(OpeningTest, AnIndexFromBeforeDevicesSaidWhoseTheyAreKnowsItsHosts) {
  Host b('B', &wall_);
  a_.Create("/f", "1");
  b.Create("/g", "2");
  Exchange({&a_, &b});
  const auto before = a_->Devices().value();
  ASSERT_EQ(2u, before.size());
  a_.Close();
  Sql("ALTER TABLE device DROP COLUMN incarnation; ALTER TABLE seen DROP COLUMN parts; "
      "PRAGMA user_version = 3");
  a_.Reopen();
  const auto after = a_->Devices().value();
  ASSERT_EQ(2u, after.size());
  for (std::size_t i = 0; i < after.size(); ++i) {
    EXPECT_EQ(before[i].name, after[i].name);
    EXPECT_EQ(before[i].node_key, after[i].node_key);
  }
  b.Create("/h", "3");
  const auto shown = Exchange({&a_, &b});
  EXPECT_EQ("3", shown.at("/h"));
}

TEST_F(OpeningTest, WhatAnotherProgramHasOpenIsBusy) {
  a_.Create("/file", "bytes");
  a_.Close();
  int ready[2];
  ASSERT_EQ(0, pipe(ready));
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    sqlite3* db = nullptr;
    sqlite3_open(file().c_str(), &db);
    sqlite3_exec(db, "BEGIN; SELECT count(*) FROM inode", nullptr, nullptr, nullptr);
    _exit(write(ready[1], "x", 1) == 1 && pause() != 0 ? 0 : 1);
  }
  char byte = 0;
  ASSERT_EQ(1, read(ready[0], &byte, 1));
  EXPECT_EQ(Errno(EBUSY), OpenError(a_.Options()));
  kill(child, SIGKILL);
  ASSERT_EQ(child, waitpid(child, nullptr, 0));
  close(ready[0]);
  close(ready[1]);
  a_.Reopen();
  EXPECT_EQ("bytes", a_.Bytes("/file"));
}

// Whatever a kill left of the first start: the next one makes the index.
TEST_F(OpeningTest, AFirstStartThatWasKilledBeginsAgain) {
  auto options = a_.Options();
  const auto mark = [&](const std::string& folder) {
    options.path = a_.dir() / folder / "index.db";
    std::filesystem::create_directory(a_.dir() / folder);
    std::ofstream(options.path.native() + "-new");
  };
  mark("nothing");
  EXPECT_FALSE(OpenError(options));
  EXPECT_FALSE(std::filesystem::exists(options.path.native() + "-new"));
  mark("empty");
  std::ofstream(options.path.native());
  EXPECT_FALSE(OpenError(options));
  EXPECT_FALSE(std::filesystem::exists(options.path.native() + "-new"));
  mark("header");
  sqlite3* db = nullptr;
  ASSERT_EQ(SQLITE_OK, sqlite3_open(options.path.c_str(), &db));
  sqlite3_exec(db, "PRAGMA journal_mode = WAL", nullptr, nullptr, nullptr);
  sqlite3_close(db);
  ASSERT_GT(std::filesystem::file_size(options.path), 0u);
  EXPECT_FALSE(OpenError(options));
  EXPECT_FALSE(OpenError(options)) << "and then it is an index like any other";
  std::filesystem::resize_file(options.path, 0);
  EXPECT_EQ(make_error_code(Error::kCorrupt), OpenError(options));
}

TEST_F(OpeningTest, ADamagedDatabaseIsNoticed) {
  {
    Catalogue::Batch batch(*a_);
    for (int i = 0; i < 500; ++i) a_.Create("/f" + std::to_string(i), "x");
    ASSERT_TRUE(batch.Finish());
  }
  a_.Close();
  std::string bytes = Bytes();
  for (std::size_t at = 8192; at < bytes.size(); at += 4096) {
    bytes.replace(at, 100, std::string(100, '\xff'));
  }
  std::ofstream(file(), std::ios::binary | std::ios::trunc) << bytes;
  const auto opened = Catalogue::Open(a_.Options());
  if (opened) {
    EXPECT_FALSE(opened.value()->CheckIntegrity());
  } else {
    EXPECT_EQ(make_error_code(Error::kCorrupt), opened.error());
  }
}

TEST_F(OpeningTest, AFolderThatIsNotThere) {
  auto options = a_.Options();
  options.path = a_.dir() / "none" / "index.db";
  EXPECT_TRUE(OpenError(options));
}

// In a child, whose mount namespace goes with it: 0 good, 1 wrong, 77 no namespace to be had.
int FillDisk(const std::filesystem::path& folder, CatalogueOptions options) {
  if (unshare(geteuid() == 0 ? CLONE_NEWNS : CLONE_NEWNS | CLONE_NEWUSER) != 0) return 77;
  if (mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) return 77;
  if (mount("tmpfs", folder.c_str(), "tmpfs", 0, "size=1m") != 0) return 77;
  options.path = folder / "index.db";
  {
    auto opened = Catalogue::Open(options);
    if (!opened) return 1;
    std::size_t made = 0;
    for (;; ++made) {
      const auto node = opened.value()->Make(kRootIno, "f" + std::to_string(made), FileNode());
      if (node) continue;
      if (node.error() != Errno(ENOSPC)) return 1;
      break;
    }
    if (made < 10) return 1;
    if (opened.value()->List(kRootIno, 0, 1'000'000).value().size() != made) return 1;
  }
  if (mount(nullptr, folder.c_str(), nullptr, MS_REMOUNT, "size=10m") != 0) return 77;
  auto opened = Catalogue::Open(options);
  if (!opened || !opened.value()->CheckIntegrity()) return 1;
  return opened.value()->Make(kRootIno, "after", FileNode()) ? 0 : 1;
}

TEST_F(OpeningTest, AFullDiskIsSaidAndLeavesNothingHalfMade) {
  const auto folder = a_.dir() / "small";
  std::filesystem::create_directory(folder);
  a_.Close();
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) _exit(FillDisk(folder, a_.Options()));
  int status = 0;
  ASSERT_EQ(child, waitpid(child, &status, 0));
  BTFC_NEEDS(!WIFEXITED(status) || WEXITSTATUS(status) != 77, "needs a mount namespace");
  EXPECT_EQ(0, status);
}

}  // namespace
}  // namespace btfc::index
