// Hosts on links of a known speed, against the time that the links alone need.
#include "lab.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <future>
#include <memory>
#include <string>
#include <vector>

#include "pending_read.h"
#include "test_host.h"
#include "tests/support/needs.h"

namespace btfc::torrent {
namespace {

constexpr double kMiB = 1024.0 * 1024;

double Seconds(std::chrono::steady_clock::time_point since) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - since).count();
}

class LabTest : public testing::Test {
 protected:
  // Hosts that find each other by Local Peer Discovery.
  void MakeHosts(const Lab& lab, int count) {
    for (int i = 0; i < count; ++i) {
      hosts_.push_back(std::make_unique<TestHost>(cluster_, static_cast<std::uint8_t>(i + 1)));
      hosts_.back()->SetIp(lab.Ip(i));
    }
  }
  void StartHost(const Lab& lab, int i) {
    lab.In(i, [&] {
      hosts_[static_cast<std::size_t>(i)]->Start({}, [i](SwarmOptions& options) {
        options.listen.clear();
        options.port = static_cast<std::uint16_t>(51413 + i);  // a Doorkeeper knows only its port
        options.lpd = true;
      });
    });
  }
  static std::uint64_t Sent(TestHost& host) {
    std::uint64_t total = 0;
    for (const auto& peer : host.swarm->Status().peers) total += peer.sent_bytes;
    return total;
  }
  const ClusterKey cluster_ = NewCluster();
  std::vector<std::unique_ptr<TestHost>> hosts_;
};

TEST_F(LabTest, OneToThree) {
  const Lab lab(4, 200);
  BTFC_NEEDS(lab.ok(), "needs root and network namespaces");
  MakeHosts(lab, 4);
  for (int i = 0; i < 4; ++i) StartHost(lab, i);
  for (const auto& host : hosts_) ASSERT_TRUE(host->WaitForPeers(3));
  const std::string bytes = RandomBytes(128 << 20U, 1);
  const auto id = hosts_[0]->objects->Put(bytes);
  const double bound = static_cast<double>(bytes.size()) * 8 / 200e6;
  const auto begin = std::chrono::steady_clock::now();
  for (int i = 1; i < 4; ++i) hosts_[static_cast<std::size_t>(i)]->swarm->Want(id);
  for (int i = 1; i < 4; ++i) {
    ASSERT_TRUE(hosts_[static_cast<std::size_t>(i)]->objects->WaitFor(id));
    std::cout << "host " << i << ": " << Seconds(begin) / bound << " of the bound\n";
  }
  std::cout << "origin sent " << static_cast<double>(Sent(*hosts_[0])) / (128 * kMiB)
            << " copies\n";
  // They give each other what they have.
  const index::DeviceId origin = hosts_[0]->replica.self();
  for (int i = 1; i < 4; ++i) {
    EXPECT_TRUE(hosts_[static_cast<std::size_t>(i)]->WaitUntil([&](const SwarmStatus& status) {
      std::uint64_t from_others = 0;
      for (const auto& peer : status.peers) {
        if (peer.device != origin) from_others += peer.received_bytes;
      }
      return from_others > bytes.size() / 4;
    })) << "host "
        << i;
  }
}

TEST_F(LabTest, LateJoinerUsesAllHolders) {
  const Lab lab(4, 50);
  BTFC_NEEDS(lab.ok(), "needs root and network namespaces");
  MakeHosts(lab, 4);
  const std::string bytes = RandomBytes(45 << 20U, 2);
  index::ContentId id;
  for (int i = 0; i < 3; ++i) {
    StartHost(lab, i);
    id = hosts_[static_cast<std::size_t>(i)]->objects->Put(bytes);
  }
  StartHost(lab, 3);
  ASSERT_TRUE(hosts_[3]->WaitForPeers(3));
  const double bound = static_cast<double>(bytes.size()) * 8 / 50e6;
  const auto begin = std::chrono::steady_clock::now();
  hosts_[3]->swarm->Want(id);
  ASSERT_TRUE(hosts_[3]->objects->WaitFor(id));
  std::cout << Seconds(begin) / bound << " of the bound\n";
  EXPECT_TRUE(hosts_[3]->WaitUntil([](const SwarmStatus& status) {
    return std::all_of(status.peers.begin(), status.peers.end(),
                       [](const auto& peer) { return peer.received_bytes > 5 * 1024 * 1024; });
  }));
}

