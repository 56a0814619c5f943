// Hosts that are members, and those that are no more.
#include "catalogue_fixture.h"

namespace btfc::index {
namespace {

class MembersTest : public CatalogueTest {
 protected:
  static NodeKey KeyOf(const Host& host) { return host.Options().node_key; }
  Host a_{'A', &wall_}, b_{'B', &wall_}, c_{'C', &wall_};
};

TEST_F(MembersTest, ARemovalReachesAllAndStays) {
  b_.Create("/f", "b");
  Exchange({&a_, &b_, &c_});
  EXPECT_FALSE(a_->IsRemoved(KeyOf(b_)));
  EXPECT_EQ(Errno(ENOENT), a_->RemoveMember(DeviceId{{1}}).error());
  EXPECT_EQ(Errno(EINVAL), a_->RemoveMember(a_->self()).error());
  ASSERT_TRUE(a_->RemoveMember(b_->self()));
  ASSERT_TRUE(a_->RemoveMember(b_->self())) << "twice is once";
  Exchange({&a_, &c_});
  for (Host* host : {&a_, &c_}) {
    EXPECT_TRUE((*host)->IsRemoved(KeyOf(b_)));
    EXPECT_FALSE((*host)->IsRemoved(KeyOf(a_)));
    host->Reopen();
    EXPECT_TRUE((*host)->IsRemoved(KeyOf(b_)));
    EXPECT_EQ("b", host->Bytes("/f")) << "what it wrote before stays";
    const auto devices = (*host)->Devices().value();
    ASSERT_EQ(3u, devices.size());
    for (const auto& device : devices) EXPECT_EQ(device.name == "B", device.removed);
  }
}

TEST_F(MembersTest, TheRemovedHostCannotTakeItBack) {
  Exchange({&a_, &b_});
  ASSERT_TRUE(a_->RemoveMember(b_->self()));
  Tick();
  Exchange({&a_, &b_});  // somebody who had not heard of it
  EXPECT_TRUE(b_->IsRemoved(KeyOf(b_))) << "it knows";
  b_.Reopen();
  b_.Create("/g", "x");
  Exchange({&a_, &b_});
  EXPECT_TRUE(a_->IsRemoved(KeyOf(b_)));
}

}  // namespace
}  // namespace btfc::index
