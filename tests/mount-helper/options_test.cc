#include "mount-helper/options.h"

#include <gtest/gtest.h>

#include <map>

namespace btfc::mount_helper {
namespace {

auto Parse(const std::vector<std::string>& arguments) {
  return ParseMountArguments(arguments, "/home/user", "/srv");
}

MountRequest Good(const std::vector<std::string>& arguments) {
  auto parsed = Parse(arguments);
  if (const auto* wrong = std::get_if<UsageError>(&parsed)) ADD_FAILURE() << wrong->message;
  return std::get<MountRequest>(parsed);
}

std::string Wrong(const std::vector<std::string>& arguments) {
  auto parsed = Parse(arguments);
  if (const auto* wrong = std::get_if<UsageError>(&parsed)) return wrong->message;
  ADD_FAILURE() << "was taken";
  return "";
}

TEST(OptionsTest, TheMountPointNamesTheCluster) {
  const auto request = Good({"/home/user/btfc"});
  EXPECT_EQ("btfc", request.spec);
  EXPECT_EQ("/home/user/btfc", request.mount_point);
  EXPECT_EQ("/home/user/.btfccache/btfc", request.cache);
  EXPECT_FALSE(request.foreground);
}

TEST(OptionsTest, ASlashAtTheEndAndARelativePathAreFine) {
  const auto request = Good({"films/"});
  EXPECT_EQ("films", request.spec);
  EXPECT_EQ("/srv/films", request.mount_point);
}

TEST(OptionsTest, MountEightsDialect) {
  const auto request = Good({"work", "/mnt/w", "-sn", "-v", "-t", "btfc", "-o",
                             "rw,_netdev,nofail,user,noatime,x-systemd.automount,comment=hello"});
  EXPECT_EQ("work", request.spec);
  EXPECT_EQ("/mnt/w", request.mount_point);
  EXPECT_TRUE(request.verbose);
  EXPECT_EQ(std::vector<std::string>{"noatime"}, request.kernel_options);
}

// "suid" and "dev" never get past mount(8).
TEST(OptionsTest, WhatMountEightKeepsToItself) {
  const auto request = Good({"w", "/m", "-o", "rw,allow_suid,allow_dev"});
  EXPECT_EQ((std::vector<std::string>{"suid", "dev"}), request.kernel_options);
}

// Called in a folder with an entry of that name, mount(8) hands on its path.
TEST(OptionsTest, AClusterThatMountEightTookForAPath) {
  EXPECT_EQ("btfc", Good({"/home/user/btfc", "/srv/b"}).spec);
  EXPECT_EQ("btfc", Good({"/home/user/btfc", "/home/user/btfc"}).spec);
}

TEST(OptionsTest, FakeIsNotForeground) {
  const auto request = Good({"work", "/mnt/w", "-f"});
  EXPECT_TRUE(request.fake);
  EXPECT_FALSE(request.foreground);
  EXPECT_TRUE(Good({"work", "/mnt/w", "--foreground"}).foreground);
}

TEST(OptionsTest, EveryOptionArrives) {
  const std::string attached =
      "-otracker=http://t/announce,nolpd,dht,lazy,ro,allow_other,owner=numeric,"
      "read_timeout=500ms,import=link";
  const auto request =
      Good({"w", "/mnt/w", "-o", "cache=c,key=/k,port=6000,listen=10.0.0.1,peer=a,peer=b:7000",
            attached});
  EXPECT_EQ("/srv/c", request.cache);
  EXPECT_EQ("/k", request.key);
  EXPECT_EQ(6000, request.port);
  EXPECT_EQ(std::vector<std::string>{"10.0.0.1"}, request.listen);
  EXPECT_EQ((std::vector<std::string>{"a", "b:7000"}), request.peers);
  EXPECT_EQ(std::vector<std::string>{"http://t/announce"}, request.trackers);
  EXPECT_FALSE(request.lpd);
  EXPECT_TRUE(request.dht);
  EXPECT_TRUE(request.lazy);
  EXPECT_TRUE(request.read_only);
  EXPECT_TRUE(request.allow_other);
  EXPECT_TRUE(request.numeric_owner);
  EXPECT_EQ(std::chrono::milliseconds(500), request.read_timeout);
  EXPECT_EQ(ImportMode::kLink, request.import);
}

TEST(OptionsTest, HowLongASilentHostIsWaitedFor) {
  constexpr std::int64_t kDay_ns = std::int64_t{86'400} * 1'000'000'000;
  const auto forget = [](const std::string& value) {
    return Good({"/m", "-o", "forget=" + value}).versions.absence_ns;
  };
  EXPECT_EQ(forget("never"), Good({"/m"}).versions.absence_ns);
  EXPECT_EQ(30 * kDay_ns, forget("30"));
  EXPECT_EQ(7 * kDay_ns, forget("7d"));
  EXPECT_LT(36'000 * kDay_ns, forget("never"));
  for (const char* wrong : {"d", "0", "-1", "7h", "36501", "soon"}) {
    EXPECT_NE(std::string::npos,
              Wrong({"/m", "-o", std::string("forget=") + wrong}).find("number of days"))
        << wrong;
  }
}

TEST(OptionsTest, WhatIsKeptOfEarlierVersions) {
  constexpr std::int64_t kHour = std::int64_t{3600} * 1'000'000'000;
  const auto versions = [](const std::string& value) {
    return Good({"/m", "-o", "versions=" + value}).versions;
  };
  EXPECT_EQ(30 * 24 * kHour, Good({"/m"}).versions.age_ns);
  EXPECT_EQ(10U, Good({"/m"}).versions.percent);
  EXPECT_EQ(0, versions("0").age_ns);
  EXPECT_EQ(7 * 24 * kHour, versions("7").age_ns);
  EXPECT_EQ(12 * kHour, versions("12h:5%").age_ns);
  EXPECT_EQ(5U, versions("12h:5%").percent);
  EXPECT_EQ(20ULL << 30U, versions("7d:20G").bytes);
  for (const char* wrong : {"x", "7w", "7d:", "7d:0%", "7d:101%", "7d:20", "7d:20K", "99999d"}) {
    EXPECT_NE(std::string::npos, Wrong({"/m", "-o", std::string("versions=") + wrong}).find("age"))
        << wrong;
  }
}

TEST(OptionsTest, MountEightsOwnerIsNotOurs) {
  EXPECT_FALSE(Good({"w", "/m", "-oowner"}).numeric_owner);
}

TEST(OptionsTest, WhatMountEightAndFstabAdd) {
  const auto request =
      Good({"w", "/m", "-o",
            "rw,auto,noauto,user,user=user,users,owner,group,nouser,nousers,noowner,nogroup,"
            "defaults,nofail,_netdev,comment=c,x-systemd.requires=a,X-mount.mkdir,helper=btfc,"
            "uhelper=udisks2,nomand,loud"});
  EXPECT_FALSE(request.numeric_owner);
  EXPECT_TRUE(request.kernel_options.empty());
  EXPECT_NE(std::string::npos, Wrong({"w", "/m", "-o", "remount,ro"}).find("umount"));
}

TEST(OptionsTest, WrongOnesAreNamed) {
  EXPECT_NE(std::string::npos, Wrong({"/m", "-o", "nosuchthing"}).find("nosuchthing"));
  EXPECT_NE(std::string::npos, Wrong({"/m", "-o", "port=70000"}).find("port: '70000'"));
  EXPECT_NE(std::string::npos, Wrong({"/m", "-o", "port=0"}).find("port"));
  EXPECT_NE(std::string::npos, Wrong({"/m", "-o", "port"}).find("needs a value"));
  EXPECT_NE(std::string::npos, Wrong({"/m", "-o", "import=move"}).find("copy, link, none"));
  EXPECT_NE(std::string::npos, Wrong({"/m", "-o", "read_timeout=never"}).find("read_timeout"));
  EXPECT_NE(std::string::npos, Wrong({"/m", "-o", "owner=me"}).find("owner"));
  EXPECT_NE(std::string::npos, Wrong({"/m", "-o", "peer=a:99999"}).find("peer: 'a:99999'"));
  EXPECT_NE(std::string::npos, Wrong({"/m", "-o", "peer=:1"}).find("peer"));
  EXPECT_NE(std::string::npos, Wrong({"/m", "-o", "tracker=t"}).find("tracker"));
  EXPECT_NE(std::string::npos, Wrong({"/m", "-o"}).find("-o"));
  EXPECT_NE(std::string::npos, Wrong({"/m", "-x"}).find("-x"));
  EXPECT_NE(std::string::npos, Wrong({"/m", "--frobnicate"}).find("--frobnicate"));
  EXPECT_NE(std::string::npos, Wrong({}).find("mount point is missing"));
  EXPECT_NE(std::string::npos, Wrong({"a", "b", "c"}).find("'c'"));
  EXPECT_NE(std::string::npos, Wrong({"a/b", "/m"}).find("a/b"));
  EXPECT_NE(std::string::npos, Wrong({"/"}).find("no name for a cluster"));
}

TEST(OptionsTest, WithoutAHomeTheCacheMustBeGiven) {
  auto parsed = ParseMountArguments({"/m"}, "", "/");
  ASSERT_TRUE(std::holds_alternative<UsageError>(parsed));
  EXPECT_NE(std::string::npos, std::get<UsageError>(parsed).message.find("cache="));
}

TEST(OptionsTest, CacheAndMountPointLieApart) {
  EXPECT_NE(std::string::npos, Wrong({"/m", "-o", "cache=/m/c"}).find("within each other"));
  EXPECT_NE(std::string::npos, Wrong({"/c/m", "-o", "cache=/c/"}).find("within each other"));
  EXPECT_NE(std::string::npos, Wrong({"/m", "-o", "cache=/m"}).find("within each other"));
  EXPECT_EQ("/mc", Good({"/m", "-o", "cache=/mc"}).cache);
}

TEST(OptionsTest, PeersOfEveryKind) {
  const auto request =
      Good({"/m", "-o",
            "peer=fe80::1,peer=[fe80::1]:5,peer=[fe80::1],peer=h:5,peer=nas.example.org,"
            "peer=10.0.0.1:65535,peer=fe80::1%eth0,peer=my_nas-2"});
  EXPECT_EQ(8U, request.peers.size());
}

TEST(OptionsTest, PeersThatAreNone) {
  const std::map<std::string, std::string> wrong = {
      {"a:b:", "no IPv6 address"},      {"a:0", "'0' is no port"},
      {"a:65536", "'65536'"},           {"a:", "'' is no port"},
      {"a:-1", "'-1' is no port"},      {"a:1x", "'1x' is no port"},
      {":5", "the host is missing"},    {"[fe80::1", "] is missing"},
      {"[nas]:5", "'nas' is no IPv6"},  {"[fe80::1]5", "HOST:PORT"},
      {"10.0.0", "no IPv4 address"},    {"10.0.0.256", "no IPv4 address"},
      {"my nas", "no name of a host"},  {"nas/x", "no name of a host"},
      {"nas..org", "no name of a host"}};
  for (const auto& [value, what] : wrong) {
    const auto said = Wrong({"/m", "-o", "peer=" + value});
    EXPECT_NE(std::string::npos, said.find(what)) << said;
    EXPECT_NE(std::string::npos, said.find("peer: '" + value + "'")) << said;
  }
}

TEST(OptionsTest, HelpAndVersion) {
  EXPECT_FALSE(std::get<HelpRequest>(Parse({"--help"})).version);
  EXPECT_TRUE(std::get<HelpRequest>(Parse({"-V"})).version);
}

}  // namespace
}  // namespace btfc::mount_helper
