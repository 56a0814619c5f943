// What another host changed, seen through a mount whose kernel caches everything for hours.
#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include "mounted.h"

namespace btfc::fs::test {
namespace {

struct stat StatOf(const std::filesystem::path& path) {
  struct stat st {};
  EXPECT_EQ(::lstat(path.c_str(), &st), 0) << path << ": " << std::strerror(errno);
  return st;
}

bool Exists(const std::filesystem::path& path) { return ::access(path.c_str(), F_OK) == 0; }

class MountRemote : public testing::TestWithParam<bool> {
 protected:
  void SetUp() override {
    BTFC_NEED_MOUNT();
    MountedOptions options;
    options.passthrough = GetParam();
    mounted_ = std::make_unique<Mounted>("remote", options);
    peer_ = std::make_unique<Peer>("peer");
  }
  index::Ino MakeAtPeer(const std::string& name, index::Kind kind = index::Kind::kFolder,
                        index::Ino parent = index::kRootIno) {
    index::NewNode node;
    node.kind = kind;
    node.mode = kind == index::Kind::kFolder ? 0755 : 0644;
    const auto made = peer_->catalogue().Make(parent, name, node);
    EXPECT_TRUE(made) << made.error().message();
    return made ? made.value().ino : 0;
  }
  index::Ino AtPeer(const std::string& name, index::Ino parent = index::kRootIno) {
    const auto found = peer_->catalogue().Lookup(parent, name);
    EXPECT_TRUE(found) << found.error().message();
    return found ? found.value().ino : 0;
  }
  void Send() { peer_->Send(mounted_->catalogue()); }
  void Fetch() {
    ASSERT_TRUE(mounted_->WaitQuiet());
    peer_->Fetch(mounted_->catalogue());
  }

