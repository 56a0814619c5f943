// libtorrent says that a piece passed before all of it is written; then the disk refuses.
#include <gtest/gtest.h>

#include <cerrno>
#include <chrono>
#include <filesystem>
#include <string>
#include <thread>

#include "held_write.h"
#include "pending_read.h"
#include "test_host.h"
#include "tests/support/eventually.h"

namespace btfc::torrent {
namespace {

constexpr std::size_t kMiB = 1024 * 1024;

class DiskErrorTest : public testing::Test {
 protected:
  void SetUp() override {
    a_.Start();
    b_.Start({a_.address()});
    ASSERT_TRUE(a_.WaitForPeers(1));
    ASSERT_TRUE(b_.WaitForPeers(1));
  }
  // In memory, so many bytes were found to be right.
  bool Passed(std::uint64_t bytes) {
    return b_.WaitUntil([bytes](const SwarmStatus& status) {
      return status.fetching.size() == 1 && status.fetching[0].done_bytes >= bytes;
    });
  }
  // Comes to be so: in many times what is between two looks.
  bool NobodyLooks() {
    return test::Eventually([this] {
      const auto looks = b_.objects->looks();
      std::this_thread::sleep_for(std::chrono::milliseconds(500));
      return b_.objects->looks() == looks;
    });
  }
  void ExpectArrives(const index::ContentId& id, const std::string& bytes) {
    ASSERT_TRUE(b_.objects->WaitFor(id));
    EXPECT_TRUE(b_.objects->Bytes(id) == bytes);
  }

  const ClusterKey cluster_ = NewCluster();
  HeldWrite held_{8 * kMiB - 1};  // outlives those who write
  TestHost a_{cluster_, 230};
  TestHost b_{cluster_, 231};
};

TEST_F(DiskErrorTest, WhatWasNotWrittenIsNotTakenForWhole) {
  const std::string bytes = RandomBytes(8 * kMiB, 1);
  const auto id = a_.objects->Put(bytes);
  b_.swarm->Want(id);
  ASSERT_TRUE(Passed(bytes.size()));
  EXPECT_FALSE(b_.objects->Has(id));
  held_.Refuse(ENOSPC);
  ExpectArrives(id, bytes);
  EXPECT_TRUE(held_.refused());
}

TEST_F(DiskErrorTest, NobodyLooksForWhatNobodyReadsAnyMore) {
  const auto id = a_.objects->Put(RandomBytes(8 * kMiB, 3));
  PendingRead read(b_, id, 0, 8 * kMiB);
  ASSERT_TRUE(Passed(8 * kMiB));
  EXPECT_TRUE(read.waiting());
  b_.swarm->CancelRead(read.number());
  EXPECT_TRUE(NobodyLooks());
  held_.Refuse(ENOSPC);
}

TEST_F(DiskErrorTest, NobodyLooksForWhatWasRefused) {
  const auto id = a_.objects->Put(RandomBytes(8 * kMiB, 4));
  PendingRead read(b_, id, 0, 8 * kMiB);
  ASSERT_TRUE(Passed(8 * kMiB));
  // No try after this one gets a file, either.
  const auto file = b_.objects->PartialPath(id);
  ASSERT_TRUE(std::filesystem::remove(file));
  ASSERT_TRUE(std::filesystem::create_directory(file));
  held_.Refuse(ENOSPC);
  EXPECT_TRUE(NobodyLooks());
  EXPECT_TRUE(read.waiting());
}

// Nobody hears of the error any more; what is noted of the file is true nevertheless.
TEST_F(DiskErrorTest, WhatWasNotWrittenAtTheEndIsNotNoted) {
  const std::string bytes = RandomBytes(32 * kMiB, 2);
  const auto id = a_.objects->Put(bytes);
  PendingRead read(b_, id, 0, 8 * kMiB);
  ASSERT_TRUE(Passed(8 * kMiB));
  std::thread stop([this] { b_.Stop(); });
  // Before it ends that would be an error like any other, which the test above is about.
  std::this_thread::sleep_for(std::chrono::milliseconds(500));
  held_.Refuse(EIO);
  stop.join();
  EXPECT_TRUE(held_.refused());
  b_.Start({a_.address()});
  b_.swarm->Want(id);
  ExpectArrives(id, bytes);
}

}  // namespace
}  // namespace btfc::torrent
