// Files that were in the folder before it was mounted.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "one_host.h"

namespace btfc::cluster {
namespace {

class ImportTest : public OneHostTest {
 protected:
  void SetUp() override {
    OneHostTest::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    const auto made =
        Shell("cd " + Point().native() +
              " && mkdir -p a/b && echo one > a/one && ln a/one a/b/hard && ln -s one a/soft && "
              "head -c 3000000 /dev/urandom > a/b/large && chmod 600 a/one");
    ASSERT_TRUE(made.ok()) << made.output;
    before_ = Describe(Point());
    below_ = open(Point().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    ASSERT_GE(below_, 0);
  }
  void TearDown() override {
    close(below_);
    OneHostTest::TearDown();
  }
  void MountWith(const std::string& options) {
    const auto mounted = Mount(Point().native() + " " + Cache() + options);
    ASSERT_EQ(0, mounted.code) << mounted.output;
  }
  std::string Word() {
    const auto status = host().Status();
    return status.contains("import") ? status["import"].get<std::string>() : "";
  }
  bool Done() {
    return Eventually([&] { return Word().rfind("done", 0) == 0; });
  }
  // What a name below the mount is.
  struct stat Below(const char* name) {
    struct stat status {};
    EXPECT_EQ(0, fstatat(below_, name, &status, AT_SYMLINK_NOFOLLOW)) << name;
    return status;
  }

  std::string before_;
  int below_ = -1;
};

TEST_F(ImportTest, TheFirstMountTakesInWhatWasThere) {
  MountWith("");
  EXPECT_TRUE(Done());
  EXPECT_EQ(before_, Describe(Point()));
  EXPECT_EQ(1U, Below("a/b/large").st_nlink) << "copied";
}

TEST_F(ImportTest, NothingNewIsNotSpokenOfAndNothingComesBack) {
  MountWith("");
  ASSERT_TRUE(Done());
  ASSERT_EQ(0, unlink((Point() / "a/soft").c_str()));
  WriteFile(Point() / "a/one", "changed in the mount");
  Unmount();
  MountWith("");
  ASSERT_EQ(0, Btfc("import " + Point().native()).code);
  EXPECT_TRUE(Eventually([&] { return Word() == "nothing new lies below the mount"; })) << Word();
  EXPECT_NE(0, access((Point() / "a/soft").c_str(), F_OK));
  EXPECT_EQ("changed in the mount", ReadFile(Point() / "a/one"));
  EXPECT_EQ(0, host().Status()["conflicts"]);
  EXPECT_EQ(std::string::npos, ReadFile(host().cache() / "btfc.log").find("new file"));
}

TEST_F(ImportTest, OnlyWhatIsNewIsNamedAndTakenIn) {
  MountWith("");
  ASSERT_TRUE(Done());
  ASSERT_EQ(0, unlink((Point() / "a/soft").c_str()));
  Unmount();
  WriteFile(Point() / "a/b/stray", "put there while nothing was mounted");
  MountWith("");
  EXPECT_TRUE(Eventually([&] { return Word().find("a/b/stray") != std::string::npos; }));
  EXPECT_NE(std::string::npos, Word().find("1 new file lies below")) << Word();
  EXPECT_NE(std::string::npos, Btfc("status " + Point().native()).output.find("a/b/stray"));
  EXPECT_NE(0, access((Point() / "a/b/stray").c_str(), F_OK)) << "never merged silently";
  ASSERT_EQ(0, Btfc("import " + Point().native()).code);
  EXPECT_TRUE(Done());
  EXPECT_EQ("put there while nothing was mounted", ReadFile(Point() / "a/b/stray"));
  EXPECT_NE(0, access((Point() / "a/soft").c_str(), F_OK)) << "deleted, and not new";
}

TEST_F(ImportTest, LinksAreNeverChangedInPlace) {
  MountWith(",import=link");
  ASSERT_TRUE(Done());
  EXPECT_EQ(before_, Describe(Point()));
  EXPECT_GT(Below("a/b/large").st_nlink, 1U) << "linked";
  const auto large = ReadFile(Point() / "a/b/large");
  const int fd = open((Point() / "a/b/large").c_str(), O_RDWR);
  ASSERT_GE(fd, 0);
  ASSERT_EQ(4, pwrite(fd, "edit", 4, 0));
  ASSERT_EQ(0, close(fd));
  EXPECT_TRUE(Eventually([&] { return host().Status()["writing"] == 0; }));
  EXPECT_EQ("edit" + large.substr(4), ReadFile(Point() / "a/b/large"));
  Unmount();
  EXPECT_EQ(large, ReadFile(Point() / "a/b/large"));
}

TEST_F(ImportTest, NoneLeavesThemUntilSomebodyAsks) {
  MountWith(",import=none");
  EXPECT_TRUE(std::filesystem::is_empty(Point()));
  EXPECT_TRUE(
      Eventually([&] { return !std::filesystem::exists(host().cache() / "import.pending"); }));
  Unmount();
  MountWith("");
  EXPECT_TRUE(std::filesystem::is_empty(Point()));
  EXPECT_EQ("", Word());
  ASSERT_EQ(0, Btfc("import " + Point().native()).code);
  ASSERT_TRUE(Done());
  EXPECT_EQ(before_, Describe(Point()));
}

TEST_F(ImportTest, NumericOwnersAndPrivilegedXattrsTravel) {
  ASSERT_TRUE(Shell("cd " + Point().native() +
                    " && chown 4711:4712 a/b/large && setfattr -n trusted.t -v v a/b/large")
                  .ok());
  ASSERT_TRUE(host().Start("owner=numeric"));
  ASSERT_TRUE(Done());
  auto& other = lab().Add();
  lab().ShareKey(other);
  ASSERT_TRUE(other.Start("owner=numeric"));
  struct stat status {};
  ASSERT_TRUE(Eventually([&] { return stat((other / "a/b/large").c_str(), &status) == 0; }));
  EXPECT_EQ(4711U, status.st_uid);
  EXPECT_EQ(4712U, status.st_gid);
  EXPECT_TRUE(Eventually([&] {
    return Shell("getfattr -n trusted.t --absolute-names --only-values " +
                 (other / "a/b/large").native())
               .output == "v";
  }));
}

}  // namespace
}  // namespace btfc::cluster
