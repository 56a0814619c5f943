// A host that starts: who finds its port open is not refused.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

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

}  // namespace
}  // namespace btfc::torrent
