// A user who may have no more room on a disk that has some: statvfs knows nothing of it, SQLite is
// told EDQUOT in the middle of a commit.
#include <sqlite3.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <map>

#include "catalogue_fixture.h"
#include "index/space_reserve.h"
#include "index/sqlite.h"

namespace btfc::index {
namespace {

using Pwrite = ssize_t (*)(int, const void*, size_t, off_t);

std::atomic<const char*> g_reserve = nullptr;  // the quota is used up as long as this file exists
std::atomic<bool> g_used_up = false;           // and stays so without it
std::atomic<Pwrite> g_pwrite = nullptr;

ssize_t PwriteWithQuota(int fd, const void* bytes, size_t size, off_t offset) {
  const char* const reserve = g_reserve;
  struct stat st {};
  if (reserve != nullptr && (g_used_up || ::access(reserve, F_OK) == 0) && ::fstat(fd, &st) == 0 &&
      offset + static_cast<off_t>(size) > st.st_size) {
    errno = EDQUOT;
    return -1;
  }
  return g_pwrite.load()(fd, bytes, size, offset);
}

// Below what the index puts there itself when it opens its first database.
const bool kInstalled = [] {
  sqlite3_vfs* const vfs = sqlite3_vfs_find(nullptr);
  for (const char* name : {"pwrite", "pwrite64"}) {
    const auto former = vfs->xGetSystemCall(vfs, name);
    if (former == nullptr) continue;
    g_pwrite = reinterpret_cast<Pwrite>(former);
    vfs->xSetSystemCall(vfs, name, reinterpret_cast<sqlite3_syscall_ptr>(&PwriteWithQuota));
  }
  return true;
}();

using Pread = ssize_t (*)(int, void*, size_t, off_t);

// As long as it lives SQLite can read nothing from the disk.
class BrokenDisk {
 public:
  BrokenDisk() {
    for (const auto& [name, former] : former_) Set(name, &Fail);
  }
  ~BrokenDisk() {
    for (const auto& [name, former] : former_) Set(name, former);
  }
  BrokenDisk(const BrokenDisk&) = delete;
  BrokenDisk& operator=(const BrokenDisk&) = delete;

 private:
  static ssize_t Fail(int, void*, size_t, off_t) {
    errno = ETIMEDOUT;  // with EIO SQLite would say that the database is malformed
    return -1;
  }
  static Pread Get(const char* name) {
    sqlite3_vfs* const vfs = sqlite3_vfs_find(nullptr);
    return reinterpret_cast<Pread>(vfs->xGetSystemCall(vfs, name));
  }
  static void Set(const char* name, Pread call) {
    sqlite3_vfs* const vfs = sqlite3_vfs_find(nullptr);
    if (call == nullptr) return;
    vfs->xSetSystemCall(vfs, name, reinterpret_cast<sqlite3_syscall_ptr>(call));
  }
  std::map<const char*, Pread> former_{{"pread", Get("pread")}, {"pread64", Get("pread64")}};
};

class QuotaTest : public CatalogueTest {
 protected:
  void SetUp() override {
    reserve_ = (a_.dir() / "index.db-reserve").native();
    ASSERT_TRUE(kInstalled && std::filesystem::exists(reserve_));
  }
  void TearDown() override {
    g_reserve = nullptr;
    g_used_up = false;
  }

  Host a_{'A', &wall_};
  std::string reserve_;
};

TEST_F(QuotaTest, WhatWasAnsweredIsCommittedWithWhatTheReserveHeld) {
  g_reserve = reserve_.c_str();
  for (int i = 0; i < 100; ++i) a_.Create("/f" + std::to_string(i), std::string(8000, 'q'));
  EXPECT_TRUE(a_->Sync());
  EXPECT_FALSE(std::filesystem::exists(reserve_));
  a_.Reopen();
  EXPECT_EQ(a_.Show().size(), 100U);
}

TEST_F(QuotaTest, WithoutRoomEachOperationIsRefusedByItselfAndDeletionsGoOn) {
  a_.Create("/kept", "kept");
  a_.Create("/gone", std::string(8000, 'g'));
  ASSERT_TRUE(a_->Sync());
  g_reserve = reserve_.c_str();
  a_.Create("/last", std::string(8000, 'l'));  // with the reserve
  ASSERT_TRUE(a_->Sync());
  g_used_up = true;
  std::error_code refused;
  for (int i = 0; i < 100 && !refused; ++i) {
    const auto made = a_->Make(kRootIno, "f" + std::to_string(i), FileNode());
    if (!made) refused = made.error();
  }
  EXPECT_EQ(refused, Errno(EDQUOT));
  EXPECT_EQ(a_.Bytes("/kept"), "kept");
  g_used_up = false;  // something else went
  a_.Unlink("/gone");
  EXPECT_TRUE(std::filesystem::exists(reserve_)) << "it is kept again";
  g_reserve = nullptr;
  a_.Create("/after", "after");
  a_.Reopen();
  EXPECT_EQ(a_.Find("/gone"), 0U);
  EXPECT_EQ(a_.Bytes("/after"), "after");
}

// Whoever fills the disk takes what the reserve gives up as well.
TEST_F(QuotaTest, WhatIsGivenUpIsNotAllAtOnce) {
  SpaceReserve reserve(a_.dir() / "other.db");
  ASSERT_TRUE(reserve.held());
  const auto size = [&] { return std::filesystem::file_size(a_.dir() / "other.db-reserve"); };
  int steps = 0;
  for (auto before = size(); reserve.Release(); ++steps) {
    EXPECT_FALSE(reserve.held());
    if (!std::filesystem::exists(a_.dir() / "other.db-reserve")) continue;
    EXPECT_LT(size(), before);
    before = size();
  }
  EXPECT_EQ(steps, SpaceReserve::kBytes / SpaceReserve::kStep);
  EXPECT_FALSE(std::filesystem::exists(a_.dir() / "other.db-reserve"));
  reserve.Restore();
  EXPECT_TRUE(reserve.held());
  EXPECT_TRUE(reserve.Release());
  // The next start finds what is left, and takes the rest.
  SpaceReserve next(a_.dir() / "other.db");
  EXPECT_TRUE(next.held());
  EXPECT_EQ(size(), static_cast<std::uint64_t>(SpaceReserve::kBytes));
}

// Nobody asks why a checkpoint failed; what fails next on this thread has reasons of its own.
TEST_F(QuotaTest, ACheckpointWithoutRoomMakesNoOtherFailureOne) {
  auto opened = Database::Open(a_.dir() / "other.db", Database::Mode::kReadWrite);
  ASSERT_TRUE(opened);
  Database& database = *opened.value();
  database.Execute("PRAGMA journal_mode = WAL; CREATE TABLE t (x BLOB)");
  database.Execute("INSERT INTO t VALUES (zeroblob(1000000))");
  g_reserve = reserve_.c_str();
  EXPECT_NE(SQLITE_OK, sqlite3_wal_checkpoint_v2(database.handle(), nullptr,
                                                 SQLITE_CHECKPOINT_PASSIVE, nullptr, nullptr));
  g_reserve = nullptr;
  sqlite3_db_release_memory(database.handle());
  std::error_code why;
  try {
    const BrokenDisk broken;
    database.Number("SELECT sum(length(x || x)) FROM t");
  } catch (const StorageFailure& failure) {
    why = failure.code();
  }
  EXPECT_EQ(make_error_code(Error::kStorage), why);
}

}  // namespace
}  // namespace btfc::index
