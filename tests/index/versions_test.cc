// What files were: lists, bringing back, and what is let go of.
#include <algorithm>
#include <set>

#include "catalogue_fixture.h"

namespace btfc::index {
namespace {

constexpr std::int64_t kDay = std::int64_t{24} * 3600 * 1'000'000'000;  // ns

class VersionsTest : public CatalogueTest {
 protected:
  std::vector<std::string> BytesAt(Host& host, const std::string& path) {
    std::vector<std::string> all;
    const auto versions = host->VersionsAt(path);
    if (!versions) return {versions.error().message()};
    for (const auto& version : versions.value()) {
      const auto bytes = host->VersionBytes(version.ino, version.commit);
      all.push_back((version.current ? "*" : "") +
                    (bytes ? bytes.value() : bytes.error().message()));
    }
    return all;
  }
  std::string NamesIn(Host& host, const std::string& path) {
    const auto names = host->NamesAt(path);
    if (!names) return names.error().message();
    std::string all;
    for (const auto& name : names.value()) {
      all += (name.exists ? "+" : "-") + name.name + (name.folder ? "/" : "") + " ";
    }
    return all;
  }
  void RemoveAll(Host& host, const std::string& path) {
    const auto entries = host->List(host.Find(path), 0, 1000).value();
    for (const Entry& entry : entries) {
      const std::string at = path + "/" + entry.name;
      if (entry.node.kind == Kind::kFolder) {
        RemoveAll(host, at);
      } else {
        host.Unlink(at);
      }
    }
    EXPECT_TRUE(host->RemoveFolder(host.Folder(path), Host::Name(path)));
  }
  // An editor's: a new file that is renamed over the old one.
  void Save(Host& host, const std::string& path, const std::string& bytes) {
    host.Create(path + "~", bytes);
    host.Rename(path + "~", path);
  }

