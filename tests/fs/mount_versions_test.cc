// .btfc/versions in a real mount: history that any application can read.
#include <dirent.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <memory>

#include "later_process.h"
#include "mounted.h"
#include "shared_mapping.h"

namespace btfc::fs::test {
namespace {

using Strings = std::vector<std::string>;

class MountVersions : public testing::Test {
 protected:
  void SetUp() override {
    BTFC_NEED_MOUNT();
    mounted_ = std::make_unique<Mounted>("versions");
  }
  std::filesystem::path At(const std::string& path) const {
    return *mounted_ / (".btfc/versions" + path);
  }
  void Write(const std::string& name, const std::string& bytes) {
    WriteWhole(*mounted_ / name, bytes);
    ASSERT_TRUE(mounted_->WaitQuiet());
  }
  static Strings ListOf(const std::filesystem::path& folder) {
    Strings names;
    for (const auto& entry : std::filesystem::directory_iterator(folder)) {
      names.push_back(entry.path().filename());
    }
    std::sort(names.begin(), names.end());
    return names;
  }
  // What the versions of a file hold, the oldest first.
  Strings BytesOf(const std::string& path) {
    Strings bytes;
    for (const auto& name : ListOf(At(path))) bytes.push_back(ReadWhole(At(path) / name));
    return bytes;
  }
  int OpenError(const std::filesystem::path& path, int flags) {
    const int fd = ::open(path.c_str(), flags, 0600);
    if (fd < 0) return errno;
    ::close(fd);
    return 0;
  }

