// A version that no host has any more, of which one still knows the hashes of the pieces: whoever
// reads it takes what it has in common with others.
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "index/merkle.h"
#include "pending_read.h"
#include "rude_member.h"
#include "test_host.h"
#include "torrent/codec.h"

namespace btfc::torrent {
namespace {

constexpr std::size_t kMiB = 1024 * 1024;

class HashesTest : public testing::Test {
 protected:
  HashesTest() {
    TestHost writer(cluster_, 199);
    pieces_ = PiecesOf(writer, writer.objects->Put(bytes_));
    next_bytes_ = bytes_;
    next_bytes_[4 * kMiB] ^= 1;
  }
  void Connect(TestHost& a, TestHost& b) {
    a.Start();
    b.Start({a.address()});
    ASSERT_TRUE(a.WaitForPeers(1));
    ASSERT_TRUE(b.WaitForPeers(1));
  }
  std::string Layer() {
    return {reinterpret_cast<const char*>(pieces_.data()), pieces_.size() * sizeof(index::Hash)};
  }
  // The host has the next version already, and reads this one, which it only knows by its name.
  void StartWithTheNext(TestHost& host) {
    host.Start();
    host.objects->AddBase(id_, host.objects->Put(next_bytes_));
  }
  wire::Gone Gone(const std::string& layer, std::uint64_t offset) const {
    wire::Gone gone;
    ToWire(id_, gone.mutable_content());
    gone.set_layer(layer);
    gone.set_layer_offset(offset);
    return gone;
  }
  wire::Have Lacks(bool hashes) const {
    wire::Have have;
    ToWire(id_, have.add_lack());
    if (hashes) ToWire(id_, have.add_hashes());
    return have;
  }
  wire::Have Has() const {
    wire::Have have;
    ToWire(id_, have.add_whole());
    return have;
  }
  // Makes the host ask the member for the hashes.
  static void LetAsk(RudeMember& member, const LinkPtr& link, const wire::Have& have) {
    ASSERT_TRUE(member.Take<wire::Want>(Kind::kWant));
    link->Send(Kind::kHave, have);
    const auto load = member.Take<wire::Load>(Kind::kLoad);
    ASSERT_TRUE(load);
    EXPECT_TRUE(load->layer());
  }
  void ExpectRead(TestHost& host, PendingRead& read, std::size_t offset, std::size_t length) {
    EXPECT_EQ(read.Wait(), std::error_code());
    EXPECT_TRUE(Pread(host, id_, offset, length) == bytes_.substr(offset, length));
  }

