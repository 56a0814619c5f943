// All calls come from any thread.
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <filesystem>
#include <mutex>
#include <string>
#include <thread>

#include "catalogue_fixture.h"
#include "index/sqlite.h"
#include "index/wal_keeper.h"
#include "tests/support/eventually.h"

namespace btfc::index {
namespace {

class ThreadsTest : public CatalogueTest {
 protected:
  Host a_{'A', &wall_}, b_{'B', &wall_};
};

TEST_F(ThreadsTest, EverybodyAtOnce) {
  constexpr int kFiles = 60;
  std::vector<std::thread> threads;
  std::atomic<int> writers = 3;
  for (int t = 0; t < 3; ++t) {
    threads.emplace_back([this, t, &writers] {
      const std::string folder = "/d" + std::to_string(t);
      a_.Mkdir(folder);
      for (int i = 0; i < kFiles; ++i) {
        const Ino ino = a_.Create(folder + "/f" + std::to_string(i), std::to_string(i));
        if (i % 20 == 0) {
          EXPECT_TRUE(a_->BeginWrite(ino, true));
        }
        if (i % 20 == 1) {
          EXPECT_TRUE(a_->Sync());
        }
        if (i % 3 == 0) a_.Unlink(folder + "/f" + std::to_string(i));
      }
      --writers;
    });
  }
  for (int t = 0; t < 2; ++t) {
    threads.emplace_back([this, &writers] {
      while (writers > 0) {
        for (const auto& [path, bytes] : a_.Show()) EXPECT_FALSE(bytes.empty()) << path;
        EXPECT_TRUE(a_->Count());
      }
    });
  }
  threads.emplace_back([this, &writers] {
    while (writers > 0) Send(a_, b_);
  });
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(3u + 3 * (kFiles - kFiles / 3), Exchange({&a_, &b_}).size());
}

// Also of a catalogue that was made just now.
TEST_F(ThreadsTest, TheLogMovesIntoTheDatabase) {
  const auto database = a_.Options().path;
  ASSERT_LT(std::filesystem::file_size(database), 100'000U) << "all in the log as yet";
  for (int i = 0; i < 1500; ++i) a_.Create("/f" + std::to_string(i), std::string(16'000, 'x'));
  EXPECT_TRUE(test::Eventually([&] { return std::filesystem::file_size(database) > 1'000'000U; },
                               std::chrono::seconds(60)));
}

// A reader kept it from starting over.
TEST_F(ThreadsTest, ALogThatGrewTooLongIsShortAgain) {
  const auto database = a_.Options().path;
  const auto log = [&] { return std::filesystem::file_size(database.string() + "-wal"); };
  constexpr std::uintmax_t kKept = WalKeeper::kBytesKept;
  constexpr std::uintmax_t kTooLong = kKept + (32U << 20U);
  int files = 0;
  const auto write = [&] {
    const Ino ino = a_.Make("/f" + std::to_string(files++), FileNode());
    ASSERT_TRUE(a_->SetXattr(ino, "user.x", std::string(65'000, 'x'), 0));
  };
  {
    const auto reader = Database::Open(database, Database::Mode::kReadOnly);
    ASSERT_TRUE(reader);
    const Transaction begun(*reader.value(), Transaction::Kind::kRead);
    reader.value()->Number("SELECT count(*) FROM inode");
    while (log() < kTooLong && files < 10'000) ASSERT_NO_FATAL_FAILURE(write());
    ASSERT_GE(log(), kTooLong);
  }
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  while (log() > kKept + (1U << 20U) && std::chrono::steady_clock::now() < deadline) {
    ASSERT_NO_FATAL_FAILURE(write());
  }
  EXPECT_LE(log(), kKept + (1U << 20U));
}

TEST_F(ThreadsTest, ReadersDoNotWaitForWhoWrites) {
  a_.Create("/f", "x");
  std::mutex mutex;
  std::condition_variable changed;
  bool begun = false, over = false;
  std::thread writer([&] {
    Catalogue::Batch batch(*a_);
    a_.Create("/g", "y");
    std::unique_lock lock(mutex);
    begun = true;
    changed.notify_all();
    changed.wait(lock, [&] { return over; });
    EXPECT_TRUE(batch.Finish());
  });
  {
    std::unique_lock lock(mutex);
    changed.wait(lock, [&] { return begun; });
  }
  EXPECT_EQ("x", a_.Bytes("/f"));
  EXPECT_EQ(0u, a_.Find("/g"));
  EXPECT_TRUE(a_->Sync());
  EXPECT_NE(nullptr, a_->Cut({}).value());
  {
    const std::lock_guard lock(mutex);
    over = true;
  }
  changed.notify_all();
  writer.join();
  EXPECT_EQ("y", a_.Bytes("/g"));
}

TEST_F(ThreadsTest, ListenersMayAskTheCatalogue) {
  b_.Create("/f", "x");
  Ino seen = 0;
  a_->OnChange([&](const std::vector<Change>& changes) {
    for (const auto& change : changes) {
      if (change.what == Change::What::kEntry) seen = a_.Find("/" + change.name);
    }
    EXPECT_TRUE(a_->SetAttributes(kRootIno, ModeChange(0700)));
  });
  Send(b_, a_);
  EXPECT_EQ(a_.Find("/f"), seen);
}

}  // namespace
}  // namespace btfc::index
