// A host that was removed has a good certificate, and is refused all the same.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "test_host.h"

namespace btfc::torrent {
namespace {

TEST(RemovedTest, ItsConnectionEndsAndIsNotTakenAgain) {
  const ClusterKey cluster = NewCluster();
  TestHost a(cluster, 140);
  TestHost b(cluster, 141);
  TestHost removed(cluster, 142);
  a.Start();
  b.Start({a.address()});
  removed.Start({a.address(), b.address()});
  ASSERT_TRUE(a.WaitForPeers(2));
  ASSERT_TRUE(b.WaitForPeers(2));
  a.replica.Remove(removed.node_key());
  b.replica.Remove(removed.node_key());
  EXPECT_TRUE(a.WaitForPeers(1));
  EXPECT_TRUE(b.WaitForPeers(1));
  EXPECT_TRUE(removed.WaitForPeers(0));
  // It comes again, and goes on nowhere.
  removed.Stop();
  removed.Start({a.address(), b.address()});
  a.Publish("secret");
  EXPECT_TRUE(b.replica.WaitFor("secret"));
  removed.Publish("intrusion");
  a.Publish("later");
  EXPECT_TRUE(b.replica.WaitFor("later"));
  EXPECT_EQ(removed.replica.count(), 1U);
  EXPECT_FALSE(a.replica.Has("intrusion"));
  EXPECT_FALSE(b.replica.Has("intrusion"));
  EXPECT_EQ(a.swarm->Status().peers.size(), 1U);
}

TEST(RemovedTest, AnObjectOnItsWayIsNotGivenOn) {
  const ClusterKey cluster = NewCluster();
  TestHost a(cluster, 143);
  TestHost removed(cluster, 144);
  a.Start();
  const auto id = a.objects->Put(RandomBytes(4 << 20U, 1));
  a.replica.Remove(removed.node_key());
  removed.Start({a.address()});
  removed.swarm->Want(id);
  // The swarm of `a` works while it refuses.
  TestHost member(cluster, 145);
  member.Start({a.address()});
  member.swarm->Want(id);
  EXPECT_TRUE(member.objects->WaitFor(id));
  EXPECT_FALSE(removed.objects->Has(id));
  EXPECT_TRUE(removed.swarm->Status().peers.empty());
}

}  // namespace
}  // namespace btfc::torrent
