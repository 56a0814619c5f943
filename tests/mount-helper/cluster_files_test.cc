#include "mount-helper/cluster_files.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <fstream>

#include "tests/support/temp_dir.h"

namespace btfc::mount_helper {
namespace {

class ClusterFilesTest : public testing::Test {
 protected:
  void SetUp() override { ASSERT_TRUE(MakeCacheFolder(cache_, &why_)) << why_; }

  const test::TempDir folder_;
  const std::filesystem::path cache_ = folder_ / "caches" / "work";
  std::string why_;
};

TEST_F(ClusterFilesTest, TheCacheIsForItsOwnerOnly) {
  struct stat status {};
  ASSERT_EQ(0, stat(cache_.c_str(), &status));
  EXPECT_EQ(0700U, status.st_mode & 07777U);
}

TEST_F(ClusterFilesTest, TheFirstMountMakesAClusterTheNextKeepsIt) {
  const auto first = LoadMembership(cache_, "", "work", &why_);
  ASSERT_TRUE(first) << why_;
  EXPECT_TRUE(first.value().new_cluster);
  // Until it has been mounted once.
  EXPECT_TRUE(LoadMembership(cache_, "", "work", &why_).value().new_cluster);
  NoteMounted(cache_);
  const auto second = LoadMembership(cache_, "", "work", &why_);
  ASSERT_TRUE(second) << why_;
  EXPECT_FALSE(second.value().new_cluster);
  EXPECT_EQ(first.value().cluster.cluster_id, second.value().cluster.cluster_id);
  EXPECT_EQ(first.value().node.node_key, second.value().node.node_key);
}

TEST_F(ClusterFilesTest, NoNewClusterOverAnOldIndex) {
  std::ofstream(cache_ / "index.db") << "something";
  EXPECT_FALSE(LoadMembership(cache_, "", "work", &why_));
  EXPECT_NE(std::string::npos, why_.find("cluster.key"));
  EXPECT_FALSE(std::filesystem::exists(cache_ / "cluster.key"));
}

TEST_F(ClusterFilesTest, JoiningTwiceIsFineAnotherClusterIsNot) {
  ASSERT_TRUE(LoadMembership(cache_, "", "work", &why_)) << why_;
  const auto here = folder_ / "here";
  ASSERT_TRUE(JoinCluster(cache_ / "cluster.key", here, &why_)) << why_;
  ASSERT_TRUE(JoinCluster(cache_ / "cluster.key", here, &why_)) << why_;
  const auto there = folder_ / "there";
  ASSERT_TRUE(MakeCacheFolder(there, &why_));
  ASSERT_TRUE(LoadMembership(there, "", "work", &why_)) << why_;
  EXPECT_FALSE(JoinCluster(cache_ / "cluster.key", there, &why_));
  EXPECT_NE(std::string::npos, why_.find("another cluster"));
}

TEST_F(ClusterFilesTest, AGivenKeyMustBeThere) {
  EXPECT_FALSE(LoadMembership(cache_, folder_ / "no.key", "work", &why_));
  EXPECT_NE(std::string::npos, why_.find("no.key"));
}

}  // namespace
}  // namespace btfc::mount_helper
