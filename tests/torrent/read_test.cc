// Reads that wait, versions that share pieces with old ones, and fetches that go on after a
// restart.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <pthread.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <chrono>
#include <fstream>
#include <future>
#include <string>
#include <string_view>
#include <utility>

#include "index/merkle.h"
#include "pending_read.h"
#include "test_host.h"
#include "tests/support/needs.h"

namespace btfc::torrent {
namespace {

constexpr std::size_t kMiB = 1024 * 1024;

class ReadTest : public testing::Test {
 protected:
  static void Connect(TestHost& a, TestHost& b) {
    a.Start();
    b.Start({a.address()});
    ASSERT_TRUE(a.WaitForPeers(1));
    ASSERT_TRUE(b.WaitForPeers(1));
  }
  static std::uint64_t Received(TestHost& host) {
    return host.swarm->Status().peers.at(0).received_bytes;
  }
  static void SetPort(SwarmOptions& options, const std::string& address) {
    options.port = static_cast<std::uint16_t>(std::stoi(address.substr(address.find(':') + 1)));
  }
  const ClusterKey cluster_ = NewCluster();
};

TEST_F(ReadTest, OnlyWhatIsReadComes) {
  TestHost a(cluster_, 91);
  TestHost b(cluster_, 92);
  const std::string bytes = RandomBytes(64 * kMiB, 1);
  const auto id = a.objects->Put(bytes);
  Connect(a, b);
  for (const std::size_t offset : {40 * kMiB + 5, std::size_t{0}, bytes.size() - 10, 40 * kMiB}) {
    const std::size_t length = std::min<std::size_t>(300'000, bytes.size() - offset);
    const auto begin = std::chrono::steady_clock::now();
    PendingRead read(b, id, offset, 300'000);
    EXPECT_EQ(read.Wait(), std::error_code());
    std::cout << "read at " << offset << ": "
              << std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begin)
                     .count()
              << " ms\n";
    EXPECT_EQ(Pread(b, id, offset, length), bytes.substr(offset, length));
  }
  EXPECT_FALSE(b.objects->Has(id));
  EXPECT_LT(Received(b), 32 * kMiB);
  // Beyond the end there is nothing to wait for.
  EXPECT_EQ(PendingRead(b, id, bytes.size(), 10).Wait(), std::error_code());
  EXPECT_EQ(PendingRead(b, id, 0, 0).Wait(), std::error_code());
  b.swarm->Want(id);
  ASSERT_TRUE(b.objects->WaitFor(id));
  EXPECT_EQ(b.objects->Bytes(id), bytes);
  EXPECT_EQ(PendingRead(b, id, 12345, 10).Wait(), std::error_code());
}

TEST_F(ReadTest, ReadDuringAFetch) {
  TestHost a(cluster_, 93);
  TestHost b(cluster_, 94);
  const std::string bytes = RandomBytes(64 * kMiB, 2);
  const auto id = a.objects->Put(bytes);
  Connect(a, b);
  b.swarm->Want(id);
  PendingRead read(b, id, 60 * kMiB, 100'000);
  EXPECT_EQ(read.Wait(), std::error_code());
  EXPECT_EQ(Pread(b, id, 60 * kMiB, 100'000), bytes.substr(60 * kMiB, 100'000));
  EXPECT_TRUE(b.objects->WaitFor(id));
}

TEST_F(ReadTest, SmallObjectIsReadWhole) {
  TestHost a(cluster_, 95);
  TestHost b(cluster_, 96);
  const std::string bytes = RandomBytes(100'000, 3);
  const auto id = a.objects->Put(bytes);
  Connect(a, b);
  EXPECT_EQ(PendingRead(b, id, 50'000, 10).Wait(), std::error_code());
  EXPECT_EQ(Pread(b, id, 50'000, 10), bytes.substr(50'000, 10));
}

TEST_F(ReadTest, WaitsForAHolderAndCanBeCancelled) {
  TestHost a(cluster_, 97);
  TestHost b(cluster_, 98);
  Connect(a, b);
  const std::string bytes = RandomBytes(4 * kMiB, 4);
  const auto id = index::ContentIdOf(bytes);
  PendingRead cancelled(b, id, 0, 10);
  PendingRead read(b, id, 0, 10);
  EXPECT_TRUE(read.waiting());
  b.swarm->CancelRead(cancelled.number());
  EXPECT_EQ(cancelled.Wait(), Error::kCancelled);
  b.swarm->CancelRead(cancelled.number());  // once more does no harm
  a.objects->Put(bytes);
  a.swarm->Available(id);
  EXPECT_EQ(read.Wait(), std::error_code());
  EXPECT_EQ(Pread(b, id, 0, 10), bytes.substr(0, 10));
}

TEST_F(ReadTest, StopCallsOffReads) {
  TestHost a(cluster_, 99);
  a.Start();
  const auto id = index::ContentIdOf(RandomBytes(4 * kMiB, 5));
  PendingRead read(a, id, 0, 10);
  EXPECT_TRUE(read.waiting());
  const auto begin = std::chrono::steady_clock::now();
  a.swarm->Stop();
  EXPECT_EQ(read.Wait(), Error::kCancelled);
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(5));
}

TEST_F(ReadTest, RestartGoesOnWhereItWas) {
  TestHost a(cluster_, 101);
  TestHost b(cluster_, 102);
  const std::string bytes = RandomBytes(32 * kMiB, 6);
  const auto id = a.objects->Put(bytes);
  Connect(a, b);
  EXPECT_EQ(PendingRead(b, id, 8 * kMiB, 12 * kMiB).Wait(), std::error_code());
  const std::string address = a.address();
  b.Stop();
  a.Stop();
  // Nobody is there: what came is read all the same.
  b.Start({address});
  EXPECT_EQ(PendingRead(b, id, 10 * kMiB, kMiB).Wait(), std::error_code());
  EXPECT_EQ(Pread(b, id, 10 * kMiB, kMiB), bytes.substr(10 * kMiB, kMiB));
  PendingRead missing(b, id, 0, 10);
  EXPECT_TRUE(missing.waiting());
  b.swarm->Want(id);
  a.Start({}, [&address](SwarmOptions& options) { SetPort(options, address); });
  EXPECT_EQ(missing.Wait(), std::error_code());
  ASSERT_TRUE(b.objects->WaitFor(id));
  EXPECT_EQ(b.objects->Bytes(id), bytes);
  // 12 MiB and what was read ahead did not come again.
  EXPECT_LT(Received(b), 22 * kMiB);
}

TEST_F(ReadTest, PartialFileWithoutANoteIsCheckedPieceByPiece) {
  TestHost a(cluster_, 103);
  TestHost b(cluster_, 104);
  const std::string bytes = RandomBytes(16 * kMiB, 7);
  const auto id = a.objects->Put(bytes);
  // As a kill -9 leaves it: half of it right, but for one byte.
  std::string half = bytes.substr(0, 8 * kMiB);
  half[kMiB] ^= 1;
  std::ofstream(b.objects->PartialPath(id), std::ios::binary) << half;
  Connect(a, b);
  b.swarm->Want(id);
  ASSERT_TRUE(b.objects->WaitFor(id));
  EXPECT_EQ(b.objects->Bytes(id), bytes);
  EXPECT_LT(Received(b), 10 * kMiB);
}

TEST_F(ReadTest, NewVersionTakesWhatTheOldOneHas) {
  TestHost a(cluster_, 105);
  TestHost b(cluster_, 106);
  std::string bytes = RandomBytes(128 * kMiB, 8);
  const auto old = b.objects->Put(bytes);
  bytes.replace(77 * kMiB + 1000, 64 * 1024, RandomBytes(64 * 1024, 9));
  const auto id = a.objects->Put(bytes);
  b.objects->AddBase(id, old);
  Connect(a, b);
  const auto begin = std::chrono::steady_clock::now();
  b.swarm->Want(id);
  ASSERT_TRUE(b.objects->WaitFor(id));
  std::cout
      << "64 KiB of 128 MiB: "
      << std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begin).count()
      << " ms\n";
  EXPECT_TRUE(b.objects->Bytes(id) == bytes);
  EXPECT_TRUE(b.WaitUntil([](const SwarmStatus& status) {
    return status.peers.size() == 1 && status.peers[0].received_bytes > 64 * 1024;
  }));
  EXPECT_LT(Received(b), kMiB);
}

// Copying what the old version has may take longer than the new one is anywhere.
TEST_F(ReadTest, WhatTheOldVersionHasNotComesBeforeTheRestIsCopied) {
  TestHost a(cluster_, 124);
  TestHost b(cluster_, 125);
  std::string bytes = RandomBytes(32 * kMiB, 13);
  const auto old = b.objects->Put(bytes);
  bytes.replace(21 * kMiB, 64 * 1024, RandomBytes(64 * 1024, 14));
  const auto id = a.objects->Put(bytes);
  BTFC_NEEDS(!CanClone(*b.objects->Find(old), b.folder() / "clone"), "a filesystem without clones");
  b.objects->AddBase(id, old);
  std::atomic<bool> taken_back = false;
  b.objects->on_find = [&](const index::ContentId& base) {
    std::array<char, 16> thread{};
    ::pthread_getname_np(::pthread_self(), thread.data(), thread.size());
    if (base != old || std::string_view(thread.data()) != "btfc-hash") return;
    if (taken_back.exchange(true)) return;
    EXPECT_TRUE(Pread(b, id, 21 * kMiB, 64 * 1024) == bytes.substr(21 * kMiB, 64 * 1024));
    TakeBack(a, id);
  };
  Connect(a, b);
  b.swarm->Hashed(old, PiecesOf(b, old));
  PendingRead copied(b, id, 30 * kMiB, 10);
  b.swarm->Want(id);
  ASSERT_TRUE(b.objects->WaitFor(id));
  EXPECT_TRUE(taken_back);
  EXPECT_TRUE(b.objects->Bytes(id) == bytes);
  EXPECT_EQ(copied.Wait(), std::error_code());
  EXPECT_TRUE(b.WaitUntil([](const SwarmStatus& status) {
    return status.peers.size() == 1 && status.peers[0].received_bytes > 64 * 1024;
  }));
  EXPECT_LT(Received(b), kMiB);
}

// The file that is read is still made ready: another base is looked at.
TEST_F(ReadTest, WhatIsCopiedCanBeReadBeforeTheRestIs) {
  TestHost a(cluster_, 126);
  TestHost b(cluster_, 127);
  std::string bytes = RandomBytes(4 * kMiB, 15);
  const auto id = index::ContentIdOf(bytes);
  const auto other = b.objects->Put(RandomBytes(4 * kMiB, 16));
  ASSERT_EQ(a.objects->Put(bytes), id);
  bytes.back() ^= 1;
  const auto old = b.objects->Put(bytes);
  BTFC_NEEDS(!CanClone(*b.objects->Find(old), b.folder() / "clone"), "a filesystem without clones");
  b.objects->AddBase(id, old);
  b.objects->AddBase(id, other);
  std::promise<void> go_on;
  std::atomic<bool> first = true;
  b.objects->on_find = [&, may = go_on.get_future().share()](const index::ContentId& base) {
    std::array<char, 16> thread{};
    ::pthread_getname_np(::pthread_self(), thread.data(), thread.size());
    if (base == other && std::string_view(thread.data()) == "btfc-hash") {
      if (first.exchange(false)) may.wait();
    }
  };
  Connect(a, b);
  PendingRead copied(b, id, kMiB, 10);
  EXPECT_EQ(copied.Wait(), std::error_code());
  EXPECT_EQ(Pread(b, id, kMiB, 10), bytes.substr(kMiB, 10));
  PendingRead later(b, id, 2 * kMiB, 10);
  EXPECT_EQ(later.Wait(), std::error_code());
  PendingRead missing(b, id, 4 * kMiB - 10, 10);
  EXPECT_TRUE(missing.waiting());
  go_on.set_value();
  EXPECT_EQ(missing.Wait(), std::error_code());
}

// The version that is read was replaced at its only holder before it came, and is kept nowhere.
// What the next one has in common with it is taken from there as soon as that has come.
TEST_F(ReadTest, ASupersededVersionTakesWhatTheNextOneHas) {
  TestHost a(cluster_, 107);
  TestHost b(cluster_, 108);
  const std::string bytes = RandomBytes(16 * kMiB, 10);
  const auto old = a.objects->Put(bytes);
  Connect(a, b);
  ASSERT_EQ(PendingRead(b, old, 0, 10).Wait(), std::error_code());
  TakeBack(a, old);
  PendingRead same(b, old, 10 * kMiB, kMiB);
  PendingRead changed(b, old, 4 * kMiB, 10);
  EXPECT_TRUE(same.waiting());
  std::string next_bytes = bytes;
  next_bytes[4 * kMiB] ^= 1;
  const auto next = a.objects->Put(next_bytes);
  b.objects->AddBase(old, next);
  b.swarm->Want(next);
  EXPECT_EQ(same.Wait(), std::error_code());
  EXPECT_EQ(Pread(b, old, 10 * kMiB, kMiB), bytes.substr(10 * kMiB, kMiB));
  EXPECT_TRUE(changed.waiting());
  b.swarm->CancelRead(changed.number());
  EXPECT_EQ(changed.Wait(), make_error_code(Error::kCancelled));
}

// The same, but the next version comes while the superseded one is still filled up from another.
TEST_F(ReadTest, TheNextVersionIsNotForgottenIfItComesInBetween) {
  TestHost a(cluster_, 109);
  TestHost b(cluster_, 110);
  const std::string bytes = RandomBytes(8 * kMiB, 11);
  const auto old = a.objects->Put(bytes);
  const auto between = a.objects->Put(RandomBytes(8 * kMiB, 12));
  std::promise<void> preparing;
  std::promise<void> go_on;
  bool first = true;  // on the thread that prepares
  b.objects->on_find = [&, may = go_on.get_future().share()](const index::ContentId& id) {
    std::array<char, 16> thread{};
    ::pthread_getname_np(::pthread_self(), thread.data(), thread.size());
    if (id != between || std::string_view(thread.data()) != "btfc-hash") return;
    if (!std::exchange(first, false)) return;
    preparing.set_value();
    may.wait();
  };
  Connect(a, b);
  ASSERT_EQ(PendingRead(b, old, 0, 10).Wait(), std::error_code());
  TakeBack(a, old);
  PendingRead same(b, old, 5 * kMiB, 10);
  EXPECT_TRUE(same.waiting());
  b.objects->AddBase(old, between);
  b.swarm->Want(between);
  preparing.get_future().wait();
  std::string next_bytes = bytes;
  next_bytes[4 * kMiB] ^= 1;
  const auto next = a.objects->Put(next_bytes);
  b.objects->AddBase(old, next);
  b.swarm->Want(next);
  ASSERT_TRUE(b.objects->WaitFor(next));
  go_on.set_value();
  EXPECT_EQ(same.Wait(), std::error_code());
  EXPECT_EQ(Pread(b, old, 5 * kMiB, 10), bytes.substr(5 * kMiB, 10));
}

// What was hashed when it was committed is not read again before it is served: a file with a
// damaged piece is not found out, and its other pieces are given.
TEST_F(ReadTest, AnObjectWithItsHashesIsServedUnread) {
  TestHost a(cluster_, 118);
  TestHost b(cluster_, 119);
  Connect(a, b);
  const std::string bytes = RandomBytes(4 * kMiB, 118);
  const auto id = a.objects->Put(bytes);
  const auto file = *a.objects->Find(id);
  const int fd = ::open(file.c_str(), O_RDWR);
  const auto hashed = index::HashFile(fd, [] { return false; });
  ASSERT_TRUE(hashed);
  ASSERT_EQ(::pwrite(fd, "damage", 6, 3 * kMiB), 6);
  ::close(fd);
  a.swarm->Hashed(id, hashed.value().pieces);
  a.swarm->Available(id);
  PendingRead read(b, id, kMiB, 4096);
  EXPECT_EQ(read.Wait(), std::error_code());
  EXPECT_EQ(Pread(b, id, kMiB, 4096), bytes.substr(kMiB, 4096));
}

TEST_F(ReadTest, HashesOfSomethingElseAreNotKept) {
  TestHost a(cluster_, 120);
  TestHost b(cluster_, 121);
  Connect(a, b);
  const std::string bytes = RandomBytes(4 * kMiB, 120);
  const auto id = a.objects->Put(bytes);
  a.swarm->Hashed(id, std::vector<index::Hash>(16));
  a.swarm->Available(id);
  b.swarm->Want(id);
  ASSERT_TRUE(b.objects->WaitFor(id));
  EXPECT_EQ(b.objects->Bytes(id), bytes);
}

// What was fetched in part stays for the next time, and goes when no version needs it.
TEST_F(ReadTest, PartialFilesThatNobodyNeedsGo) {
  TestHost a(cluster_, 122);
  TestHost b(cluster_, 123);
  Connect(a, b);
  const auto needed = a.objects->Put(RandomBytes(4 * kMiB, 122));
  const auto forgotten = a.objects->Put(RandomBytes(4 * kMiB, 123));
  for (const auto& id : {needed, forgotten}) {
    PendingRead read(b, id, kMiB, 4096);
    ASSERT_EQ(read.Wait(), std::error_code());
  }
  b.Stop();
  ASSERT_TRUE(std::filesystem::exists(b.objects->PartialPath(forgotten)));
  b.objects->Forget(forgotten);
  b.Start({a.address()});
  EXPECT_TRUE(b.WaitUntil([&](const SwarmStatus&) {
    return !std::filesystem::exists(b.objects->PartialPath(forgotten));
  }));
  EXPECT_TRUE(std::filesystem::exists(b.objects->PartialPath(needed)));
}

}  // namespace
}  // namespace btfc::torrent
