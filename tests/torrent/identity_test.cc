#include "torrent/identity.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cerrno>
#include <fstream>
#include <iterator>
#include <string>

#include "tests/support/temp_dir.h"

namespace btfc::torrent {
namespace {

using testing::HasSubstr;

void WriteFile(const std::filesystem::path& file, const std::string& text, mode_t mode = 0600) {
  std::ofstream(file, std::ios::binary) << text;
  ASSERT_EQ(::chmod(file.c_str(), mode), 0);
}

std::string ReadFile(const std::filesystem::path& file) {
  std::ifstream in(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

class IdentityTest : public testing::Test {
 protected:
  std::filesystem::path File(const char* name) const { return dir_.path() / name; }
  test::TempDir dir_;
  std::string why_;
};

TEST_F(IdentityTest, ClusterKeySurvivesTheDisk) {
  const auto key = MakeClusterKey("home");
  ASSERT_TRUE(key);
  ASSERT_TRUE(WriteClusterKey(key.value(), File("cluster.key")));
  const auto read = ReadClusterKey(File("cluster.key"), &why_);
  ASSERT_TRUE(read) << why_;
  EXPECT_EQ(read.value().ca_key_pem, key.value().ca_key_pem);
  EXPECT_EQ(read.value().ca_cert_pem, key.value().ca_cert_pem);
  EXPECT_EQ(read.value().cluster_id, key.value().cluster_id);
  struct stat status {};
  ASSERT_EQ(::stat(File("cluster.key").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777U, 0600U);
}

TEST_F(IdentityTest, TextAroundAndOrderDoNotChangeTheCluster) {
  const auto key = MakeClusterKey("home").value();
  const auto parsed = ParseClusterKey(
      "mailed by me\r\n" + key.ca_cert_pem + "\n\nand the key\n" + key.ca_key_pem + "bye\n", &why_);
  ASSERT_TRUE(parsed) << why_;
  EXPECT_EQ(parsed.value().ca_cert_pem, key.ca_cert_pem);
  EXPECT_EQ(parsed.value().cluster_id, key.cluster_id);
}

TEST_F(IdentityTest, TwoClustersOfOneNameDiffer) {
  EXPECT_NE(MakeClusterKey("home").value().cluster_id, MakeClusterKey("home").value().cluster_id);
}

TEST_F(IdentityTest, AnyClusterNameWorks) {
  EXPECT_TRUE(MakeClusterKey(""));
  EXPECT_TRUE(MakeClusterKey(std::string(300, 'x')));
  EXPECT_TRUE(
      MakeClusterKey("K\xc3\xbc"
                     "che \xff\n"));
}

TEST_F(IdentityTest, NeverOverwritesAClusterKey) {
  WriteFile(File("cluster.key"), "precious");
  const auto written = WriteClusterKey(MakeClusterKey("home").value(), File("cluster.key"));
  ASSERT_FALSE(written);
  EXPECT_EQ(written.error(), Errno(EEXIST));
  EXPECT_EQ(ReadFile(File("cluster.key")), "precious");
}

TEST_F(IdentityTest, MissingClusterKey) {
  EXPECT_EQ(ReadClusterKey(File("cluster.key"), &why_).error(), Errno(ENOENT));
  EXPECT_THAT(why_, HasSubstr("does not exist"));
  EXPECT_THAT(why_, HasSubstr("cluster.key"));
}

TEST_F(IdentityTest, FolderInPlaceOfTheKey) {
  std::filesystem::create_directory(File("cluster.key"));
  EXPECT_EQ(ReadClusterKey(File("cluster.key"), &why_).error(), Errno(EISDIR));
  EXPECT_THAT(why_, HasSubstr("is a folder"));
}

TEST_F(IdentityTest, EveryWiderModeIsRefused) {
  const auto key = MakeClusterKey("home").value();
  for (const mode_t mode : {0640, 0604, 0610, 0601, 0620, 0602, 0777}) {
    WriteFile(File("cluster.key"), key.ca_key_pem + key.ca_cert_pem, mode);
    EXPECT_EQ(ReadClusterKey(File("cluster.key"), &why_).error(), Errno(EACCES)) << mode;
    EXPECT_THAT(why_, HasSubstr("chmod 600"));
  }
  for (const mode_t mode : {0600, 0400, 0700}) {
    WriteFile(File("cluster.key"), key.ca_key_pem + key.ca_cert_pem, mode);
    EXPECT_TRUE(ReadClusterKey(File("cluster.key"), &why_)) << mode << ": " << why_;
  }
}

TEST_F(IdentityTest, FilesThatAreNoClusterKey) {
  const auto key = MakeClusterKey("home").value();
  const auto other = MakeClusterKey("home").value();
  const auto node = LoadOrMakeNode(dir_.path(), key, &why_).value();
  const struct {
    const char* what;
    std::string text;
    const char* why;
  } cases[] = {
      {"empty", "", "is empty"},
      {"text", "hello\n", "no readable private key"},
      {"binary", std::string(5000, '\0'), "no readable private key"},
      {"huge", std::string(1 << 20, 'x'), "too large"},
      {"certificate alone", key.ca_cert_pem, "no readable private key"},
      {"key alone", key.ca_key_pem, "no readable certificate"},
      {"cut", (key.ca_key_pem + key.ca_cert_pem).substr(0, key.ca_key_pem.size() + 200),
       "no readable certificate"},
      {"two clusters", key.ca_key_pem + other.ca_cert_pem, "do not belong together"},
      {"node key", node.key_pem + node.cert_pem, "not a cluster's"},
      {"encrypted",
       "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIHsMFcGCSqGSIb3DQEFDTBKMCkGCSqGSIb3DQEFDDAcBAgA\n"
       "-----END ENCRYPTED PRIVATE KEY-----\n" +
           key.ca_cert_pem,
       "no readable private key"},
  };
  for (const auto& c : cases) {
    WriteFile(File("cluster.key"), c.text);
    const auto read = ReadClusterKey(File("cluster.key"), &why_);
    ASSERT_FALSE(read) << c.what;
    EXPECT_THAT(why_, HasSubstr(c.why)) << c.what;
    EXPECT_THAT(why_, HasSubstr("cluster.key")) << c.what;
  }
}

TEST_F(IdentityTest, AnInvitationHoldsNoClusterKey) {
  const auto key = MakeClusterKey("home");
  ASSERT_TRUE(key);
  const auto invitation = InviteReadOnly(key.value());
  ASSERT_TRUE(invitation);
  ASSERT_TRUE(WriteClusterKey(invitation.value(), File("invitation")));
  const auto text = ReadFile(File("invitation"));
  EXPECT_EQ(std::string::npos, text.find(key.value().ca_key_pem));
  const auto read = ReadClusterKey(File("invitation"), &why_);
  ASSERT_TRUE(read) << why_;
  EXPECT_EQ(key.value().cluster_id, read.value().cluster_id);
  EXPECT_EQ(key.value().ca_cert_pem, read.value().ca_cert_pem);
  EXPECT_TRUE(read.value().ca_key_pem.empty());
  ASSERT_TRUE(read.value().invited);
  const auto node = LoadOrMakeNode(dir_.path(), read.value(), &why_);
  ASSERT_TRUE(node) << why_;
  EXPECT_EQ(invitation.value().invited->node_key, node.value().node_key);
  EXPECT_FALSE(std::filesystem::exists(File("node.key")));
  EXPECT_EQ(Errno(EPERM), InviteReadOnly(read.value()).error());
}

TEST_F(IdentityTest, AnInvitationOfAnotherClusterOrAPlainNodeIsNoKey) {
  const auto key = MakeClusterKey("home");
  const auto other = MakeClusterKey("home");
  ASSERT_TRUE(key && other);
  auto invitation = InviteReadOnly(key.value());
  ASSERT_TRUE(invitation);
  invitation.value().ca_cert_pem = other.value().ca_cert_pem;
  ASSERT_TRUE(WriteClusterKey(invitation.value(), File("mixed")));
  EXPECT_FALSE(ReadClusterKey(File("mixed"), &why_));
  // An ordinary member's own key beside the certificate: it would be no read-only host.
  const auto node = LoadOrMakeNode(dir_.path(), key.value(), &why_);
  ASSERT_TRUE(node);
  WriteFile(File("plain"), node.value().key_pem + node.value().cert_pem + key.value().ca_cert_pem);
  EXPECT_FALSE(ReadClusterKey(File("plain"), &why_));
}

TEST_F(IdentityTest, NodeIsMadeOnceAndKept) {
  const auto key = MakeClusterKey("home").value();
  const auto made = LoadOrMakeNode(dir_.path(), key, &why_);
  ASSERT_TRUE(made) << why_;
  const auto again = LoadOrMakeNode(dir_.path(), key, &why_);
  ASSERT_TRUE(again) << why_;
  EXPECT_EQ(again.value().node_key, made.value().node_key);
  EXPECT_EQ(again.value().cert_pem, made.value().cert_pem);
  EXPECT_EQ(again.value().key_pem, made.value().key_pem);
}

TEST_F(IdentityTest, NodeOfAnotherClusterIsEnrolledAnew) {
  const auto first = LoadOrMakeNode(dir_.path(), MakeClusterKey("home").value(), &why_).value();
  const auto second_cluster = MakeClusterKey("home").value();
  const auto second = LoadOrMakeNode(dir_.path(), second_cluster, &why_);
  ASSERT_TRUE(second) << why_;
  EXPECT_NE(second.value().cert_pem, first.cert_pem);
  EXPECT_EQ(LoadOrMakeNode(dir_.path(), second_cluster, &why_).value().cert_pem,
            second.value().cert_pem);
}

TEST_F(IdentityTest, DamagedOrOpenNodeKeyIsNamed) {
  const auto key = MakeClusterKey("home").value();
  WriteFile(File("node.key"), "scribble");
  EXPECT_EQ(LoadOrMakeNode(dir_.path(), key, &why_).error(), Error::kCorrupt);
  EXPECT_THAT(why_, HasSubstr("node.key"));
  WriteFile(File("node.key"), "scribble", 0644);
  EXPECT_EQ(LoadOrMakeNode(dir_.path(), key, &why_).error(), Errno(EACCES));
}

TEST_F(IdentityTest, FolderThatCannotBeWritten) {
  EXPECT_FALSE(LoadOrMakeNode(File("nowhere"), MakeClusterKey("home").value(), &why_));
  EXPECT_THAT(why_, HasSubstr("node.key"));
}

}  // namespace
}  // namespace btfc::torrent
