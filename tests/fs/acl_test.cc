#include "fs/acl.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <string>

namespace btfc::fs {
namespace {

// One entry as it lies in the attribute, on a little-endian machine as on any other.
std::string Entry(std::uint16_t tag, std::uint16_t permissions, std::uint32_t id) {
  std::string bytes;
  for (const auto value : {tag, permissions}) {
    bytes += static_cast<char>(value & 0xff);
    bytes += static_cast<char>(value >> 8U);
  }
  for (unsigned shift = 0; shift < 32; shift += 8) bytes += static_cast<char>(id >> shift);
  return bytes;
}

const std::string kVersion("\x02\0\0\0", 4);
constexpr std::uint32_t kNoId = 0xffffffffU;

std::string Base() { return Entry(1, 7, kNoId) + Entry(4, 5, kNoId) + Entry(32, 4, kNoId); }
std::string Extended() {
  return kVersion + Entry(1, 7, kNoId) + Entry(2, 6, 1000) + Entry(4, 5, kNoId) +
         Entry(16, 7, kNoId) + Entry(32, 0, kNoId);
}

TEST(Acl, TheModeOfAMinimalAcl) {
  const auto acl = Acl::Parse(kVersion + Base());
  ASSERT_TRUE(acl);
  EXPECT_TRUE(acl.value().EqualsMode());
  EXPECT_EQ(acl.value().Mode(), 0754U);
  EXPECT_EQ(acl.value().Format(), kVersion + Base());
}

TEST(Acl, TheMaskStandsForTheGroupInTheMode) {
  auto acl = Acl::Parse(Extended());
  ASSERT_TRUE(acl);
  EXPECT_FALSE(acl.value().EqualsMode());
  EXPECT_EQ(acl.value().Mode(), 0770U);
  acl.value().SetMode(0640);
  EXPECT_EQ(acl.value().Mode(), 0640U);
  EXPECT_EQ(acl.value().entries()[2].permissions, 5) << "the group itself keeps its own";
}

TEST(Acl, AFileGetsTheDefaultAclLimitedByWhatItAsksFor) {
  auto acl = Acl::Parse(Extended());
  ASSERT_TRUE(acl);
  EXPECT_EQ(acl.value().Inherit(0666), 0660U);
  EXPECT_EQ(acl.value().Mode(), 0660U);
}

TEST(Acl, WhatTheKernelRefusesIsRefused) {
  const auto refused = [](const std::string& value) {
    const auto acl = Acl::Parse(value);
    return acl ? 0 : ToErrno(acl.error());
  };
  EXPECT_EQ(refused(""), EINVAL);
  EXPECT_EQ(refused(kVersion), EINVAL) << "no owner, group, others";
  EXPECT_EQ(refused(std::string("\x01\0\0\0", 4) + Base()), EOPNOTSUPP) << "another version";
  EXPECT_EQ(refused(kVersion + Base() + "x"), EINVAL) << "half an entry";
  EXPECT_EQ(refused(kVersion + Base() + Entry(64, 7, 0)), EINVAL) << "an unknown tag";
  EXPECT_EQ(refused(kVersion + Base() + Entry(16, 8, kNoId)), EINVAL) << "more than rwx";
  EXPECT_EQ(refused(kVersion + Base() + Entry(2, 7, 1000)), EINVAL) << "a user but no mask";
  EXPECT_EQ(refused(kVersion + Base() + Entry(32, 4, kNoId)), EINVAL) << "others twice";
  EXPECT_EQ(refused(Extended() + Entry(2, 6, 1000)), EINVAL) << "one user twice";
}

}  // namespace
}  // namespace btfc::fs
