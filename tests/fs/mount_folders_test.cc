// Large folders, and folders that change while they are read. BTFC_LONG: ten times as large.
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <map>
#include <set>
#include <string>

#include "mounted.h"

namespace btfc::fs::test {
namespace {

const int kMany = std::getenv("BTFC_LONG") != nullptr ? 200'000 : 20'000;

std::string Name(int i) { return "entry-" + std::to_string(i); }

class Folder {
 public:
  explicit Folder(const std::string& path) : folder_(::opendir(path.c_str())) {}
  ~Folder() {
    if (folder_ != nullptr) ::closedir(folder_);
  }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  DIR* get() const { return folder_; }

 private:
  DIR* folder_;
};

// How often each name was listed.
std::map<std::string, int> List(DIR* folder) {
  std::map<std::string, int> names;
  while (const dirent* entry = ::readdir(folder)) ++names[entry->d_name];
  return names;
}

class MountFolders : public testing::Test {
 protected:
  void SetUp() override {
    BTFC_NEED_MOUNT();
    mounted_ = std::make_unique<Mounted>("folders");
    root_ = *mounted_ / "many";
    std::filesystem::create_directory(root_);
    const auto folder = mounted_->catalogue().Lookup(index::kRootIno, "many");
    ASSERT_TRUE(folder);
    // Links are the cheapest entries that also show in the inode's count.
    index::Catalogue::Batch batch(mounted_->catalogue());
    index::NewNode node;
    node.kind = index::Kind::kFifo;
    node.mode = 0644;
    const auto first = mounted_->catalogue().Make(folder.value().ino, Name(0), node);
    ASSERT_TRUE(first);
    for (int i = 1; i < kMany; ++i) {
      ASSERT_TRUE(mounted_->catalogue().Make(folder.value().ino, Name(i), node));
    }
    ASSERT_TRUE(batch.Finish());
  }
  std::unique_ptr<Mounted> mounted_;
  std::filesystem::path root_;
};

TEST_F(MountFolders, EveryEntryIsListedOnce) {
  for (int round = 0; round < 3; ++round) {  // the second and third from the kernel's cache
    Folder folder(root_);
    ASSERT_NE(folder.get(), nullptr);
    const auto names = List(folder.get());
    EXPECT_EQ(std::ssize(names), kMany + 2);
    for (const auto& [name, count] : names) ASSERT_EQ(count, 1) << name;
    EXPECT_TRUE(names.contains("."));
    EXPECT_TRUE(names.contains(".."));
  }
}

TEST_F(MountFolders, EntriesSayWhatStatSays) {
  Folder folder(root_);
  int looked = 0;
  while (const dirent* entry = ::readdir(folder.get())) {
    if (++looked % 500 != 0 && looked > 2) continue;
    struct stat st {};
    ASSERT_EQ(::fstatat(::dirfd(folder.get()), entry->d_name, &st, AT_SYMLINK_NOFOLLOW), 0);
    EXPECT_EQ(st.st_ino, entry->d_ino) << entry->d_name;
    EXPECT_EQ(DTTOIF(entry->d_type), st.st_mode & S_IFMT) << entry->d_name;
  }
  EXPECT_EQ(looked, kMany + 2);
}

TEST_F(MountFolders, WhatDoesNotChangeIsListedOnceWhileOthersComeAndGo) {
  Folder folder(root_);
  ASSERT_NE(folder.get(), nullptr);
  std::map<std::string, int> names;
  int read = 0;
  while (const dirent* entry = ::readdir(folder.get())) {
    ++names[entry->d_name];
    // Every third entry goes, some of them before they were listed, and new ones come.
    if (const int i = read++; i < kMany / 3) {
      ASSERT_EQ(::unlink((root_ / Name(i * 3)).c_str()), 0);
      if (i % 10 == 0) {
        ASSERT_EQ(::mkfifo((root_ / ("new-" + std::to_string(i))).c_str(), 0600), 0);
      }
    }
  }
  for (int i = 0; i < kMany; ++i) {
    const auto found = names.find(Name(i));
    const int count = found == names.end() ? 0 : found->second;
    if (i % 3 != 0) {
      ASSERT_EQ(count, 1) << Name(i);
    } else {
      ASSERT_LE(count, 1) << Name(i);
    }
  }
}

TEST_F(MountFolders, ReadingGoesOnWhereItWasTold) {
  Folder folder(root_);
  std::map<std::string, long> positions;
  std::string name;
  long position = ::telldir(folder.get());
  std::vector<std::pair<long, std::string>> marks;
  for (int i = 0; const dirent* entry = ::readdir(folder.get()); ++i) {
    if (i % (kMany / 12) == 0) marks.emplace_back(position, entry->d_name);
    position = ::telldir(folder.get());
  }
  ASSERT_GT(marks.size(), 5U);
  for (auto mark = marks.rbegin(); mark != marks.rend(); ++mark) {
    ::seekdir(folder.get(), mark->first);
    const dirent* entry = ::readdir(folder.get());
    ASSERT_NE(entry, nullptr);
    EXPECT_EQ(entry->d_name, mark->second);
  }
  ::rewinddir(folder.get());
  EXPECT_EQ(std::ssize(List(folder.get())), kMany + 2);
}

TEST_F(MountFolders, ALocalChangeShowsAtOnceAndARemoteOneSoon) {
  const auto listed = [&](const std::string& name) {
    Folder folder(root_);
    return List(folder.get()).contains(name);
  };
  EXPECT_FALSE(listed("here"));
  ASSERT_EQ(::mkfifo((root_ / "here").c_str(), 0600), 0);
  EXPECT_TRUE(listed("here"));
  EXPECT_FALSE(listed("there"));
  Peer peer("peer");
  peer.Fetch(mounted_->catalogue());
  const auto folder = peer.catalogue().Lookup(index::kRootIno, "many");
  ASSERT_TRUE(folder);
  index::NewNode node;
  node.kind = index::Kind::kFolder;
  node.mode = 0755;
  ASSERT_TRUE(peer.catalogue().Make(folder.value().ino, "there", node));
  peer.Send(mounted_->catalogue());
  EXPECT_TRUE(Eventually([&] { return listed("there"); }));
}

TEST_F(MountFolders, AFolderOfManyIsRemoved) {
  std::filesystem::remove_all(root_);
  EXPECT_FALSE(std::filesystem::exists(root_));
}

}  // namespace
}  // namespace btfc::fs::test