  const ClusterKey cluster_ = NewCluster();
  const std::string bytes_ = RandomBytes(16 * kMiB, 1);
  const index::ContentId id_ = index::ContentIdOf(bytes_);
  std::string next_bytes_;
  std::vector<index::Hash> pieces_;
};

// Its only holder began to write to it before anybody had asked.
TEST_F(HashesTest, AVersionThatNeverCameTakesWhatTheNextOneHas) {
  TestHost a(cluster_, 200);
  TestHost b(cluster_, 201);
  ASSERT_EQ(a.objects->Put(bytes_), id_);
  Connect(a, b);
  a.swarm->Hashed(id_, pieces_);
  TakeBack(a, id_);
  PendingRead same(b, id_, 10 * kMiB, kMiB);
  PendingRead changed(b, id_, 4 * kMiB, 10);
  EXPECT_TRUE(same.waiting());
  const auto next = a.objects->Put(next_bytes_);
  b.objects->AddBase(id_, next);
  b.swarm->Want(next);
  ExpectRead(b, same, 10 * kMiB, kMiB);
  EXPECT_TRUE(changed.waiting());
  b.swarm->CancelRead(changed.number());
  EXPECT_EQ(changed.Wait(), make_error_code(Error::kCancelled));
  EXPECT_EQ(a.swarm->Status().bad_messages, 0U);
  EXPECT_EQ(b.swarm->Status().bad_messages, 0U);
}

// The disk is full: what is read is taken from the next version, and no more.
TEST_F(HashesTest, AFullDiskTakesWhatIsRead) {
  TestHost a(cluster_, 202);
  TestHost b(cluster_, 203);
  Connect(a, b);
  a.swarm->Hashed(id_, pieces_);
  b.objects->AddBase(id_, b.objects->Put(next_bytes_));
  b.objects->SetRoom(false);
  for (const std::size_t offset : {10 * kMiB, 14 * kMiB, kMiB}) {
    PendingRead read(b, id_, offset, 4096);
    ExpectRead(b, read, offset, 4096);
  }
  struct stat status {};
  ASSERT_EQ(::stat(b.objects->PartialPath(id_).c_str(), &status), 0);
  EXPECT_LT(static_cast<std::size_t>(status.st_blocks) * 512, 2 * kMiB);
}

// The only one that fetches it as well lacks what is read, of which the next version has the piece.
TEST_F(HashesTest, AFullDiskTakesWhatASourceLacks) {
  TestHost host(cluster_, 224);
  RudeMember member(cluster_, 225);
  StartWithTheNext(host);
  host.objects->SetRoom(false);
  const LinkPtr link = member.Greet(host);
  ASSERT_TRUE(link);
  ASSERT_TRUE(host.WaitForPeers(1));
  PendingRead first(host, id_, 10 * kMiB, 4096);
  wire::Have have;
  ToWire(id_, have.add_partial());
  ASSERT_TRUE(member.Take<wire::Want>(Kind::kWant));
  link->Send(Kind::kHave, have);
  ASSERT_TRUE(member.Take<wire::Load>(Kind::kLoad));
  wire::Loaded loaded;
  ToWire(id_, loaded.mutable_content());
  loaded.set_partial(true);
  loaded.set_layer(Layer());
  link->Send(Kind::kLoaded, loaded);
  ExpectRead(host, first, 10 * kMiB, 4096);
  PendingRead second(host, id_, 14 * kMiB, 4096);
  ExpectRead(host, second, 14 * kMiB, 4096);
  EXPECT_EQ(host.swarm->Status().bad_messages, 0U);
}

// What is mirrored, and read on a full disk, does not come as a whole before there is room.
TEST_F(HashesTest, AFullDiskFetchesWhatIsRead) {
  TestHost a(cluster_, 208);
  TestHost b(cluster_, 209);
  Connect(a, b);
  ASSERT_EQ(a.objects->Put(bytes_), id_);
  b.objects->SetRoom(false);
  b.swarm->Want(id_);
  ASSERT_TRUE(b.WaitUntil([](const SwarmStatus& status) { return status.no_room; }));
  for (const std::size_t offset : {10 * kMiB, 14 * kMiB, kMiB}) {
    PendingRead read(b, id_, offset, 4096);
    ExpectRead(b, read, offset, 4096);
  }
  // Laid aside, it is one of those that wait for room again.
  ASSERT_TRUE(b.WaitUntil([](const SwarmStatus& status) { return status.no_room; }));
  struct stat status {};
  ASSERT_EQ(::stat(b.objects->PartialPath(id_).c_str(), &status), 0);
  EXPECT_LT(static_cast<std::size_t>(status.st_blocks) * 512, 8 * kMiB);
  b.objects->SetRoom(true);
  EXPECT_TRUE(b.objects->WaitFor(id_));
}

// It said that it has the object, and let it go when it was asked to load it; or said at once that
// it has only the hashes.
TEST_F(HashesTest, HashesComeWithTheWordThatItIsGone) {
  for (const bool had : {true, false}) {
    TestHost host(cluster_, 204);
    RudeMember member(cluster_, 205);
    StartWithTheNext(host);
    const LinkPtr link = member.Greet(host);
    ASSERT_TRUE(link);
    ASSERT_TRUE(host.WaitForPeers(1));
    PendingRead read(host, id_, 10 * kMiB, 4096);
    LetAsk(member, link, had ? Has() : Lacks(/*hashes=*/true));
    const std::string layer = Layer();
    link->Send(Kind::kGone, Gone(layer.substr(0, 640), 0));
    link->Send(Kind::kGone, Gone(layer.substr(640), 640));
    ExpectRead(host, read, 10 * kMiB, 4096);
    EXPECT_EQ(host.swarm->Status().bad_messages, 0U);
  }
}

// A program that does not know of this says neither; nobody asks it.
TEST_F(HashesTest, WhoDoesNotSayThatItKnowsThemIsNotAsked) {
  TestHost host(cluster_, 206);
  RudeMember member(cluster_, 207);
  StartWithTheNext(host);
  const LinkPtr link = member.Greet(host);
  ASSERT_TRUE(link);
  ASSERT_TRUE(host.WaitForPeers(1));
  PendingRead read(host, id_, 10 * kMiB, 4096);
  ASSERT_TRUE(member.Take<wire::Want>(Kind::kWant));
  link->Send(Kind::kHave, Lacks(/*hashes=*/false));
  ASSERT_TRUE(member.Take<wire::Want>(Kind::kWant)) << "asked again after a while";
  EXPECT_EQ(member.Count(Kind::kLoad), 0U);
  // One that has let it go and answers as such a program does.
  link->Send(Kind::kHave, Has());
  ASSERT_TRUE(member.Take<wire::Load>(Kind::kLoad));
  link->Send(Kind::kGone, Gone({}, 0));
  ASSERT_TRUE(member.Take<wire::Want>(Kind::kWant));
  EXPECT_TRUE(read.waiting());
  EXPECT_EQ(host.swarm->Status().bad_messages, 0U);
}

TEST_F(HashesTest, TheNextOneIsAskedIfTheFirstHasThemNotAnyMore) {
  TestHost host(cluster_, 208);
  StartWithTheNext(host);
  RudeMember members[] = {RudeMember(cluster_, 209), RudeMember(cluster_, 210),
                          RudeMember(cluster_, 211)};
  std::vector<LinkPtr> links;
  for (auto& member : members) {
    links.push_back(member.Greet(host));
    ASSERT_TRUE(links.back());
  }
  ASSERT_TRUE(host.WaitForPeers(3));
  PendingRead read(host, id_, 10 * kMiB, 4096);
  for (std::size_t i = 0; i < 3; ++i) {
    ASSERT_TRUE(members[i].Take<wire::Want>(Kind::kWant));
    links[i]->Send(Kind::kHave, Lacks(/*hashes=*/true));
  }
  // The first that is asked has let them go, the second one ends.
  for (int asked = 0; asked < 3; ++asked) {
    std::size_t who = 3;
    ASSERT_TRUE(host.WaitUntil([&](const SwarmStatus&) {
      for (who = 0; who < 3 && members[who].Count(Kind::kLoad) == 0;) ++who;
      return who < 3;
    }));
    ASSERT_TRUE(members[who].Take<wire::Load>(Kind::kLoad));
    if (asked == 0) links[who]->Send(Kind::kGone, Gone({}, 0));
    if (asked == 1) links[who]->Close(Link::End::kNormal);
    if (asked == 2) links[who]->Send(Kind::kGone, Gone(Layer(), 0));
  }
  ExpectRead(host, read, 10 * kMiB, 4096);
}

TEST_F(HashesTest, WrongHashesAreNonsense) {
  const std::string layer = Layer();
  std::string wrong = layer;
  wrong[40] ^= 1;
  wire::Have small = Lacks(false);
  ToWire(index::ContentIdOf("a small object"), small.add_hashes());
  wire::Gone small_gone = Gone(layer.substr(0, 32), 0);
  ToWire(index::ContentIdOf("a small object"), small_gone.mutable_content());
  wire::Have more = Lacks(true);
  ToWire(id_, more.add_hashes());
  const struct {
    const char* what;
    std::function<void(Link&)> say;
  } cases[] = {
      {"of another object", [&](Link& link) { link.Send(Kind::kGone, Gone(wrong, 0)); }},
      {"too many", [&](Link& link) { link.Send(Kind::kGone, Gone(layer + layer, 0)); }},
      {"behind the end",
       [&](Link& link) { link.Send(Kind::kGone, Gone(layer, std::uint64_t{1} << 63U)); }},
      {"of a small object", [&](Link& link) { link.Send(Kind::kHave, small); }},
      {"with the word that a small object is gone",
       [&](Link& link) { link.Send(Kind::kGone, small_gone); }},
      {"of more than it lacks", [&](Link& link) { link.Send(Kind::kHave, more); }},
  };
  std::uint8_t number = 212;
  for (const auto& c : cases) {
    TestHost host(cluster_, number++);
    RudeMember member(cluster_, number++);
    StartWithTheNext(host);
    const LinkPtr link = member.Greet(host);
    ASSERT_TRUE(link) << c.what;
    ASSERT_TRUE(host.WaitForPeers(1)) << c.what;
    PendingRead read(host, id_, 10 * kMiB, 4096);
    LetAsk(member, link, Lacks(/*hashes=*/true));
    c.say(*link);
    EXPECT_TRUE(host.WaitUntil([](const SwarmStatus& status) { return status.bad_messages == 1; }))
        << c.what;
    EXPECT_TRUE(host.WaitForPeers(0)) << c.what;
    EXPECT_TRUE(read.waiting()) << c.what;
  }
}

}  // namespace
}  // namespace btfc::torrent
