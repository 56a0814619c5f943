// Who is not a member gets nothing, and members that talk nonsense do no harm.
#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <functional>
#include <future>
#include <string>

#include "index/derived_ids.h"
#include "raw_peer.h"
#include "rude_member.h"
#include "test_host.h"
#include "torrent/content_info.h"

namespace btfc::torrent {
namespace {

std::uint16_t PortOf(const TestHost& host) { return host.swarm->Status().port; }

// Sends bytes to the port and answers what came back until the other end closed, or two seconds.
std::string Knock(const TestHost& host, const std::string& bytes) {
  const int fd = ::socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in where{};
  where.sin_family = AF_INET;
  where.sin_port = htons(PortOf(host));
  ::inet_pton(AF_INET, host.ip().c_str(), &where.sin_addr);
  EXPECT_EQ(::connect(fd, reinterpret_cast<const sockaddr*>(&where), sizeof(where)), 0);
  const timeval patience{2, 0};
  ::setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
  EXPECT_EQ(::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL),
            static_cast<ssize_t>(bytes.size()));
  std::string answer(4096, '\0');
  const ssize_t n = ::recv(fd, answer.data(), answer.size(), 0);
  ::close(fd);
  answer.resize(n > 0 ? static_cast<std::size_t>(n) : 0);
  return answer;
}

class StrangerTest : public testing::Test {
 protected:
  void ExpectAlive(TestHost& host, std::uint8_t number) {
    TestHost friendly(cluster_, number);
    friendly.Start({host.address()});
    host.Publish("still there");
    EXPECT_TRUE(friendly.replica.WaitFor("still there"));
  }
  const ClusterKey cluster_ = NewCluster();
};

TEST_F(StrangerTest, OtherClusterOfTheSameNameGetsNothing) {
  TestHost a(cluster_, 41);
  TestHost stranger(NewCluster(), 42);
  a.replica.Write("secret");
  a.Start();
  stranger.Start({a.address()});
  EXPECT_TRUE(a.WaitUntil([](const SwarmStatus& status) { return status.refused_peers > 0; }));
  EXPECT_EQ(stranger.replica.count(), 0U);
  EXPECT_TRUE(stranger.swarm->Status().peers.empty());
  EXPECT_TRUE(a.swarm->Status().peers.empty());
  ExpectAlive(a, 43);
  EXPECT_EQ(stranger.replica.count(), 0U);
}

// Two daemons on one machine, or behind one router: of two clusters.
TEST_F(StrangerTest, AStrangerAtAMembersAddressIsNamed) {
  TestHost a(cluster_, 86);
  TestHost member(cluster_, 87);
  TestHost stranger(NewCluster(), 88);
  stranger.SetIp(member.ip());
  a.Start();
  member.Start({a.address()});
  ASSERT_TRUE(a.WaitForPeers(1));
  stranger.Start({a.address()});
  EXPECT_TRUE(a.WaitUntil([&](const SwarmStatus& status) {
    return status.refused.size() == 1 && status.refused[0].ip == member.ip() &&
           status.refused[0].connections > 0 && status.refused_peers > 0;
  }));
  EXPECT_EQ(a.swarm->Status().late_connections, 0U);
  EXPECT_EQ(a.swarm->Status().peers.size(), 1U);
}

TEST_F(StrangerTest, AMemberWhoseTorrentIsUnloadedInTheHandshakeIsLate) {
  TestHost a(cluster_, 240);
  RudeMember member(cluster_, 1);  // whose address a raw peer has
  const auto id = a.objects->Put(RandomBytes(8 << 20, 1));
  a.Start();
  const LinkPtr link = member.Greet(a);
  ASSERT_TRUE(link);
  ASSERT_TRUE(a.WaitForPeers(1));
  wire::Load load;
  ToWire(id, load.mutable_content());
  link->Send(Kind::kLoad, load);
  ASSERT_TRUE(member.Take<wire::Loaded>(Kind::kLoaded));
  TempDir dir;
  const auto node = LoadOrMakeNode(dir.path(), cluster_, nullptr).value();
  RawPeer peer;
  peer.meanwhile = [&] {
    std::promise<void> gone;
    a.swarm->Withdraw(id, [&gone] { gone.set_value(); });
    gone.get_future().wait();
  };
  ASSERT_TRUE(peer.Connect(a.ip(), a.swarm->Status().port));
  (void)peer.Handshake(cluster_, node, TorrentName(ContentInfo(id, cluster_.ca_cert_pem)));
  EXPECT_TRUE(a.WaitUntil([](const SwarmStatus& s) { return s.late_connections == 1; }));
  EXPECT_EQ(a.swarm->Status().refused_peers, 0U);
}

TEST_F(StrangerTest, KnowingTheCertificateIsNotEnough) {
  // Whoever got hold of the CA certificate, but not of its key, can name the control torrent.
  ClusterKey forged = NewCluster();
  std::string why;
  TempDir dir;
  const auto node = LoadOrMakeNode(dir.path(), forged, &why).value();
  TestHost a(cluster_, 44);
  TestHost stranger(cluster_, 45);
  a.replica.Write("secret");
  a.Start();
  stranger.Start({a.address()}, [&node](SwarmOptions& options) { options.node = node; });
  EXPECT_TRUE(a.WaitUntil([](const SwarmStatus& status) { return status.refused_peers > 0; }));
  EXPECT_EQ(stranger.replica.count(), 0U);
  ExpectAlive(a, 46);
  EXPECT_EQ(stranger.replica.count(), 0U);
}

TEST_F(StrangerTest, RawBytesAndPlainBitTorrentGetNothing) {
  TestHost a(cluster_, 47);
  a.Start();
  const std::string plain =
      "\x13"
      "BitTorrent protocol" +
      std::string(8, '\0') + std::string(20, 'h') + std::string(20, 'p');
  for (const std::string& bytes :
       {std::string("GET / HTTP/1.0\r\n\r\n"), plain, RandomBytes(4096, 7), std::string(1, '\x16'),
        std::string(70'000, '\xff')}) {
    const std::string answer = Knock(a, bytes);
    // At most a TLS alert.
    EXPECT_TRUE(answer.empty() || answer[0] == '\x15') << answer.size();
  }
  EXPECT_TRUE(a.WaitUntil([](const SwarmStatus& status) { return status.refused_peers >= 3; }));
  ExpectAlive(a, 48);
}

TEST_F(StrangerTest, NonsenseOfAMemberIsCountedAndDropped) {
  const struct {
    const char* what;
    std::function<void(const RudeMember&, Link&)> say;
  } cases[] = {
      {"no hello", [](const RudeMember&, Link& link) { link.Send(Kind::kSummary, "x"); }},
      {"garbage hello",
       [](const RudeMember&, Link& link) { link.Send(Kind::kHello, RandomBytes(1000, 1)); }},
      {"other key",
       [](const RudeMember& rude, Link& link) {
         auto hello = rude.Hello();
         hello.set_node_key(std::string(32, 'k'));
         link.Send(Kind::kHello, hello);
       }},
      {"short device",
       [](const RudeMember& rude, Link& link) {
         auto hello = rude.Hello();
         hello.set_device("short");
         link.Send(Kind::kHello, hello);
       }},
      {"another's device",
       [](const RudeMember& rude, Link& link) {
         auto hello = rude.Hello();
         hello.set_device(ToBytes(index::DeviceIdOf(index::NodeKey{7}, 0)));
         link.Send(Kind::kHello, hello);
       }},
      {"a device of another life",
       [](const RudeMember& rude, Link& link) {
         auto hello = rude.Hello();
         hello.set_incarnation(1);
         link.Send(Kind::kHello, hello);
       }},
      {"an older protocol",
       [](const RudeMember& rude, Link& link) {
         auto hello = rude.Hello();
         hello.set_version(kProtocolVersion - 1);
         link.Send(Kind::kHello, hello);
       }},
      {"two hellos",
       [](const RudeMember& rude, Link& link) {
         link.Send(Kind::kHello, rude.Hello());
         link.Send(Kind::kHello, rude.Hello());
       }},
      {"garbage summary",
       [](const RudeMember& rude, Link& link) {
         link.Send(Kind::kHello, rude.Hello());
         link.Send(Kind::kSummary, RandomBytes(1000, 2));
       }},
      {"garbage delta",
       [](const RudeMember& rude, Link& link) {
         link.Send(Kind::kHello, rude.Hello());
         wire::Delta delta;
         delta.set_id(1);
         delta.set_part(RandomBytes(1000, 3));
         link.Send(Kind::kDelta, delta);
       }},
      {"too large",
       [](const RudeMember& rude, Link& link) {
         link.Send(Kind::kHello, rude.Hello());
         link.Send(Kind::kDelta, std::string(600 * 1024, 'x'));
       }},
      {"progress from nowhere",
       [](const RudeMember& rude, Link& link) {
         link.Send(Kind::kHello, rude.Hello());
         wire::Progress progress;
         progress.set_delta_bytes(1ULL << 60U);
         link.Send(Kind::kProgress, progress);
       }},
      {"unknown kind",
       [](const RudeMember& rude, Link& link) {
         link.Send(Kind::kHello, rude.Hello());
         link.Send(static_cast<Kind>(200), "from the future");
       }},
  };
  TestHost a(cluster_, 49);
  a.Start();
  std::uint64_t bad = 0;
  for (const auto& c : cases) {
    RudeMember rude(cluster_, 50);
    const LinkPtr link = rude.Connect(a);
    ASSERT_TRUE(link) << c.what;
    c.say(rude, *link);
    EXPECT_TRUE(a.WaitUntil([bad](const SwarmStatus& status) { return status.bad_messages > bad; }))
        << c.what;
    bad = a.swarm->Status().bad_messages;
  }
  EXPECT_EQ(a.replica.count(), 0U);
  ExpectAlive(a, 51);
}

// A member with a certificate of its own that calls itself another host, before that one comes.
TEST_F(StrangerTest, NobodySpeaksAsAnotherHost) {
  TestHost a(cluster_, 52);
  TestHost b(cluster_, 53);
  a.Start();
  RudeMember rude(cluster_, 54);
  const LinkPtr link = rude.Connect(a);
  ASSERT_TRUE(link);
  auto hello = rude.Hello();
  hello.set_device(ToBytes(b.replica.self()));
  hello.set_incarnation(b.replica.incarnation());
  link->Send(Kind::kHello, hello);
  wire::Delta delta;
  delta.set_id(1);
  TestHost forger(cluster_, 55);
  forger.replica.Write("not by b");
  delta.set_part(forger.replica.Cut({}).value()->Next().value().value());
  link->Send(Kind::kDelta, delta);
  EXPECT_TRUE(a.WaitUntil([](const SwarmStatus& status) { return status.bad_messages > 0; }));
  EXPECT_TRUE(a.swarm->Status().peers.empty());
  b.Start({a.address()});
  b.Publish("by b");
  EXPECT_TRUE(a.replica.WaitFor("by b")) << "its own device is not taken";
  EXPECT_EQ(a.replica.count(), 1U);
}

}  // namespace
}  // namespace btfc::torrent
