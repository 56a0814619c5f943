// A host that starts: who finds its port open is not refused.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <chrono>
#include <future>
#include <string>
#include <thread>

#include "raw_peer.h"
#include "test_host.h"

namespace btfc::torrent {
namespace {

constexpr std::chrono::seconds kPatience{60};

// Tries until the port is open, and answers how far the first connection came.
std::string FirstConnection(const std::string& ip, std::uint16_t port, const ClusterKey& cluster,
                            const NodeIdentity& node) {
  RawPeer peer;
  const auto deadline = std::chrono::steady_clock::now() + kPatience;
  while (!peer.Connect(ip, port)) {
    if (std::chrono::steady_clock::now() > deadline) return "no port";
    std::this_thread::yield();
  }
  if (!peer.Handshake(cluster, node)) return "refused in the TLS handshake";
  if (!peer.Greet(cluster)) return "refused in BitTorrent's handshake";
  return "greeted";
}

// Starts the host, whose first call comes to a place where nobody is. It calls again in some
// seconds.
void FailToDial(TestHost& host, const std::string& ip, std::uint16_t port) {
  namespace asio = boost::asio;
  asio::io_context context;
  asio::ip::tcp::acceptor place(context, {asio::ip::make_address(ip), port});
  host.Start({ip + ":" + std::to_string(port)});
  place.accept();
}

TEST(StartTest, TheFirstConnectionIsTaken) {
  const ClusterKey cluster = NewCluster();
  TempDir dir;
  std::string why;
  const auto node = LoadOrMakeNode(dir.path(), cluster, &why).value();
  TestHost host(cluster, 70);
  host.Start();
  const std::uint16_t port = host.swarm->Status().port;
  const std::string ip = host.ip();
  for (int i = 0; i < 15; ++i) {
    host.Stop();
    auto first =
        std::async(std::launch::async, [&] { return FirstConnection(ip, port, cluster, node); });
    host.Start({}, [port](SwarmOptions& options) { options.port = port; });
    ASSERT_EQ(first.get(), "greeted") << "start " << i;
  }
  EXPECT_EQ(host.swarm->Status().refused_peers, 0U);
}

// Two that dial each other get two connections and give one up, not to dial it again soon. When the
// other one is lost, too, that counts no more: the host that comes back here dials nobody.
TEST(StartTest, AHostWhoseSecondConnectionWasGivenUpIsFoundAgain) {
  const ClusterKey cluster = NewCluster();
  TestHost one(cluster, 76);
  TestHost two(cluster, 77);
  // The connection that the lower device made is the one that is kept.
  TestHost& low = one.replica.self() < two.replica.self() ? one : two;
  TestHost& high = &low == &one ? two : one;
  const auto at = [](std::uint16_t port) {
    return [port](SwarmOptions& options) { options.port = port; };
  };
  high.Start();
  const std::uint16_t high_port = high.swarm->Status().port;
  const std::string high_address = high.address();
  high.Stop();
  FailToDial(low, high.ip(), high_port);
  const std::uint16_t low_port = low.swarm->Status().port;
  const std::string low_address = low.address();
  high.Start({low_address}, at(high_port));
  ASSERT_TRUE(high.WaitUntil([&](const SwarmStatus& status) {
    return status.peers.size() == 1 && status.peers[0].address != low_address;
  }));
  low.Stop();
  const auto begin = std::chrono::steady_clock::now();
  low.Start({}, at(low_port));
  ASSERT_TRUE(high.WaitUntil([&](const SwarmStatus& status) {
    return status.peers.size() == 1 && status.peers[0].address == low_address;
  }));
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(20));
}

TEST(StartTest, AHostNameThatLeadsNowhereIsNamed) {
  TestHost host(NewCluster(), 71);
  host.Start({"no-such-host.invalid", "127.0.0.72:6000"});
  EXPECT_TRUE(host.WaitUntil([](const SwarmStatus& status) {
    return status.unresolved_peers == std::vector<std::string>{"no-such-host.invalid"};
  }));
}

// Who asks for an object that was unloaded a moment ago is no stranger; who is none of the members
// is.
TEST(StartTest, AMemberThatComesLateForAnObjectIsNotRefused) {
  const ClusterKey cluster = NewCluster();
  TestHost host(cluster, 74);
  TestHost member(cluster, 75);
  member.SetIp("127.0.0.1");  // where the sockets of this test come from
  host.Start();
  member.Start({host.address()});
  ASSERT_TRUE(host.WaitForPeers(1));
  const auto come = [&] {
    std::string why;
    TempDir dir;
    const auto node = LoadOrMakeNode(dir.path(), cluster, &why).value();
    RawPeer peer;
    return peer.Connect(host.ip(), host.swarm->Status().port) &&
           peer.Handshake(cluster, node, std::string(40, 'a'));
  };
  const auto id = host.objects->Put(RandomBytes(3 << 20U, 1));
  member.swarm->Want(id);
  ASSERT_TRUE(member.objects->WaitFor(id));
  std::promise<void> unloaded;
  host.swarm->Withdraw(id, [&] { unloaded.set_value(); });
  unloaded.get_future().wait();
  EXPECT_FALSE(come());
  EXPECT_TRUE(
      host.WaitUntil([](const SwarmStatus& status) { return status.late_connections == 1; }));
  EXPECT_EQ(host.swarm->Status().refused_peers, 0U);
  member.Stop();
  ASSERT_TRUE(host.WaitForPeers(0));
  EXPECT_FALSE(come());
  EXPECT_TRUE(host.WaitUntil([](const SwarmStatus& status) { return status.refused_peers == 1; }));
  EXPECT_EQ(host.swarm->Status().late_connections, 1U);
}

TEST(StartTest, TheAddressThatCannotBeListenedOnIsNamed) {
  const ClusterKey cluster = NewCluster();
  TempDir dir;
  std::string unheard;
  FakeReplica replica(LoadOrMakeNode(dir.path(), cluster, &unheard).value().node_key, 73);
  FileObjects objects(dir.path() / "objects");
  const auto refused = [&](const std::vector<std::string>& listen) {
    SwarmOptions options;
    std::string why;
    options.cluster = cluster;
    options.node = LoadOrMakeNode(dir.path(), cluster, &why).value();
    options.state_dir = dir.path() / "swarm";
    options.listen = listen;
    options.lpd = false;
    EXPECT_FALSE(Swarm::Start(options, replica, objects, &why));
    return why;
  };
  EXPECT_THAT(refused({"127.0.0.73", "192.0.2.1"}),
              testing::HasSubstr("192.0.2.1 port 51413: Cannot assign"));
  EXPECT_THAT(refused({"wlan99"}), testing::HasSubstr("wlan99"));
}

}  // namespace
}  // namespace btfc::torrent
