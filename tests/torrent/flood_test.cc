// Many connections, and ones that do not read: members are served all the same.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "raw_peer.h"
#include "test_host.h"

namespace btfc::torrent {
namespace {

constexpr int kFlood = 400;

class FloodTest : public testing::Test {
 protected:
  std::uint16_t PortOf(const TestHost& host) { return host.swarm->Status().port; }
  // A row and an object come to a host that joins now.
  void ExpectServed(TestHost& host, std::uint8_t number) {
    TestHost member(cluster_, number);
    member.Start({host.address()});
    host.Publish("still there");
    EXPECT_TRUE(member.replica.WaitFor("still there"));
    const auto id = host.objects->Put(RandomBytes(3 << 20U, number));
    member.swarm->Want(id);
    EXPECT_TRUE(member.objects->WaitFor(id));
  }
  const ClusterKey cluster_ = NewCluster();
};

TEST_F(FloodTest, SocketsHeldOpenAreEnded) {
  TestHost host(cluster_, 130);
  host.Start();
  std::vector<std::unique_ptr<RawPeer>> strangers;
  for (int i = 0; i < kFlood; ++i) {
    strangers.push_back(std::make_unique<RawPeer>());
    ASSERT_TRUE(strangers.back()->Connect(host.ip(), PortOf(host))) << i;
  }
  ExpectServed(host, 131);
  // All of them, the last ones after the time that a handshake may take.
  for (const auto& stranger : strangers) ASSERT_TRUE(stranger->Closed());
}

TEST_F(FloodTest, HandshakesThatStopHalfwayAreEnded) {
  TestHost host(cluster_, 132);
  host.Start();
  std::vector<std::unique_ptr<RawPeer>> strangers;
  for (int i = 0; i < 30; ++i) {
    strangers.push_back(std::make_unique<RawPeer>());
    ASSERT_TRUE(strangers.back()->Connect(host.ip(), PortOf(host)));
    // The beginning of a record that would have 512 bytes.
    ASSERT_TRUE(strangers.back()->SendPlain(std::string("\x16\x03\x01\x02\x00\x01", 6)));
  }
  ExpectServed(host, 133);
  for (const auto& stranger : strangers) ASSERT_TRUE(stranger->Closed());
}

TEST_F(FloodTest, MembersAreNotTakenForStrangers) {
  TestHost host(cluster_, 134);
  TestHost member(cluster_, 135);
  host.Start();
  member.Start({host.address()});
  ASSERT_TRUE(host.WaitForPeers(1));
  const std::string connection = host.swarm->Status().peers[0].address;
  // Longer than a handshake may take.
  const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(7);
  EXPECT_TRUE(host.WaitUntil([&](const SwarmStatus& status) {
    EXPECT_EQ(status.peers.size(), 1U);
    return std::chrono::steady_clock::now() > until;
  }));
  EXPECT_EQ(host.swarm->Status().peers.at(0).address, connection);
}

}  // namespace
}  // namespace btfc::torrent
