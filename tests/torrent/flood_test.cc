// Many connections, and ones that do not read: members are served all the same.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "raw_peer.h"
#include "test_host.h"
#include "torrent/codec.h"

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

// A message of BEP 10, as a member with a program of its own sends it.
std::string Extended(char id, const std::string& payload) {
  std::string message = {'\x14', id};
  message += payload;
  std::string framed;
  for (int shift = 24; shift >= 0; shift -= 8) {
    framed += static_cast<char>(message.size() >> static_cast<unsigned>(shift));
  }
  return framed + message;
}

std::string Message(Kind kind, const google::protobuf::MessageLite& message) {
  constexpr char kExtensionId = 20;  // what this program's handshake calls its own
  return Extended(kExtensionId, static_cast<char>(kind) + message.SerializeAsString());
}

// A member that asks and never reads.
class SilentMember {
 public:
  SilentMember(TestHost& host, const ClusterKey& cluster) {
    std::string why;
    const auto node = LoadOrMakeNode(dir_.path(), cluster, &why).value();
    EXPECT_TRUE(peer_.Connect(host.ip(), host.swarm->Status().port));
    EXPECT_TRUE(peer_.Handshake(cluster, node));
    EXPECT_TRUE(peer_.Greet(cluster));
    EXPECT_TRUE(peer_.Send(Extended(0, "d1:md4:btfci1eee")));
    EXPECT_TRUE(peer_.Send(Message(Kind::kHello, HelloOf(node, "silent"))));
    EXPECT_TRUE(host.WaitForPeers(1));
    wire::Want want;
    for (int i = 0; i < kContentsMax; ++i) {
      auto* const content = want.add_contents();
      content->set_root(RandomBytes(32, static_cast<unsigned>(i)));
      content->set_size(2'000'000);
    }
    question_ = Message(Kind::kWant, want);
  }
  // The answer is about as long. The bytes sent, 0 if the connection has ended.
  std::size_t Ask() { return peer_.Send(question_) ? question_.size() : 0; }

 private:
  TempDir dir_;
  RawPeer peer_;
  std::string question_;
};

constexpr std::size_t kFarTooMuch = 400'000'000;  // bytes

// Faster than it can be answered: the questions pile up.
TEST_F(FloodTest, WhoAsksWithoutEndIsEnded) {
  TestHost host(cluster_, 136);
  host.Start();
  SilentMember silent(host, cluster_);
  std::size_t sent = 0;
  while (sent < kFarTooMuch) {
    const std::size_t asked = silent.Ask();
    if (asked == 0) break;
    sent += asked;
  }
  EXPECT_LT(sent, kFarTooMuch);
  EXPECT_TRUE(host.WaitForPeers(0));
  EXPECT_GT(host.swarm->Status().bad_messages, 0U);
  ExpectServed(host, 137);
}

// Each question is answered before the next one comes. The answers pile up: such a member is ended
// before they fill the memory.
TEST_F(FloodTest, WhoAsksAndReadsNothingIsEnded) {
  TestHost host(cluster_, 138);
  host.Start();
  SilentMember silent(host, cluster_);
  std::uint64_t answered = 0;
  while (answered < kFarTooMuch && silent.Ask() > 0) {
    const std::uint64_t before = answered;
    ASSERT_TRUE(host.WaitUntil([&](const SwarmStatus& status) {
      if (!status.peers.empty()) answered = status.peers[0].sent_bytes;
      return status.peers.empty() || answered > before;
    }));
  }
  EXPECT_GT(answered, std::uint64_t{50'000'000}) << "as much may be on its way";
  EXPECT_LT(answered, std::uint64_t{120'000'000});
  EXPECT_TRUE(host.WaitForPeers(0));
  EXPECT_EQ(host.swarm->Status().bad_messages, 1U);
  ExpectServed(host, 139);
}

}  // namespace
}  // namespace btfc::torrent