  std::unique_ptr<Mounted> mounted_;
};

TEST_F(MountVersions, OfFilesThatAreThereAndThatAreGone) {
  Write("note.txt", "one");
  Write("note.txt", "two");
  ASSERT_TRUE(std::filesystem::create_directory(*mounted_ / "d"));
  Write("d/lost", "three");
  std::filesystem::remove_all(*mounted_ / "d");
  EXPECT_EQ(ListOf(mounted_->root()), Strings{"note.txt"}) << ".btfc is not listed";
  EXPECT_EQ(ListOf(*mounted_ / ".btfc"), Strings{"versions"});
  EXPECT_EQ(ListOf(At("")), (Strings{"d", "note.txt"}));
  EXPECT_EQ(BytesOf("/note.txt"), (Strings{"one", "two"}));
  for (const auto& name : ListOf(At("/note.txt"))) EXPECT_TRUE(name.ends_with(".txt")) << name;
  EXPECT_EQ(ListOf(At("/d")), Strings{"lost"});
  EXPECT_EQ(BytesOf("/d/lost"), Strings{"three"});
  EXPECT_EQ(OpenError(At("/never"), O_RDONLY), ENOENT);
  EXPECT_EQ(OpenError(At("/note.txt/never"), O_RDONLY), ENOENT);
}

TEST_F(MountVersions, ListsAnewWhatHasBecomeHistory) {
  Write("f", "1");
  EXPECT_EQ(BytesOf("/f"), Strings{"1"});
  Write("f", "2");
  EXPECT_EQ(BytesOf("/f"), (Strings{"1", "2"}));
  ASSERT_EQ(::unlink((*mounted_ / "f").c_str()), 0);
  EXPECT_EQ(BytesOf("/f"), (Strings{"1", "2"}));
  ASSERT_TRUE(mounted_->catalogue().PruneVersions({.age_ns = -1'000'000'000}));
  EXPECT_EQ(ListOf(At("")), Strings{});
}

TEST_F(MountVersions, OfAFileThatHasNoneYetAreNone) {
  const int fd = ::open((*mounted_ / "new").c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0644);
  ASSERT_GE(fd, 0);
  EXPECT_EQ(ListOf(At("/new")), Strings{});
  ::close(fd);
}

TEST_F(MountVersions, CannotBeChanged) {
  Write("f", "1");
  const auto version = At("/f") / ListOf(At("/f")).at(0);
  struct stat st {};
  ASSERT_EQ(::stat(version.c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 0222, 0U);
  EXPECT_EQ(st.st_size, 1);
  EXPECT_EQ(OpenError(version, O_RDWR), EROFS);
  EXPECT_EQ(OpenError(version, O_WRONLY | O_TRUNC), EROFS);
  EXPECT_EQ(OpenError(At("/new"), O_CREAT | O_WRONLY), EROFS);
  EXPECT_EQ(::unlink(version.c_str()), -1);
  EXPECT_EQ(errno, EROFS);
  EXPECT_EQ(::mkdir((*mounted_ / ".btfc").c_str(), 0700), -1);
  EXPECT_EQ(errno, EEXIST);
  EXPECT_EQ(::rename((*mounted_ / "f").c_str(), At("/g").c_str()), -1);
  EXPECT_EQ(errno, EROFS);
  ASSERT_EQ(::mkdir((*mounted_ / "folder").c_str(), 0700), 0);
  EXPECT_EQ(::rename((*mounted_ / "folder").c_str(), (*mounted_ / ".btfc").c_str()), -1);
  EXPECT_TRUE(std::filesystem::exists(*mounted_ / "folder"));
  EXPECT_EQ(::chmod(version.c_str(), 0777), -1);
  EXPECT_EQ(errno, EROFS);
}

TEST_F(MountVersions, LargeOnesCanBeMappedAndCopied) {
  const std::string large(3'000'000, 'x');
  Write("big", large);
  ASSERT_EQ(::unlink((*mounted_ / "big").c_str()), 0);
  const auto version = At("/big") / ListOf(At("/big")).at(0);
  EXPECT_EQ(ReadWhole(version), large);
  std::filesystem::copy_file(version, *mounted_ / "again");
  EXPECT_EQ(ReadWhole(*mounted_ / "again"), large);
  const int fd = ::open(version.c_str(), O_RDONLY);
  ASSERT_GE(fd, 0);
  SharedMapping map(fd, large.size(), PROT_READ);
  ASSERT_EQ(map.error(), 0) << std::strerror(map.error());
  EXPECT_EQ(map.Read(large.size() - 1, 1), "x");
  ::close(fd);
}

TEST_F(MountVersions, ShowNobodyMoreThanTheFileDid) {
  Write("secret", "x");
  ASSERT_EQ(::chmod((*mounted_ / "secret").c_str(), 0600), 0);
  struct stat st {};
  ASSERT_EQ(::stat(At("/secret").c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 0777U, 0500U);
  const auto version = At("/secret") / ListOf(At("/secret")).at(0);
  ASSERT_EQ(::stat(version.c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 0777U, 0400U);
  const int status =
      InProcess([&] { return OpenError(version, O_RDONLY) == EACCES ? 0 : 1; }, 65534);
  EXPECT_EQ(status, 0);
}

TEST_F(MountVersions, WhatIsNotHereWaitsAsReadsDo) {
  Peer peer("peer");
  index::NewNode file;
  file.mode = 0644;
  const auto made = peer.catalogue().Make(index::kRootIno, "f", file);
  ASSERT_TRUE(made);
  ASSERT_TRUE(peer.catalogue().BeginWrite(made.value().ino, false));
  index::NewVersion version;
  version.id.size = 1 << 20U;
  version.id.root.fill(9);
  ASSERT_TRUE(peer.catalogue().Commit(made.value().ino, version, false));
  peer.Send(mounted_->catalogue());
  ASSERT_TRUE(peer.catalogue().Unlink(index::kRootIno, "f"));
  peer.Send(mounted_->catalogue());
  const auto path = At("/f") / ListOf(At("/f")).at(0);
  const pid_t reader = ::fork();
  if (reader == 0) {
    const int fd = ::open(path.c_str(), O_RDONLY);
    char byte = 0;
    ::_exit(::read(fd, &byte, 1) < 0 ? 1 : 0);
  }
  EXPECT_TRUE(Eventually([&] { return mounted_->source().waiting() > 0; }));
  ::kill(reader, SIGKILL);
  int status = 0;
  EXPECT_EQ(::waitpid(reader, &status, 0), reader);
  EXPECT_TRUE(Eventually([&] { return mounted_->source().waiting() == 0; }));
}

}  // namespace
}  // namespace btfc::fs::test
