#include "fs/owner_map.h"

#include <gtest/gtest.h>
#include <pwd.h>

namespace btfc::fs {
namespace {

constexpr OwnerMap::Ids kMounter{1234, 5678};
constexpr std::uint32_t kNobodyHas = 3'999'999'999;  // neither a user's nor a group's number

index::Owner Named(const std::string& user, const std::string& group) {
  index::Owner owner;
  owner.uid = 77;
  owner.gid = 78;
  owner.user = user;
  owner.group = group;
  return owner;
}

TEST(OwnerMap, WhoMountedThereIsWhoMountsHere) {
  OwnerMap map(OwnerPolicy::kMap, kMounter);
  index::Owner owner = Named("root", "root");
  owner.mounter = true;
  owner.mounter_group = true;
  EXPECT_EQ(map.ToLocal(owner), kMounter);
}

TEST(OwnerMap, OthersGoByName) {
  OwnerMap map(OwnerPolicy::kMap, kMounter);
  EXPECT_EQ(map.ToLocal(Named("root", "root")), (OwnerMap::Ids{0, 0}));
  EXPECT_EQ(map.ToLocal(Named("nobody-has-this-name", "nor-this-group")), kMounter);
}

TEST(OwnerMap, ANumberWithoutANameStaysOneIfItIsNobodyHereEither) {
  OwnerMap map(OwnerPolicy::kMap, kMounter);
  index::Owner owner = Named("", "");
  owner.uid = kNobodyHas;
  owner.gid = kNobodyHas;
  EXPECT_EQ(map.ToLocal(owner), (OwnerMap::Ids{kNobodyHas, kNobodyHas}));
  owner.uid = 0;
  owner.gid = 0;
  EXPECT_EQ(map.ToLocal(owner), kMounter) << "a stranger's number is not our root";
}

TEST(OwnerMap, NumbersStayNumbersIfAsked) {
  OwnerMap map(OwnerPolicy::kNumeric, kMounter);
  EXPECT_EQ(map.ToLocal(Named("root", "root")), (OwnerMap::Ids{77, 78}));
}

TEST(OwnerMap, WhatIsStoredComesBack) {
  OwnerMap map(OwnerPolicy::kMap, kMounter);
  for (const std::uint32_t id : {0U, 1234U, 5678U, kNobodyHas}) {
    const index::Owner owner = map.FromLocal({id, id});
    EXPECT_EQ(owner.uid, id);
    EXPECT_EQ(owner.mounter, id == kMounter.uid);
    EXPECT_EQ(owner.mounter_group, id == kMounter.gid);
    EXPECT_EQ(map.ToLocal(owner), (OwnerMap::Ids{id, id}));
  }
  EXPECT_EQ(map.FromLocal({0, 0}).user, ::getpwuid(0)->pw_name);
}

}  // namespace
}  // namespace btfc::fs
