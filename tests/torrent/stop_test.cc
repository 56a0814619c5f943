// A host that stops while others are on their way in.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <malloc.h>

#include <future>
#include <memory>
#include <string>
#include <vector>

#include "raw_peer.h"
#include "test_host.h"

namespace btfc::torrent {
namespace {

constexpr int kVisitors = 30;

class StopTest : public testing::Test {
 protected:
  // What is freed is overwritten: who reads it later does not get by with what was there.
  StopTest() { ::mallopt(M_PERTURB, 0x5a); }
  ~StopTest() override { ::mallopt(M_PERTURB, 0); }

  std::unique_ptr<RawPeer> Visitor(const TestHost& host) {
    auto visitor = std::make_unique<RawPeer>();
    EXPECT_TRUE(visitor->Connect(host.ip(), host.swarm->Status().port));
    return visitor;
  }
  // Those that came before a member were let in before it, too.
  void WaitUntilLetIn(TestHost& host, std::uint8_t number) {
    TestHost member(cluster_, number);
    member.Start({host.address()});
    ASSERT_TRUE(host.WaitForPeers(1));
    ASSERT_TRUE(member.WaitForPeers(1));
  }
  void ExpectStops(TestHost& host, const std::vector<std::unique_ptr<RawPeer>>& visitors) {
    host.Stop();
    for (const auto& visitor : visitors) EXPECT_TRUE(visitor->Closed());
  }
  const ClusterKey cluster_ = NewCluster();
};

TEST_F(StopTest, ConnectionsThatHaveNotBegunTheirHandshakeEnd) {
  TestHost host(cluster_, 150);
  host.Start();
  std::vector<std::unique_ptr<RawPeer>> visitors;
  for (int i = 0; i < kVisitors; ++i) visitors.push_back(Visitor(host));
  WaitUntilLetIn(host, 151);
  ExpectStops(host, visitors);
}

TEST_F(StopTest, ConnectionsInTheirHandshakeEnd) {
  TestHost host(cluster_, 152);
  host.Start();
  std::vector<std::unique_ptr<RawPeer>> visitors;
  for (int i = 0; i < kVisitors; ++i) {
    visitors.push_back(Visitor(host));
    // The beginning of a record that would have 512 bytes.
    ASSERT_TRUE(visitors.back()->SendPlain(std::string("\x16\x03\x01\x02\x00\x01", 6)));
  }
  WaitUntilLetIn(host, 153);
  ExpectStops(host, visitors);
}

// They may be members: that is known when they have named themselves.
TEST_F(StopTest, ConnectionsAfterTheirHandshakeEnd) {
  TestHost host(cluster_, 154);
  host.Start();
  TempDir dir;
  std::string why;
  const auto node = LoadOrMakeNode(dir.path(), cluster_, &why).value();
  std::vector<std::unique_ptr<RawPeer>> visitors;
  for (int i = 0; i < kVisitors; ++i) {
    visitors.push_back(Visitor(host));
    ASSERT_TRUE(visitors.back()->Handshake(cluster_, node));
    if (i % 2 == 0) {
      ASSERT_TRUE(visitors.back()->Greet(cluster_));
    }
  }
  ExpectStops(host, visitors);
}

// It need not wait until nobody wants to come in any more.
TEST_F(StopTest, ItStopsWhileOthersKeepComing) {
  TestHost host(cluster_, 156);
  host.Start();
  const std::string ip = host.ip();
  const std::uint16_t port = host.swarm->Status().port;
  std::promise<void> coming;
  auto all = std::async(std::launch::async, [&] {
    std::vector<std::unique_ptr<RawPeer>> visitors;
    for (auto next = std::make_unique<RawPeer>(); next->Connect(ip, port);
         next = std::make_unique<RawPeer>()) {
      visitors.push_back(std::move(next));
      if (visitors.size() == kVisitors) coming.set_value();
    }
    if (visitors.size() < kVisitors) coming.set_value();
    EXPECT_GE(visitors.size(), static_cast<std::size_t>(kVisitors));
    return visitors;
  });
  coming.get_future().wait();
  host.Stop();
  for (const auto& visitor : all.get()) EXPECT_TRUE(visitor->Closed());
}

}  // namespace
}  // namespace btfc::torrent