  std::unique_ptr<Mounted> mounted_;
  std::unique_ptr<Peer> peer_;
};

TEST_P(MountRemote, ANameThatWasMissingAppears) {
  EXPECT_FALSE(Exists(*mounted_ / "new"));
  MakeAtPeer("new");
  Send();
  EXPECT_TRUE(Eventually([&] { return Exists(*mounted_ / "new"); }));
}

TEST_P(MountRemote, ANameThatWasThereGoes) {
  WriteWhole(*mounted_ / "f", "x");
  ASSERT_EQ(::mkdir((*mounted_ / "d").c_str(), 0755), 0);
  EXPECT_TRUE(Exists(*mounted_ / "f"));
  Fetch();
  ASSERT_TRUE(peer_->catalogue().Unlink(index::kRootIno, "f"));
  ASSERT_TRUE(peer_->catalogue().RemoveFolder(index::kRootIno, "d"));
  Send();
  EXPECT_TRUE(Eventually([&] { return !Exists(*mounted_ / "f"); }));
  EXPECT_TRUE(Eventually([&] { return !Exists(*mounted_ / "d"); }));
}

TEST_P(MountRemote, ARenamedFolderKeepsItsNumberAndContent) {
  ASSERT_EQ(::mkdir((*mounted_ / "d").c_str(), 0755), 0);
  WriteWhole(*mounted_ / "d" / "f", "inside");
  const ino_t number = StatOf(*mounted_ / "d").st_ino;
  Fetch();
  ASSERT_TRUE(peer_->catalogue().Rename(index::kRootIno, "d", index::kRootIno, "renamed", 0));
  Send();
  EXPECT_TRUE(Eventually([&] { return Exists(*mounted_ / "renamed" / "f"); }));
  EXPECT_TRUE(Eventually([&] { return !Exists(*mounted_ / "d"); }));
  EXPECT_EQ(StatOf(*mounted_ / "renamed").st_ino, number);
  EXPECT_EQ(ReadWhole(*mounted_ / "renamed" / "f"), "inside");
}

TEST_P(MountRemote, AttributesArrive) {
  WriteWhole(*mounted_ / "f", "x");
  Fetch();
  index::AttributeChange change;
  change.mode = 0600;
  const index::Ino file = AtPeer("f");
  ASSERT_TRUE(peer_->catalogue().SetAttributes(file, change));
  ASSERT_TRUE(peer_->catalogue().SetXattr(file, "user.from", "peer", 0));
  Send();
  EXPECT_TRUE(Eventually([&] { return (StatOf(*mounted_ / "f").st_mode & 07777) == 0600; }));
  char value[8] = {};
  EXPECT_EQ(::getxattr((*mounted_ / "f").c_str(), "user.from", value, sizeof(value)), 4);
  EXPECT_STREQ(value, "peer");
}

// No Eventually here: an open after the delta must see it.
TEST_P(MountRemote, TheNextOpenSeesTheNewContentWhole) {
  WriteWhole(*mounted_ / "f", "first");
  for (int round = 0; round < 50; ++round) {
    Fetch();
    const std::string bytes(static_cast<std::size_t>(1 + 37 * round),
                            static_cast<char>('a' + round % 26));
    peer_->Write(AtPeer("f"), bytes);
    Send();
    const int fd = ::open((*mounted_ / "f").c_str(), O_RDONLY);
    ASSERT_GE(fd, 0);
    struct stat st {};
    ASSERT_EQ(::fstat(fd, &st), 0);
    EXPECT_EQ(st.st_size, static_cast<off_t>(bytes.size()));
    std::string got(bytes.size() + 10, '\0');
    got.resize(static_cast<std::size_t>(std::max<ssize_t>(0, ::read(fd, got.data(), got.size()))));
    ::close(fd);
    ASSERT_EQ(got, bytes) << "round " << round;
  }
}

// Not opened for reading here: a close() returns before the kernel's RELEASE comes, so just after
// one the mount may still count a reader.
TEST_P(MountRemote, AFileThatNobodyHasOpenStaysTheSameFile) {
  WriteWhole(*mounted_ / "f", "first");
  const ino_t number = StatOf(*mounted_ / "f").st_ino;
  for (off_t size = 10; size < 20; ++size) {
    Fetch();
    peer_->Write(AtPeer("f"), std::string(static_cast<std::size_t>(size), 'x'));
    Send();
    EXPECT_TRUE(Eventually([&] { return StatOf(*mounted_ / "f").st_size == size; }));
    EXPECT_EQ(StatOf(*mounted_ / "f").st_ino, number);
  }
}

TEST_P(MountRemote, AReaderKeepsItsVersionAndTheNextOpenGetsTheNewOne) {
  WriteWhole(*mounted_ / "f", "the old version");
  ASSERT_EQ(::link((*mounted_ / "f").c_str(), (*mounted_ / "other-name").c_str()), 0);
  Fetch();
  const int reader = ::open((*mounted_ / "f").c_str(), O_RDONLY);
  ASSERT_GE(reader, 0);
  struct stat before {};
  ASSERT_EQ(::fstat(reader, &before), 0);
  peer_->Write(AtPeer("f"), "the new and longer version");
  Send();
  const auto read_now = [&](const char* name) { return ReadWhole(*mounted_ / name); };
  EXPECT_TRUE(Eventually([&] { return read_now("f") == "the new and longer version"; }));
  EXPECT_TRUE(Eventually([&] { return read_now("other-name") == "the new and longer version"; }));

  char buffer[64] = {};
  EXPECT_EQ(::pread(reader, buffer, sizeof(buffer), 0), 15);
  EXPECT_STREQ(buffer, "the old version");
  struct stat after {};
  ASSERT_EQ(::fstat(reader, &after), 0);
  EXPECT_EQ(after.st_ino, before.st_ino);
  struct statx exact {};
  ASSERT_EQ(::statx(reader, "", AT_EMPTY_PATH | AT_STATX_FORCE_SYNC, STATX_ALL, &exact), 0);
  EXPECT_EQ(exact.stx_size, 15U) << "also when the kernel asks again";
  EXPECT_NE(StatOf(*mounted_ / "f").st_ino, before.st_ino) << "tail -F and lock files need that";
  EXPECT_EQ(StatOf(*mounted_ / "f").st_ino, StatOf(*mounted_ / "other-name").st_ino);
  EXPECT_LT(::open(("/proc/self/fd/" + std::to_string(reader)).c_str(), O_RDONLY), 0);
  EXPECT_EQ(errno, ESTALE);

  // Everything else goes on under the new number, also while the old one is held.
  WriteWhole(*mounted_ / "f", "written here");
  EXPECT_EQ(read_now("other-name"), "written here");
  EXPECT_EQ(::chmod((*mounted_ / "f").c_str(), 0600), 0);
  EXPECT_EQ(StatOf(*mounted_ / "f").st_mode & 07777U, 0600U);
  EXPECT_EQ(::pread(reader, buffer, sizeof(buffer), 0), 15);
  ::close(reader);
  EXPECT_EQ(::unlink((*mounted_ / "f").c_str()), 0);
  EXPECT_EQ(read_now("other-name"), "written here");
}

TEST_P(MountRemote, AFileThatIsRemovedElsewhereLivesOnUnderItsReader) {
  WriteWhole(*mounted_ / "f", "still readable");
  Fetch();
  const int reader = ::open((*mounted_ / "f").c_str(), O_RDONLY);
  ASSERT_GE(reader, 0);
  struct stat st {};
  ASSERT_EQ(::fstat(reader, &st), 0);
  EXPECT_EQ(st.st_nlink, 1U);
  ASSERT_TRUE(peer_->catalogue().Unlink(index::kRootIno, "f"));
  Send();
  EXPECT_TRUE(Eventually([&] { return !Exists(*mounted_ / "f"); }));
  EXPECT_TRUE(Eventually([&] { return ::fstat(reader, &st) == 0 && st.st_nlink == 0; }));
  char buffer[32] = {};
  EXPECT_EQ(::pread(reader, buffer, sizeof(buffer), 0), 14);
  EXPECT_STREQ(buffer, "still readable");
  WriteWhole(*mounted_ / "f", "another");
  EXPECT_EQ(ReadWhole(*mounted_ / "f"), "another");
  EXPECT_EQ(::pread(reader, buffer, sizeof(buffer), 0), 14);
  ::close(reader);
}

// An answer that was on its way when the change came must not stay in the kernel's caches.
TEST_P(MountRemote, WhatIsLookedUpWhileItChangesIsRightInTheEnd) {
  constexpr int kNames = 8;
  const auto name = [](int i) { return "n" + std::to_string(i); };
  std::atomic<bool> stop{false};
  std::vector<std::thread> lookers;
  for (int i = 0; i < 2; ++i) {
    lookers.emplace_back([&] {
      struct stat st {};
      while (!stop) {
        for (int n = 0; n < kNames; ++n) ::lstat((*mounted_ / name(n)).c_str(), &st);
      }
    });
  }
  std::uint32_t mode = 0;
  for (int round = 0; round < 150; ++round) {
    mode = 0600 + static_cast<std::uint32_t>(round % 8);
    for (int n = 0; n < kNames; ++n) {
      const auto found = peer_->catalogue().Lookup(index::kRootIno, name(n));
      if ((round + n) % 3 == 0 && found) {
        ASSERT_TRUE(peer_->catalogue().RemoveFolder(index::kRootIno, name(n)));
      } else if (found) {
        index::AttributeChange change;
        change.mode = mode;
        ASSERT_TRUE(peer_->catalogue().SetAttributes(found.value().ino, change));
      } else {
        MakeAtPeer(name(n));
      }
    }
    Send();
  }
  stop = true;
  for (std::thread& looker : lookers) looker.join();
  for (int n = 0; n < kNames; ++n) {
    const auto found = mounted_->catalogue().Lookup(index::kRootIno, name(n));
    EXPECT_TRUE(Eventually([&] {
      struct stat st {};
      const int result = ::lstat((*mounted_ / name(n)).c_str(), &st);
      if (!found) return result < 0 && errno == ENOENT;
      return result == 0 && (st.st_mode & 07777U) == found.value().mode;
    })) << name(n);
  }
}

TEST_P(MountRemote, WhatIsMountedInsideAFolderStays) {
  ASSERT_EQ(::mkdir((*mounted_ / "d").c_str(), 0755), 0);
  ASSERT_EQ(::mount("tmpfs", (*mounted_ / "d").c_str(), "tmpfs", 0, "size=1m"), 0);
  struct Unmounter {
    std::string path;
    ~Unmounter() { ::umount2(path.c_str(), MNT_DETACH); }
  } unmounter{*mounted_ / "d"};
  WriteWhole(*mounted_ / "d" / "on-tmpfs", "x");
  Fetch();
  index::AttributeChange change;
  change.mode = 0700;
  ASSERT_TRUE(peer_->catalogue().SetAttributes(AtPeer("d"), change));
  MakeAtPeer("beside");
  MakeAtPeer("below", index::Kind::kFolder, AtPeer("d"));
  Send();
  EXPECT_TRUE(Eventually([&] { return Exists(*mounted_ / "beside"); }));
  EXPECT_TRUE(Exists(*mounted_ / "d" / "on-tmpfs"));
}

INSTANTIATE_TEST_SUITE_P(Mode, MountRemote, testing::Bool(),
                         [](const auto& suite) { return suite.param ? "Passthrough" : "Cached"; });

}  // namespace
}  // namespace btfc::fs::test