  using Strings = std::vector<std::string>;
  Host a_{'A', &wall_}, b_{'B', &wall_};
};

TEST_F(VersionsTest, OfAPathWhateverFilesItLedTo) {
  a_.Create("/f", "1");
  Tick();
  a_.Write("/f", "2");
  Tick();
  Save(a_, "/f", "3");
  Tick();
  a_.Unlink("/f");
  EXPECT_EQ((Strings{"3", "2", "1"}), BytesAt(a_, "/f"));
  Tick();
  a_.Create("/f", "4");
  EXPECT_EQ((Strings{"*4", "3", "2", "1"}), BytesAt(a_, "/f"));
  EXPECT_EQ("+f ", NamesIn(a_, "/"));
  EXPECT_EQ(Strings{"No such file or directory"}, BytesAt(a_, "/g"));
  EXPECT_EQ("Not a directory", NamesIn(a_, "/f"));
  EXPECT_EQ("No such file or directory", NamesIn(a_, "/f/g"));
}

TEST_F(VersionsTest, OfOtherHostsAndTheirDeletions) {
  a_.Mkdir("/d");
  a_.Create("/d/f", "1");
  Exchange({&a_, &b_});
  Tick();
  b_.Write("/d/f", "2");
  b_.Unlink("/d/f");
  ASSERT_TRUE(b_->RemoveFolder(kRootIno, "d"));
  Exchange({&a_, &b_});
  for (Host* host : {&a_, &b_}) EXPECT_EQ((Strings{"2", "1"}), BytesAt(*host, "/d/f"));
  EXPECT_EQ("-d/ ", NamesIn(a_, "/"));
  EXPECT_EQ("-f ", NamesIn(a_, "/d"));
  EXPECT_EQ("B", a_->VersionsAt("/d/f").value().front().host);
  EXPECT_TRUE(a_->VersionsAt("/d/f").value().front().removed);
}

TEST_F(VersionsTest, RestoreIsAnEdit) {
  a_.Create("/f", "1");
  Tick();
  a_.Write("/f", "2");
  Exchange({&a_, &b_});
  const auto old = a_->VersionsAt("/f").value().back();
  a_.TakeChanges();
  ASSERT_TRUE(a_->Restore("/f", old.ino, old.commit));
  EXPECT_EQ("1", a_.Bytes("/f"));
  const auto changes = a_.TakeChanges();
  ASSERT_FALSE(changes.empty()) << "the mount has to hear of it";
  EXPECT_EQ(Change::What::kContent, changes.front().what);
  // Apart, B edits: both stay.
  b_.Write("/f", "3");
  std::set<std::string> texts;
  for (const auto& [path, bytes] : Exchange({&a_, &b_})) texts.insert(bytes);
  EXPECT_EQ((std::set<std::string>{"1", "3"}), texts);
}

TEST_F(VersionsTest, RestoreRefusesWhatIsBeingWrittenAndFolders) {
  a_.Create("/f", "1");
  a_.Write("/f", "2");
  a_.Mkdir("/d");
  const auto old = a_->VersionsAt("/f").value().back();
  ASSERT_TRUE(a_->BeginWrite(a_.Find("/f"), false));
  EXPECT_EQ(Errno(EBUSY), a_->Restore("/f", old.ino, old.commit).error());
  EXPECT_EQ(Errno(EISDIR), a_->Restore("/d", old.ino, old.commit).error());
  EXPECT_EQ(Errno(ENOENT), a_->Restore("/f", old.ino, {old.commit.device, 99}).error());
  EXPECT_EQ(Errno(ENOENT), a_->Restore("/g", old.ino, old.commit).error());
}

TEST_F(VersionsTest, ADeletedFileComesBackWithItsFolders) {
  a_.Mkdir("/d");
  a_.Mkdir("/d/e");
  ASSERT_TRUE(a_->SetAttributes(a_.Find("/d/e"), ModeChange(0700)));
  a_.Create("/d/e/f", "1");
  ASSERT_TRUE(a_->SetXattr(a_.Find("/d/e/f"), "user.x", "y", 0));
  ASSERT_TRUE(a_->SetAttributes(a_.Find("/d/e/f"), ModeChange(0640)));
  RemoveAll(a_, "/d");
  Exchange({&a_, &b_});
  EXPECT_EQ(1u + 2u, b_->Undelete("/d/e/f", std::nullopt).value());
  EXPECT_EQ("1", b_.Bytes("/d/e/f"));
  EXPECT_EQ(0640u, b_.NodeAt("/d/e/f").mode);
  EXPECT_EQ(0700u, b_.NodeAt("/d/e").mode);
  EXPECT_EQ("y", b_->GetXattr(b_.Find("/d/e/f"), "user.x").value());
  EXPECT_EQ(Errno(EEXIST), b_->Undelete("/d/e/f", std::nullopt).error());
  EXPECT_EQ(3u, Exchange({&a_, &b_}).size());
  EXPECT_EQ((Strings{"*1", "1"}), BytesAt(a_, "/d/e/f"));
}

TEST_F(VersionsTest, AFolderComesBackAsItWasWhenItWasDeleted) {
  a_.Mkdir("/d");
  a_.Create("/d/early", "x");
  a_.Unlink("/d/early");
  Tick(kDay);
  a_.Mkdir("/d/sub");
  a_.Create("/d/sub/f", "1");
  a_.Create("/d/g", "2");
  NewNode link;
  link.kind = Kind::kSymlink;
  link.target = "g";
  a_.Make("/d/l", link);
  const auto before = a_.Show();
  RemoveAll(a_, "/d");
  EXPECT_TRUE(a_.Show().empty());
  Tick();
  a_.TakeChanges();
  EXPECT_EQ(5u, a_->Undelete("/d", std::nullopt).value());
  EXPECT_EQ(before, a_.Show());
  ASSERT_FALSE(a_.TakeChanges().empty());
  EXPECT_EQ(before, Exchange({&a_, &b_}));
}

TEST_F(VersionsTest, AFolderAsItWasAtATime) {
  a_.Mkdir("/d");
  a_.Create("/d/f", "1");
  Tick();
  const std::int64_t then = wall_;
  Tick();
  a_.Unlink("/d/f");
  a_.Create("/d/g", "2");
  Tick(kDay);
  a_.Unlink("/d/g");
  ASSERT_TRUE(a_->RemoveFolder(kRootIno, "d"));
  EXPECT_EQ(2u, a_->Undelete("/d", then).value());
  EXPECT_EQ("1", a_.Bytes("/d/f"));
  EXPECT_EQ(0u, a_.Find("/d/g"));
}

TEST_F(VersionsTest, TwoHostsUndeleteApartAndHaveOne) {
  a_.Mkdir("/d");
  a_.Create("/d/f", "1");
  Exchange({&a_, &b_});
  RemoveAll(a_, "/d");
  Exchange({&a_, &b_});
  ASSERT_TRUE(a_->Undelete("/d", std::nullopt));
  ASSERT_TRUE(b_->Undelete("/d", std::nullopt));
  EXPECT_EQ((std::map<std::string, std::string>{{"/d", "/"}, {"/d/f", "1"}}), Exchange({&a_, &b_}));
}

TEST_F(VersionsTest, ALargeOldVersionIsWantedAgain) {
  const NewVersion big = VersionOf(std::string(100000, 'a'));
  const Ino file = a_.Make("/f", FileNode());
  ASSERT_TRUE(a_->Commit(file, big, false));
  Exchange({&a_, &b_});
  b_.Unlink("/f");
  EXPECT_TRUE(b_->Missing(std::nullopt, 9).value().empty());
  b_.TakeChanges();
  ASSERT_TRUE(b_->Undelete("/f", std::nullopt));
  EXPECT_EQ(std::vector<ContentId>{big.id}, b_->Missing(std::nullopt, 9).value());
  EXPECT_TRUE(std::ranges::any_of(b_.TakeChanges(), [&](const Change& change) {
    return change.what == Change::What::kWanted && change.content == big.id;
  }));
}

TEST_F(VersionsTest, ObjectsOfWhatWasDeletedAreKeptUntilTheirAge) {
  const NewVersion big = VersionOf(std::string(100000, 'a'));
  const Ino file = a_.Make("/f", FileNode());
  ASSERT_TRUE(a_->Commit(file, big, false));
  a_.Unlink("/f");
  EXPECT_TRUE(a_->Unused(9).value().empty());
  EXPECT_EQ(1u, a_->Users(big.id, std::nullopt).value());
  EXPECT_EQ(0u, a_->Holders(big.id, 0).value());
  VersionLimits limits{.age_ns = kDay};
  EXPECT_EQ(0u, a_->PruneVersions(limits).value());
  Tick(2 * kDay);
  EXPECT_EQ(1u, a_->PruneVersions(limits).value());
  EXPECT_EQ(std::vector<ContentId>{big.id}, a_->Unused(9).value());
  EXPECT_EQ(Strings{"No such file or directory"}, BytesAt(a_, "/f"));
  EXPECT_EQ(Errno(ENOENT), a_->Undelete("/f", std::nullopt).error());
  EXPECT_TRUE(a_->CheckIntegrity());
}

TEST_F(VersionsTest, TheOldestGoesFirstWhenThereIsTooMuch) {
  const Ino file = a_.Make("/f", FileNode());
  std::vector<ContentId> ids;
  for (const char letter : {'a', 'b', 'c'}) {
    const NewVersion version = VersionOf(std::string(100000, letter));
    ids.push_back(version.id);
    ASSERT_TRUE(a_->BeginWrite(file, false));
    ASSERT_TRUE(a_->Commit(file, version, false));
    Tick();
  }
  const Ino other = a_.Make("/g", FileNode());
  const NewVersion last = VersionOf(std::string(100000, 'd'));
  ASSERT_TRUE(a_->Commit(other, last, false));
  a_.Unlink("/g");
  EXPECT_EQ(1u, a_->PruneVersions({.bytes = 250000}).value());
  EXPECT_EQ(std::vector<ContentId>{ids[0]}, a_->Unused(9).value());
  EXPECT_EQ(2u, a_->PruneVersions({.bytes = 50000}).value());
  EXPECT_EQ(3u, a_->Unused(9).value().size());
  EXPECT_EQ(1u, a_->VersionsAt("/f").value().size()) << "the current version always stays";
}

TEST_F(VersionsTest, ContentThatTwoVersionsHaveGoesWithTheSecond) {
  const auto save = [&](Ino file, char letter) {
    ASSERT_TRUE(a_->BeginWrite(file, false));
    ASSERT_TRUE(a_->Commit(file, VersionOf(std::string(100000, letter)), false));
    Tick();
  };
  const Ino first = a_.Make("/f", FileNode());
  const Ino second = a_.Make("/g", FileNode());
  for (const char letter : {'a', 'b', 'c'}) save(first, letter);
  for (const char letter : {'a', 'd'}) save(second, letter);
  // Kept: a for /f, b for /f, a for /g.
  ASSERT_EQ(200000u, a_->KeptBytes().value());
  EXPECT_EQ(2u, a_->PruneVersions({.bytes = 199999}).value()) << "a of /f frees nothing";
  EXPECT_EQ(100000u, a_->KeptBytes().value());
  EXPECT_EQ(1u, a_->VersionsAt("/f").value().size());
  EXPECT_EQ(2u, a_->VersionsAt("/g").value().size()) << "no more than has to go";
  EXPECT_TRUE(a_->CheckIntegrity());
}

// A thousand of them took a thousand looks through the whole index once.
TEST_F(VersionsTest, ManyContentsGoTogether) {
  constexpr int kFiles = 600;
  for (int i = 0; i < kFiles; ++i) {
    const std::string path = "/f" + std::to_string(i);
    const Ino file = a_.Make(path, FileNode());
    ASSERT_TRUE(a_->Commit(file, VersionOf(path + std::string(20000, 'x')), false));
    a_.Unlink(path);
    Tick();
  }
  EXPECT_EQ(0u, a_->PruneVersions({.bytes = 0}, [] { return true; }).value()) << "stopped";
  int steps = 0;
  EXPECT_EQ(kFiles - 10u, a_->PruneVersions({.bytes = 10 * 20005}, [&] {
                              ++steps;
                              return false;
                            }).value());
  EXPECT_LE(steps, 4);
  EXPECT_EQ(1u, a_->VersionsAt("/f599").value().size()) << "the oldest go first";
  EXPECT_EQ(Errno(ENOENT), a_->VersionsAt("/f0").error());
  EXPECT_TRUE(a_->CheckIntegrity());
}

TEST_F(VersionsTest, ManySavesAreThinnedOutByAge) {
  a_.Create("/f", "start");
  for (int i = 0; i < 500; ++i) {
    Tick(600'000'000'000);
    a_.Write("/f", std::to_string(i));
  }
  const auto versions = a_->VersionsAt("/f").value();
  EXPECT_EQ(33u, versions.size());
  const std::int64_t hour = std::int64_t{3600} * 1'000'000'000;
  const auto young = std::ranges::count_if(
      versions, [&](const auto& version) { return version.time_ns > wall_ - hour; });
  const auto old = std::ranges::count_if(
      versions, [&](const auto& version) { return version.time_ns < wall_ - 24 * hour; });
  EXPECT_GE(young, 4);
  EXPECT_GE(old, 4);
}

TEST_F(VersionsTest, NothingIsKeptWithoutHistory) {
  a_.Create("/f", "1");
  a_.Write("/f", "2");
  a_.Unlink("/f");
  Tick();
  EXPECT_GT(a_->PruneVersions({.age_ns = 0}).value(), 0u);
  EXPECT_EQ(Strings{"No such file or directory"}, BytesAt(a_, "/f"));
}

TEST_F(VersionsTest, FoldersThatBecameOneHaveBothHistories) {
  a_.Mkdir("/d");
  a_.Create("/d/a", "1");
  b_.Mkdir("/d");
  b_.Create("/d/b", "2");
  b_.Unlink("/d/b");
  a_.Unlink("/d/a");
  Exchange({&a_, &b_});
  EXPECT_EQ("-a -b ", NamesIn(a_, "/d"));
  EXPECT_EQ(Strings{"2"}, BytesAt(a_, "/d/b"));
}

}  // namespace
}  // namespace btfc::index