TEST_F(LabTest, ReadOfWhatIsStillArriving) {
  const Lab lab(2, 80);
  BTFC_NEEDS(lab.ok(), "needs root and network namespaces");
  MakeHosts(lab, 2);
  const std::string bytes = RandomBytes(100 << 20U, 3);
  const auto id = hosts_[0]->objects->Put(bytes);
  for (int i = 0; i < 2; ++i) StartHost(lab, i);
  ASSERT_TRUE(hosts_[1]->WaitForPeers(1));
  hosts_[1]->swarm->Want(id);
  ASSERT_TRUE(hosts_[1]->WaitUntil([](const SwarmStatus& status) {
    return status.fetching.size() == 1 && status.fetching[0].done_bytes > 2 * 1024 * 1024;
  }));
  std::vector<double> millis;
  for (const std::size_t offset : {90U, 40U, 70U, 55U, 80U, 30U, 95U, 60U, 35U}) {
    std::promise<bool> done;
    const auto begin = std::chrono::steady_clock::now();
    hosts_[1]->swarm->Read(id, offset << 20U, 4096,
                           [&done](Result<void> result) { done.set_value(result.has_value()); });
    ASSERT_TRUE(done.get_future().get());
    millis.push_back(Seconds(begin) * 1000);
  }
  std::sort(millis.begin(), millis.end());
  std::cout << "read at 80 Mbit/s: median " << millis[millis.size() / 2] << " ms, worst "
            << millis.back() << " ms\n";
  EXPECT_FALSE(hosts_[1]->objects->Has(id)) << "they waited for all of it";
}

// On a slow link what is new takes longer than who reads what is here already should wait.
TEST_F(LabTest, ReadOfWhatTheOldVersionHasWhileTheNewArrives) {
  const Lab lab(2, 4);
  BTFC_NEEDS(lab.ok(), "needs root and network namespaces");
  MakeHosts(lab, 2);
  std::string bytes = RandomBytes(32 << 20U, 5);
  TestHost& here = *hosts_[1];
  const auto old = here.objects->Put(bytes);
  BTFC_NEEDS(!CanClone(*here.objects->Find(old), here.folder() / "clone"),
             "a filesystem without clones");
  bytes.replace(0, 7 << 20U, RandomBytes(7 << 20U, 6));
  const auto id = hosts_[0]->objects->Put(bytes);
  here.objects->AddBase(id, old);
  for (int i = 0; i < 2; ++i) StartHost(lab, i);
  ASSERT_TRUE(here.WaitForPeers(1));
  here.swarm->Hashed(old, PiecesOf(here, old));
  here.swarm->Want(id);
  ASSERT_TRUE(here.WaitUntil([](const SwarmStatus& status) {
    return status.fetching.size() == 1 && status.fetching[0].done_bytes > 0;
  }));
  PendingRead read(here, id, 30 << 20U, 4096);
  EXPECT_EQ(read.Wait(), std::error_code());
  const auto peers = here.swarm->Status().peers;
  ASSERT_EQ(peers.size(), 1U);
  EXPECT_LT(peers[0].received_bytes, 5U << 20U) << "it waited for all that is new";
  EXPECT_TRUE(Pread(here, id, 30 << 20U, 4096) == bytes.substr(30 << 20U, 4096));
}

// The holder takes the object back for a while (somebody writes to the file, and changes nothing).
// Meanwhile the others are each other's sources, and have the same pieces.
TEST_F(LabTest, AHolderThatHadNothingToGiveForAWhileIsAskedAgain) {
  const Lab lab(4, 80);
  BTFC_NEEDS(lab.ok(), "needs root and network namespaces");
  MakeHosts(lab, 4);
  for (int i = 0; i < 4; ++i) StartHost(lab, i);
  for (const auto& host : hosts_) ASSERT_TRUE(host->WaitForPeers(3));
  const std::string bytes = RandomBytes(24 << 20U, 4);
  const auto id = hosts_[0]->objects->Put(bytes);
  for (const int i : {1, 2, 3}) hosts_[static_cast<std::size_t>(i)]->swarm->Want(id);
  for (const int i : {1, 2, 3}) {
    ASSERT_TRUE(hosts_[static_cast<std::size_t>(i)]->WaitUntil([](const SwarmStatus& status) {
      return status.fetching.size() == 1 && status.fetching[0].done_bytes > 1024 * 1024;
    }));
  }
  std::promise<void> withdrawn;
  hosts_[0]->objects->Remove(id);
  hosts_[0]->swarm->Withdraw(id, [&withdrawn] { withdrawn.set_value(); });
  withdrawn.get_future().get();
  for (const int i : {1, 2, 3}) {
    ASSERT_TRUE(hosts_[static_cast<std::size_t>(i)]->WaitUntil([](const SwarmStatus& status) {
      return status.fetching.size() == 1 && status.fetching[0].sources == 2;
    })) << "it came before it was taken back";
  }
  hosts_[0]->objects->Put(bytes);
  hosts_[0]->swarm->Available(id);
  for (const int i : {1, 2, 3}) {
    EXPECT_TRUE(hosts_[static_cast<std::size_t>(i)]->objects->WaitFor(id)) << "host " << i;
  }
}

}  // namespace
}  // namespace btfc::torrent
