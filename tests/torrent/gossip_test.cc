#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <string>

#include "test_host.h"

namespace btfc::torrent {
namespace {

class GossipTest : public testing::Test {
 protected:
  const ClusterKey cluster_ = NewCluster();
};

TEST_F(GossipTest, RowsReachTheOtherHost) {
  TestHost a(cluster_, 11);
  TestHost b(cluster_, 12);
  a.replica.Write("before they met");
  a.Start();
  b.Start({a.address()});
  EXPECT_TRUE(b.replica.WaitFor("before they met"));
  a.Publish("from a");
  b.Publish("from b");
  EXPECT_TRUE(b.replica.WaitFor("from a"));
  EXPECT_TRUE(a.replica.WaitFor("from b"));
  const auto in_sync = [](const SwarmStatus& status) {
    return status.peers.size() == 1 && status.peers[0].in_sync;
  };
  EXPECT_TRUE(a.WaitUntil(in_sync));
  EXPECT_TRUE(b.WaitUntil(in_sync));
  EXPECT_EQ(a.swarm->Status().peers[0].name, "host12");
  EXPECT_EQ(a.swarm->Status().peers[0].device, b.replica.self());
  EXPECT_LT(std::abs(a.swarm->Status().peers[0].clock_offset_ns), 1'000'000'000);
  EXPECT_EQ(a.swarm->Status().bad_messages, 0U);
  EXPECT_EQ(a.swarm->Status().refused_peers, 0U);
}

TEST_F(GossipTest, PublicationIsQuick) {
  TestHost a(cluster_, 13);
  TestHost b(cluster_, 14);
  a.Start();
  b.Start({a.address()});
  a.Publish("warm");
  ASSERT_TRUE(b.replica.WaitFor("warm"));
  std::vector<double> millis;
  for (int i = 0; i < 50; ++i) {
    const std::string row = "row " + std::to_string(i);
    const auto begin = std::chrono::steady_clock::now();
    a.Publish(row);
    ASSERT_TRUE(b.replica.WaitFor(row));
    millis.push_back(
        std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begin)
            .count());
  }
  std::sort(millis.begin(), millis.end());
  RecordProperty("median_us", static_cast<int>(millis[25] * 1000));
  std::cout << "median " << millis[25] << " ms, worst " << millis.back() << " ms\n";
  // Nagle's algorithm alone would cost 40.
  EXPECT_LT(millis[25], 20.0);
}

TEST_F(GossipTest, LargeDeltaComesWhole) {
  TestHost a(cluster_, 15);
  TestHost b(cluster_, 16);
  for (int i = 0; i < 300; ++i) {
    a.replica.Write(std::to_string(i) + " " + std::string(100'000, 'x'));  // 30 MB
  }
  a.replica.Write("the last one");
  a.Start();
  b.Start({a.address()});
  EXPECT_TRUE(b.replica.WaitFor("the last one"));
  EXPECT_EQ(b.replica.count(), 301U);
}

TEST_F(GossipTest, ManyPublicationsAreBatched) {
  TestHost a(cluster_, 17);
  TestHost b(cluster_, 18);
  a.Start();
  b.Start({a.address()});
  ASSERT_TRUE(a.WaitForPeers(1));
  for (int i = 0; i < 2000; ++i) a.Publish("row " + std::to_string(i));
  EXPECT_TRUE(b.replica.WaitFor("row 1999"));
  EXPECT_EQ(b.replica.count(), 2000U);
  EXPECT_LT(a.replica.cuts(), 1500U);
}

TEST_F(GossipTest, ThirdHostLearnsThroughTheSecond) {
  TestHost a(cluster_, 21);
  TestHost b(cluster_, 22);
  TestHost c(cluster_, 23);
  a.Start();
  b.Start({a.address()});
  c.Start({b.address()});
  a.Publish("news");
  EXPECT_TRUE(c.replica.WaitFor("news"));
  // They also get to know each other.
  EXPECT_TRUE(a.WaitForPeers(2));
  EXPECT_TRUE(c.WaitForPeers(2));
}

TEST_F(GossipTest, HostsDoNotSendEverythingTwice) {
  TestHost a(cluster_, 24);
  TestHost b(cluster_, 25);
  TestHost c(cluster_, 26);
  a.Start();
  b.Start({a.address()});
  c.Start({a.address(), b.address()});
  ASSERT_TRUE(a.WaitForPeers(2));
  ASSERT_TRUE(b.WaitForPeers(2));
  ASSERT_TRUE(c.WaitForPeers(2));
  for (int i = 0; i < 20; ++i) {
    const std::string row = "row " + std::to_string(i);
    a.Publish(row);
    ASSERT_TRUE(b.replica.WaitFor(row));
    ASSERT_TRUE(c.replica.WaitFor(row));
  }
  EXPECT_TRUE(a.WaitUntil([](const SwarmStatus& status) {
    return status.peers[0].in_sync && status.peers[1].in_sync;
  }));
  EXPECT_LE(b.replica.repeated() + c.replica.repeated(), 4U);
}

TEST_F(GossipTest, NotCoveredIsAskedForAgain) {
  TestHost a(cluster_, 27);
  TestHost b(cluster_, 28);
  a.Start();
  b.Start({a.address()});
  a.Publish("one");
  ASSERT_TRUE(b.replica.WaitFor("one"));
  b.replica.FailNext(Error::kNotCovered, 3);
  a.Publish("two");
  EXPECT_TRUE(b.replica.WaitFor("two"));
  EXPECT_EQ(a.swarm->Status().bad_messages, 0U);
}

TEST_F(GossipTest, CorruptDeltaEndsTheConnectionAndIsCounted) {
  TestHost a(cluster_, 29);
  TestHost b(cluster_, 30);
  a.Start();
  b.Start({a.address()});
  a.Publish("one");
  ASSERT_TRUE(b.replica.WaitFor("one"));
  b.replica.FailNext(Error::kCorrupt, 1);
  a.Publish("two");
  EXPECT_TRUE(b.WaitUntil([](const SwarmStatus& status) { return status.bad_messages == 1; }));
  EXPECT_TRUE(b.WaitForPeers(0));
  // It comes back after a while.
  EXPECT_TRUE(b.replica.WaitFor("two"));
}

TEST_F(GossipTest, ReadOnlyHostSendsNoRows) {
  TestHost a(cluster_, 31);
  TestHost b(cluster_, 32);
  b.replica.Write("must stay");
  a.Start();
  b.Start({a.address()}, [](SwarmOptions& options) { options.read_only = true; });
  a.Publish("one");
  ASSERT_TRUE(b.replica.WaitFor("one"));
  b.Publish("must stay too");
  a.Publish("two");
  ASSERT_TRUE(b.replica.WaitFor("two"));
  EXPECT_EQ(a.replica.count(), 2U);
}

// Its certificate says so, whatever the host itself says.
TEST_F(GossipTest, AnInvitedHostThatWritesIsRefused) {
  const auto invitation = InviteReadOnly(cluster_);
  ASSERT_TRUE(invitation);
  TestHost a(cluster_, 33);
  TestHost b(invitation.value(), 34);
  b.replica.Write("refused");
  a.Start();
  b.Start({a.address()});
  EXPECT_TRUE(a.WaitUntil([](const SwarmStatus& status) { return status.bad_messages > 0; }));
  EXPECT_EQ(a.replica.count(), 0U);
}

TEST_F(GossipTest, RestartedHostIsFoundAgain) {
  TestHost a(cluster_, 33);
  TestHost b(cluster_, 34);
  a.Start();
  const std::string address = a.address();
  b.Start({address});
  ASSERT_TRUE(b.WaitForPeers(1));
  a.Stop();
  ASSERT_TRUE(b.WaitForPeers(0));
  b.Publish("while a was away");
  a.Start({}, [&address](SwarmOptions& options) {
    options.port = static_cast<std::uint16_t>(std::stoi(address.substr(address.find(':') + 1)));
  });
  EXPECT_TRUE(a.replica.WaitFor("while a was away"));
}

TEST_F(GossipTest, BothDiallingEndsWithOneConnection) {
  TestHost a(cluster_, 35);
  TestHost b(cluster_, 36);
  a.Start();
  b.Start({a.address()});
  const std::string address = a.address();
  const std::string other = b.address();
  a.Stop();
  a.Start({other}, [&address](SwarmOptions& options) {
    options.port = static_cast<std::uint16_t>(std::stoi(address.substr(address.find(':') + 1)));
  });
  ASSERT_TRUE(a.WaitForPeers(1));
  ASSERT_TRUE(b.WaitForPeers(1));
  for (int i = 0; i < 20; ++i) {
    a.Publish("a" + std::to_string(i));
    b.Publish("b" + std::to_string(i));
    EXPECT_TRUE(b.replica.WaitFor("a" + std::to_string(i)));
    EXPECT_TRUE(a.replica.WaitFor("b" + std::to_string(i)));
  }
  EXPECT_EQ(a.swarm->Status().bad_messages, 0U);
}

}  // namespace
}  // namespace btfc::torrent
