// Local operations, each with the errors that a filesystem owes its users.
#include <malloc.h>
#include <sys/xattr.h>

#include "catalogue_fixture.h"

namespace btfc::index {
namespace {

class LocalTest : public CatalogueTest {
 protected:
  Host a_{'A', &wall_};
};

#define EXPECT_ERRNO(number, call) EXPECT_EQ(Errno(number), (call).error())

TEST_F(LocalTest, AnEmptyCatalogueHasARootFolder) {
  const auto root = a_->Get(kRootIno).value();
  EXPECT_EQ(Kind::kFolder, root.kind);
  EXPECT_EQ(2u, root.nlink);
  EXPECT_TRUE(a_->List(kRootIno, 0, 10).value().empty());
  EXPECT_EQ(kRootIno, a_->Parent(kRootIno).value());
  EXPECT_EQ("/", a_->PathOf(kRootIno).value());
}

TEST_F(LocalTest, MakeAnswersWithTheNodeAndLookupFindsIt) {
  Tick();
  const auto made = a_->Make(kRootIno, "f", FileNode(0640)).value();
  EXPECT_EQ(Kind::kFile, made.kind);
  EXPECT_EQ(0640u, made.mode);
  EXPECT_EQ("user", made.owner.user);
  EXPECT_EQ(1u, made.nlink);
  EXPECT_EQ(Content::State::kNone, made.content.state);
  EXPECT_EQ(wall_, made.mtime_ns);
  EXPECT_EQ(wall_, made.ctime_ns);
  EXPECT_EQ(made.ino, a_->Lookup(kRootIno, "f").value().ino);
  EXPECT_EQ(wall_, a_->Get(kRootIno).value().mtime_ns);
  EXPECT_EQ("/f", a_->PathOf(made.ino).value());
}

TEST_F(LocalTest, MakeRefuses) {
  const Ino file = a_.Create("/f", "x");
  EXPECT_ERRNO(EEXIST, a_->Make(kRootIno, "f", FileNode()));
  EXPECT_ERRNO(EINVAL, a_->Make(kRootIno, "a/b", FileNode()));
  EXPECT_ERRNO(EINVAL, a_->Make(kRootIno, "..", FileNode()));
  EXPECT_ERRNO(EINVAL, a_->Make(kRootIno, "", FileNode()));
  EXPECT_ERRNO(ENAMETOOLONG, a_->Make(kRootIno, std::string(256, 'x'), FileNode()));
  EXPECT_ERRNO(ENOTDIR, a_->Make(file, "g", FileNode()));
  EXPECT_ERRNO(ENOENT, a_->Make(12345, "g", FileNode()));
  EXPECT_TRUE(a_->Make(kRootIno, std::string(255, 'x'), FileNode()));
}

TEST_F(LocalTest, EveryKindOfNode) {
  NewNode link = FileNode(0777);
  link.kind = Kind::kSymlink;
  link.target = "../t";
  const Ino symlink = a_.Make("/l", link);
  EXPECT_EQ("../t", a_->Target(symlink).value());
  EXPECT_EQ(4u, a_->Get(symlink).value().size);
  EXPECT_ERRNO(EINVAL, a_->Target(kRootIno));
  NewNode device = FileNode(0600);
  device.kind = Kind::kCharDevice;
  device.rdev = 0x103;
  EXPECT_EQ(0x103u, a_->Get(a_.Make("/d", device)).value().rdev);
  link.target.assign(4096, 'x');
  EXPECT_ERRNO(ENAMETOOLONG, a_->Make(kRootIno, "long", link));
}

TEST_F(LocalTest, FoldersCountTheirSubfolders) {
  const Ino top = a_.Mkdir("/a");
  a_.Mkdir("/a/b");
  a_.Mkdir("/a/c");
  a_.Create("/a/f", "x");
  EXPECT_EQ(4u, a_->Get(top).value().nlink);
  EXPECT_EQ(3u, a_->Get(kRootIno).value().nlink);
  a_.Rename("/a/b", "/b");
  EXPECT_EQ(3u, a_->Get(top).value().nlink);
  EXPECT_EQ(4u, a_->Get(kRootIno).value().nlink);
  EXPECT_EQ(kRootIno, a_->Parent(a_.Find("/b")).value());
}

TEST_F(LocalTest, ListGoesOnAfterACookieWhileTheFolderChanges) {
  for (int i = 0; i < 10; ++i) a_.Create("/f" + std::to_string(i), "x");
  const auto first = a_->List(kRootIno, 0, 4).value();
  ASSERT_EQ(4u, first.size());
  a_.Unlink("/" + first[3].name);
  a_.Unlink("/f7");
  const auto rest = a_->List(kRootIno, first[3].cookie, 100).value();
  EXPECT_EQ(5u, rest.size());
  EXPECT_ERRNO(ENOTDIR, a_->List(a_.Find("/f0"), 0, 1));
}

TEST_F(LocalTest, UnlinkAndRemoveFolder) {
  const Ino folder = a_.Mkdir("/d");
  const Ino file = a_.Create("/d/f", "x");
  EXPECT_ERRNO(EISDIR, a_->Unlink(kRootIno, "d"));
  EXPECT_ERRNO(ENOTDIR, a_->RemoveFolder(folder, "f"));
  EXPECT_ERRNO(ENOTEMPTY, a_->RemoveFolder(kRootIno, "d"));
  EXPECT_ERRNO(ENOENT, a_->Unlink(folder, "g"));
  const auto removed = a_->Unlink(folder, "f").value();
  EXPECT_EQ(file, removed.ino);
  EXPECT_EQ(0u, removed.nlink);
  EXPECT_EQ(0u, a_->Get(file).value().nlink);  // until nobody holds it
  EXPECT_TRUE(a_->RemoveFolder(kRootIno, "d"));
  EXPECT_ERRNO(ENOENT, a_->Lookup(kRootIno, "d"));
  EXPECT_ERRNO(ENOENT, a_->Make(folder, "late", FileNode()));
  EXPECT_TRUE(a_->CheckIntegrity());
}

TEST_F(LocalTest, HardLinks) {
  const Ino file = a_.Create("/f", "x");
  a_.Link("/f", "/g");
  EXPECT_EQ(2u, a_->Get(file).value().nlink);
  EXPECT_ERRNO(EEXIST, a_->Link(file, kRootIno, "g"));
  EXPECT_ERRNO(EPERM, a_->Link(a_.Mkdir("/d"), kRootIno, "e"));
  EXPECT_EQ(1u, a_->Unlink(kRootIno, "f").value().nlink);
  EXPECT_EQ("x", a_.Bytes("/g"));
  EXPECT_EQ("/g", a_->PathOf(file).value());
}

TEST_F(LocalTest, RenameOverAFileRemovesIt) {
  const Ino f = a_.Create("/f", "f");
  const Ino g = a_.Create("/g", "g");
  const auto over = a_->Rename(kRootIno, "f", kRootIno, "g", 0).value();
  ASSERT_TRUE(over);
  EXPECT_EQ(g, over->ino);
  EXPECT_EQ(0u, over->nlink);
  EXPECT_EQ(f, a_.Find("/g"));
  EXPECT_EQ(0u, a_.Find("/f"));
}

TEST_F(LocalTest, RenameRefuses) {
  a_.Mkdir("/d");
  a_.Mkdir("/d/e");
  a_.Mkdir("/full");
  a_.Create("/full/x", "x");
  a_.Create("/f", "f");
  EXPECT_ERRNO(EINVAL, a_->Rename(kRootIno, "d", a_.Find("/d/e"), "d", 0));
  EXPECT_ERRNO(EINVAL, a_->Rename(kRootIno, "d", a_.Find("/d"), "d", 0));
  EXPECT_ERRNO(EISDIR, a_->Rename(kRootIno, "f", kRootIno, "d", 0));
  EXPECT_ERRNO(ENOTDIR, a_->Rename(kRootIno, "d", kRootIno, "f", 0));
  EXPECT_ERRNO(ENOTEMPTY, a_->Rename(kRootIno, "d", kRootIno, "full", 0));
  EXPECT_ERRNO(EEXIST, a_->Rename(kRootIno, "f", kRootIno, "d", kNoReplace));
  EXPECT_ERRNO(ENOENT, a_->Rename(kRootIno, "f", kRootIno, "none", kExchange));
  EXPECT_ERRNO(ENOENT, a_->Rename(kRootIno, "none", kRootIno, "f", 0));
  EXPECT_ERRNO(EINVAL, a_->Rename(kRootIno, "f", kRootIno, "d", kExchange | kNoReplace));
  EXPECT_TRUE(a_->Rename(kRootIno, "f", kRootIno, "f", 0));
  EXPECT_ERRNO(EINVAL, a_->Rename(kRootIno, "d", a_.Find("/d"), "e", kExchange));
}

TEST_F(LocalTest, RenameExchangesAndWhitesOut) {
  const Ino folder = a_.Mkdir("/d");
  a_.Create("/d/x", "x");
  const Ino file = a_.Create("/f", "f");
  a_.Rename("/d", "/f", kExchange);
  EXPECT_EQ(folder, a_.Find("/f"));
  EXPECT_EQ(file, a_.Find("/d"));
  EXPECT_EQ("x", a_.Bytes("/f/x"));
  a_.Rename("/d", "/moved", kWhiteout);
  EXPECT_EQ(Kind::kCharDevice, a_.NodeAt("/d").kind);
  EXPECT_EQ(0u, a_.NodeAt("/d").rdev);
  EXPECT_EQ(file, a_.Find("/moved"));
  EXPECT_TRUE(a_->CheckIntegrity());
}

TEST_F(LocalTest, RenameOverAnEmptyFolder) {
  const Ino d = a_.Mkdir("/d");
  a_.Mkdir("/e");
  a_.Create("/d/x", "x");
  a_.Rename("/d", "/e");
  EXPECT_EQ(d, a_.Find("/e"));
  EXPECT_EQ("x", a_.Bytes("/e/x"));
  EXPECT_EQ(0u, a_.Find("/d"));
}

TEST_F(LocalTest, TwoNamesOfOneFileAreNotRenamedOverEachOther) {
  a_.Create("/f", "x");
  a_.Link("/f", "/g");
  a_.Rename("/f", "/g");
  EXPECT_NE(0u, a_.Find("/f"));
  EXPECT_NE(0u, a_.Find("/g"));
}

TEST_F(LocalTest, AttributesStayAsTheyAreUnlessTheyAreSet) {
  const Ino file = a_.Create("/f", "x");
  Tick();
  AttributeChange change;
  change.mode = 0600;
  change.atime_ns = 77;
  auto node = a_->SetAttributes(file, change).value();
  EXPECT_EQ(0600u, node.mode);
  EXPECT_EQ("group", node.owner.group);
  EXPECT_EQ(77, node.atime_ns);
  EXPECT_EQ(5, node.mtime_ns);
  EXPECT_EQ(wall_, node.ctime_ns);
  change = {};
  change.owner = Owner{.uid = 5, .gid = 6, .user = "", .group = "", .mounter = true};
  change.acl_access = "acl";
  node = a_->SetAttributes(file, change).value();
  EXPECT_EQ(5u, node.owner.uid);
  EXPECT_TRUE(node.owner.mounter);
  EXPECT_FALSE(node.owner.mounter_group);
  EXPECT_EQ("acl", a_->AclAccess(file).value());
  EXPECT_EQ("", a_->AclDefault(file).value());
  change = {};
  change.mode = 010000;
  EXPECT_ERRNO(EINVAL, a_->SetAttributes(file, change));
  EXPECT_ERRNO(ENOENT, a_->SetAttributes(999, {}));
}

TEST_F(LocalTest, TheRootHasAttributesOfItsOwn) {
  AttributeChange change;
  change.mode = 01777;
  EXPECT_EQ(01777u, a_->SetAttributes(kRootIno, change).value().mode);
  EXPECT_TRUE(a_->SetXattr(kRootIno, "user.x", "1", 0));
  a_.Reopen();
  EXPECT_EQ(01777u, a_->Get(kRootIno).value().mode);
}

TEST_F(LocalTest, AnMtimeThatWasSetHoldsUntilTheNextVersion) {
  const Ino file = a_.Create("/f", "x");
  AttributeChange change;
  change.mtime_ns = 123;
  EXPECT_EQ(123, a_->SetAttributes(file, change).value().mtime_ns);
  ASSERT_TRUE(a_->BeginWrite(file, false));
  EXPECT_EQ(9, a_->Commit(file, VersionOf("y", 9), false).value().mtime_ns);
  EXPECT_EQ(123, a_->SetAttributes(file, change).value().mtime_ns);
}

TEST_F(LocalTest, AFoldersMtimeFollowsItsEntriesAndWhatIsSet) {
  const Ino folder = a_.Mkdir("/d");
  Tick();
  a_.Create("/d/f", "x");
  EXPECT_EQ(wall_, a_->Get(folder).value().mtime_ns);
  AttributeChange change;
  change.mtime_ns = 123;
  EXPECT_EQ(123, a_->SetAttributes(folder, change).value().mtime_ns);
  Tick();
  a_.Unlink("/d/f");
  EXPECT_EQ(wall_, a_->Get(folder).value().mtime_ns);
  Tick();
  a_.Create("/g", "g");
  Tick();
  a_.Rename("/g", "/d/g");
  EXPECT_EQ(wall_, a_->Get(folder).value().mtime_ns);
}

TEST_F(LocalTest, Xattrs) {
  const Ino file = a_.Create("/f", "x");
  EXPECT_ERRNO(ENODATA, a_->GetXattr(file, "user.a"));
  EXPECT_ERRNO(ENODATA, a_->SetXattr(file, "user.a", "1", XATTR_REPLACE));
  EXPECT_TRUE(a_->SetXattr(file, "user.a", "1", XATTR_CREATE));
  EXPECT_ERRNO(EEXIST, a_->SetXattr(file, "user.a", "2", XATTR_CREATE));
  EXPECT_TRUE(a_->SetXattr(file, "user.b", "", 0));
  EXPECT_EQ((std::vector<std::string>{"user.a", "user.b"}), a_->ListXattrs(file).value());
  EXPECT_EQ("", a_->GetXattr(file, "user.b").value());
  EXPECT_TRUE(a_->RemoveXattr(file, "user.a"));
  EXPECT_ERRNO(ENODATA, a_->RemoveXattr(file, "user.a"));
  EXPECT_ERRNO(ENODATA, a_->GetXattr(file, "user.a"));
  EXPECT_ERRNO(E2BIG, a_->SetXattr(file, "user.c", std::string(65537, 'x'), 0));
  EXPECT_ERRNO(ERANGE, a_->SetXattr(file, std::string(256, 'x'), "", 0));
}

TEST_F(LocalTest, ContentsComeFromTheLastCommit) {
  const Ino file = a_.Make("/f", FileNode());
  EXPECT_ERRNO(ENOENT, a_->InlineBytes(file));
  a_.Commit(file, "");
  EXPECT_EQ(Content::State::kInline, a_.NodeAt("/f").content.state);
  EXPECT_EQ("", a_->InlineBytes(file).value());
  a_.Write("/f", "new");
  EXPECT_EQ("new", a_->InlineBytes(file).value());
  EXPECT_EQ(3u, a_.NodeAt("/f").size);
  NewVersion wrong = VersionOf("abc");
  wrong.inline_bytes = "abd";
  EXPECT_ERRNO(EINVAL, a_->Commit(file, wrong, false));
}

TEST_F(LocalTest, FilesThatAreWrittenAreRemembered) {
  const Ino old = a_.Create("/old", "x");
  const Ino fresh = a_.Make("/new", FileNode());
  ASSERT_TRUE(a_->BeginWrite(old, true));
  ASSERT_TRUE(a_->BeginWrite(old, false));
  EXPECT_ERRNO(EISDIR, a_->BeginWrite(kRootIno, false));
  a_.Reopen();
  std::map<Ino, bool> dirty;
  const auto files = a_->DirtyFiles().value();
  for (const auto& file : files) dirty[file.ino] = file.orphan;
  EXPECT_EQ((std::map<Ino, bool>{{old, false}, {fresh, false}}), dirty);
  a_.Commit(old, "y");
  ASSERT_TRUE(a_->BeginWrite(old, true));
  ASSERT_TRUE(a_->AbandonWrite(old));
  ASSERT_TRUE(a_->BeginWrite(fresh, true));
  ASSERT_TRUE(a_->Commit(fresh, VersionOf("z"), true));
  ASSERT_EQ(1u, a_->DirtyFiles().value().size());
  EXPECT_EQ(fresh, a_->DirtyFiles().value()[0].ino);
  ASSERT_TRUE(a_->Commit(fresh, VersionOf("zz"), false));
  EXPECT_TRUE(a_->DirtyFiles().value().empty());
}

TEST_F(LocalTest, AFileRemovedWhileItIsWrittenIsNotCommitted) {
  const Ino old = a_.Create("/old", "x");
  const Ino fresh = a_.Make("/new", FileNode());
  ASSERT_TRUE(a_->BeginWrite(old, false));
  a_.Unlink("/old");
  a_.Unlink("/new");
  EXPECT_ERRNO(ESTALE, a_->Commit(old, VersionOf("y"), false));
  EXPECT_ERRNO(ESTALE, a_->Commit(fresh, VersionOf("y"), false));
  const auto files = a_->DirtyFiles().value();
  EXPECT_EQ(2u, files.size());
  for (const auto& file : files) EXPECT_TRUE(file.orphan);
  EXPECT_TRUE(a_->Forget(old));
  EXPECT_TRUE(a_->Forget(fresh));
  EXPECT_TRUE(a_->DirtyFiles().value().empty());
  // Nor once the kernel has forgotten it, which may come before the commit.
  EXPECT_ERRNO(ESTALE, a_->Commit(fresh, VersionOf("y"), false));
  EXPECT_ERRNO(ENOENT, a_->Get(fresh));
}

TEST_F(LocalTest, InodeNumbersAreNeverUsedAgain) {
  const Ino first = a_.Make("/f", FileNode());
  a_.Unlink("/f");
  ASSERT_TRUE(a_->Forget(first));
  a_.Reopen();
  EXPECT_GT(a_.Make("/f", FileNode()), first);
}

TEST_F(LocalTest, OtherVersionsAreThoseThatAreHereTheCurrentOneFirst) {
  const auto commit = [&](Ino file, char fill) {
    const NewVersion version = VersionOf(std::string(100000, fill));
    EXPECT_TRUE(a_->BeginWrite(file, false));
    EXPECT_TRUE(a_->Commit(file, version, false));
    Tick();
    return version.id;
  };
  const Ino one = a_.Make("/one", FileNode());
  const Ino two = a_.Make("/two", FileNode());
  const ContentId a = commit(one, 'a');
  const ContentId b = commit(one, 'b');
  const ContentId c = commit(one, 'c');
  const ContentId d = commit(one, 'd');
  EXPECT_EQ(b, commit(two, 'b'));
  const ContentId e = commit(two, 'e');
  commit(a_.Make("/other", FileNode()), 'f');
  using Ids = std::vector<ContentId>;
  EXPECT_EQ((Ids{c, b, a}), a_->OtherVersions(d, 9).value());
  EXPECT_EQ((Ids{c, b}), a_->OtherVersions(d, 2).value());
  EXPECT_EQ((Ids{d, b, a}), a_->OtherVersions(c, 9).value());
  EXPECT_EQ((Ids{e, d, c, a}), a_->OtherVersions(b, 9).value());
  ASSERT_TRUE(a_->SetPresent(d, false));
  EXPECT_EQ((Ids{e, c, a}), a_->OtherVersions(b, 9).value());
}

TEST_F(LocalTest, HistoryAndObjects) {
  const Ino file = a_.Make("/f", FileNode());
  const NewVersion big = VersionOf(std::string(100000, 'a'));
  const NewVersion bigger = VersionOf(std::string(200000, 'b'));
  ASSERT_TRUE(a_->Commit(file, big, false));
  EXPECT_EQ(Content::State::kObject, a_.NodeAt("/f").content.state);
  EXPECT_TRUE(a_.NodeAt("/f").content.present);
  Tick();
  ASSERT_TRUE(a_->BeginWrite(file, false));
  ASSERT_TRUE(a_->Commit(file, bigger, false));
  const auto history = a_->History(file).value();
  ASSERT_EQ(2u, history.size());
  EXPECT_TRUE(history[0].current);
  EXPECT_EQ(bigger.id, history[0].id);
  EXPECT_EQ("A", history[1].host);
  EXPECT_TRUE(history[1].present);
  EXPECT_EQ(std::vector<ContentId>{big.id}, a_->OtherVersions(bigger.id, 2).value());
  EXPECT_EQ(1u, a_->Users(big.id, std::nullopt).value());
  EXPECT_EQ(0u, a_->Users(big.id, file).value());
  EXPECT_TRUE(a_->Missing(std::nullopt, 10).value().empty());
  ASSERT_TRUE(a_->SetPresent(bigger.id, false));
  EXPECT_EQ(std::vector<ContentId>{bigger.id}, a_->Missing(std::nullopt, 10).value());
  EXPECT_TRUE(a_->Missing(bigger.id, 10).value().empty());
  EXPECT_EQ(1u, a_->Count().value().missing_objects);
  EXPECT_TRUE(a_->Unused(10).value().empty());
  a_.Unlink("/f");
  Tick();
  EXPECT_TRUE(a_->Unused(10).value().empty());
  EXPECT_EQ(2u, a_->PruneVersions({.age_ns = 0}).value());
  EXPECT_EQ(std::vector<ContentId>{big.id}, a_->Unused(10).value());
  EXPECT_TRUE(a_->Missing(std::nullopt, 10).value().empty());
  EXPECT_TRUE(a_->CheckIntegrity());
}

TEST_F(LocalTest, AskingAgainCostsNoMemory) {
  constexpr int kTimes = 2000;
  const auto ask = [&] {
    std::vector<std::string> between;  // whatever else takes and gives back memory meanwhile
    for (int i = 0; i < kTimes; ++i) {
      ASSERT_TRUE(a_->Missing(std::nullopt, 10));
      between.emplace_back(100 + static_cast<std::size_t>(i % 50), 'x');
      ASSERT_TRUE(a_->Present(std::nullopt, 10));
    }
  };
  ask();
  const std::size_t before = ::mallinfo2().uordblks;
  ask();
  const std::size_t after = ::mallinfo2().uordblks;
  EXPECT_LT(after, before + (64U << 10U));
}

TEST_F(LocalTest, ABatchIsWholeOrNothing) {
  {
    Catalogue::Batch batch(*a_);
    a_.Create("/gone", "x");
    EXPECT_NE(0u, a_.Find("/gone"));
  }
  EXPECT_EQ(0u, a_.Find("/gone"));
  Catalogue::Batch batch(*a_);
  for (int i = 0; i < 100; ++i) a_.Create("/f" + std::to_string(i), "x");
  EXPECT_ERRNO(EEXIST, a_->Make(kRootIno, "f1", FileNode()));
  EXPECT_TRUE(batch.Finish());
  EXPECT_EQ(100u, a_->Count().value().files);
  EXPECT_EQ(1, a_.TakePublished());
  EXPECT_TRUE(a_->CheckIntegrity());
}

TEST_F(LocalTest, EverythingIsThereAfterOpeningAgain) {
  a_.Mkdir("/d");
  a_.Create("/d/f", "x");
  const auto before = a_.Show();
  const DeviceId self = a_->self();
  a_.Reopen();
  EXPECT_EQ(before, a_.Show());
  EXPECT_EQ(self, a_->self());
  ASSERT_EQ(1u, a_->Devices().value().size());
  EXPECT_TRUE(a_->Devices().value()[0].self);
}

}  // namespace
}  // namespace btfc::index
