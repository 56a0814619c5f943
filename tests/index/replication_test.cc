// What other hosts see, and what becomes of what two of them did apart.
#include "catalogue_fixture.h"
#include "index/conflict_names.h"

namespace btfc::index {
namespace {

using Shown = std::map<std::string, std::string>;

class ReplicationTest : public CatalogueTest {
 protected:
  Host a_{'A', &wall_}, b_{'B', &wall_}, c_{'C', &wall_};

  static std::vector<std::string> Contents(const Shown& shown) {
    std::vector<std::string> contents;
    for (const auto& [path, bytes] : shown) contents.push_back(bytes);
    std::sort(contents.begin(), contents.end());
    return contents;
  }
  static std::string Conflict(Host& host) {
    const auto paths = host->Conflicts(10).value();
    EXPECT_EQ(1u, paths.size());
    return paths.empty() ? "" : paths.front();
  }
};

TEST_F(ReplicationTest, EverythingTravels) {
  a_.Mkdir("/d");
  const Ino file = a_.Create("/d/f", "x");
  a_.Link("/d/f", "/g");
  NewNode symlink = FileNode(0777);
  symlink.kind = Kind::kSymlink;
  symlink.target = "d/f";
  a_.Make("/l", symlink);
  ASSERT_TRUE(a_->SetXattr(file, "user.x", "1", 0));
  AttributeChange change;
  change.mode = 0604;
  change.acl_access = "acl";
  change.mtime_ns = 99;
  ASSERT_TRUE(a_->SetAttributes(file, change));
  ASSERT_TRUE(a_->SetAttributes(kRootIno, ModeChange(0701)));
  const Shown shown = Exchange({&a_, &b_});
  EXPECT_EQ((Shown{{"/d", "/"}, {"/d/f", "x"}, {"/g", "x"}, {"/l", "-> d/f"}}), shown);
  const Node node = b_.NodeAt("/g");
  EXPECT_EQ(0604u, node.mode);
  EXPECT_EQ(2u, node.nlink);
  EXPECT_EQ(99, node.mtime_ns);
  EXPECT_EQ("user", node.owner.user);
  EXPECT_EQ(a_.NodeAt("/g").ctime_ns, node.ctime_ns);
  EXPECT_EQ("acl", b_->AclAccess(node.ino).value());
  EXPECT_EQ("1", b_->GetXattr(node.ino, "user.x").value());
  EXPECT_EQ(0701u, b_->Get(kRootIno).value().mode);
  EXPECT_EQ(a_.NodeAt("/d").mtime_ns, b_.NodeAt("/d").mtime_ns);
  EXPECT_EQ("A", b_->History(node.ino).value().at(0).host);
  ASSERT_EQ(2u, b_->Devices().value().size());
}

TEST_F(ReplicationTest, PrivilegedXattrsOfOthersAreNotShownUnlessAsked) {
  const Ino file = a_.Create("/f", "x");
  for (const char* name : {"security.capability", "trusted.t", "user.u"}) {
    ASSERT_TRUE(a_->SetXattr(file, name, "1", 0));
  }
  EXPECT_EQ(3u, a_->ListXattrs(file).value().size());
  Exchange({&a_, &b_});
  const Ino there = b_.Find("/f");
  EXPECT_EQ(std::vector<std::string>{"user.u"}, b_->ListXattrs(there).value());
  EXPECT_EQ(ENODATA, ToErrno(b_->GetXattr(there, "security.capability").error()));
  b_.Close();
  auto options = b_.Options();
  options.foreign_privileged_xattrs = true;
  const auto numeric = Catalogue::Open(options);
  ASSERT_TRUE(numeric);
  EXPECT_EQ(3u, numeric.value()->ListXattrs(there).value().size());
  EXPECT_EQ("1", numeric.value()->GetXattr(there, "trusted.t").value());
}

TEST_F(ReplicationTest, NothingToSayIsSaidWithNothing) {
  a_.Create("/f", "x");
  Exchange({&a_, &b_});
  EXPECT_EQ(nullptr, a_->Cut(b_->Known()).value());
}

TEST_F(ReplicationTest, ARenamedFolderAndADeletionAreOneRowEach) {
  a_.Mkdir("/d");
  for (int i = 0; i < 50; ++i) a_.Create("/d/f" + std::to_string(i), "x");
  Exchange({&a_, &b_});
  a_.Rename("/d", "/e");
  a_.Unlink("/e/f7");
  const Parts parts = Cut(a_, b_->Known());
  ASSERT_EQ(1u, parts.size());
  EXPECT_LT(parts[0].size(), 600u);
  ASSERT_TRUE(Give(b_, parts));
  EXPECT_EQ(a_.Show(), b_.Show());
  EXPECT_EQ(50u, b_.Show().size());
}

TEST_F(ReplicationTest, ADeltaIsTakenOnlyOverWhatItBeginsAfter) {
  a_.Create("/f", "x");
  const Summary early = a_->Known();
  a_.Create("/g", "x");
  EXPECT_EQ(make_error_code(Error::kNotCovered), Give(b_, Cut(a_, early)).error());
  EXPECT_TRUE(b_.Show().empty());
}

TEST_F(ReplicationTest, AnybodyRelaysAndDoublesDoNoHarm) {
  a_.Create("/f", "x");
  const Parts parts = Cut(a_, {});
  Send(a_, b_);
  Send(b_, c_);
  EXPECT_EQ("x", c_.Bytes("/f"));
  c_.Unlink("/f");
  EXPECT_TRUE(Give(c_, parts));
  EXPECT_TRUE(c_.Show().empty());
  EXPECT_TRUE(Exchange({&a_, &b_, &c_}).empty());
}

TEST_F(ReplicationTest, ABigClusterGoesInManyParts) {
  const std::string bytes(kInlineMax, 'x');
  {
    Catalogue::Batch batch(*a_);
    for (int i = 0; i < 60; ++i) a_.Create("/f" + std::to_string(i), bytes);
    ASSERT_TRUE(batch.Finish());
  }
  const Ino file = a_.Find("/f1");
  ASSERT_TRUE(a_->SetXattr(file, "user.big", std::string(65536, 'y'), 0));
  const Parts parts = Cut(a_, {});
  EXPECT_GT(parts.size(), 4u);
  // Out of order, or not all of it: refused.
  Parts wrong = parts;
  std::swap(wrong[1], wrong[2]);
  EXPECT_EQ(make_error_code(Error::kCorrupt), Give(b_, wrong).error());
  wrong = parts;
  wrong.pop_back();
  EXPECT_EQ(make_error_code(Error::kCorrupt), Give(b_, wrong).error());
  EXPECT_TRUE(Give(b_, parts));
  EXPECT_EQ(a_.Show(), b_.Show());
}

TEST_F(ReplicationTest, AnEditorsSaveArrivesInOneStep) {
  a_.Create("/doc", "old");
  Exchange({&a_, &b_});
  Tick();
  const Ino fresh = a_.Make("/doc.tmp", FileNode());
  EXPECT_EQ(nullptr, a_->Cut(b_->Known()).value());
  a_.Rename("/doc.tmp", "/doc");
  EXPECT_EQ(fresh, a_.Find("/doc"));
  EXPECT_EQ(nullptr, a_->Cut(b_->Known()).value()) << "others still have the old one";
  EXPECT_EQ((Shown{{"/doc", "old"}}), b_.Show());
  a_.TakePublished();
  a_.Commit(fresh, "new");
  EXPECT_TRUE(a_.AwaitPublished());
  Send(a_, b_);
  EXPECT_EQ((Shown{{"/doc", "new"}}), b_.Show());
  EXPECT_EQ((Shown{{"/doc", "new"}}), Exchange({&a_, &b_}));
}

TEST_F(ReplicationTest, ASaveThatIsUndoneRemovesWhatItHadReplaced) {
  a_.Create("/doc", "old");
  Exchange({&a_, &b_});
  a_.Make("/doc.tmp", FileNode());
  a_.Rename("/doc.tmp", "/doc");
  a_.Unlink("/doc");
  EXPECT_TRUE(Exchange({&a_, &b_}).empty());
}

TEST_F(ReplicationTest, SavesInARowBecomeOneStep) {
  a_.Create("/doc", "old");
  Exchange({&a_, &b_});
  a_.Make("/t1", FileNode());
  a_.Rename("/t1", "/doc");
  const Ino second = a_.Make("/t2", FileNode());
  a_.Rename("/t2", "/doc");
  Send(a_, b_);
  EXPECT_EQ((Shown{{"/doc", "old"}}), b_.Show());
  a_.Commit(second, "new");
  EXPECT_EQ((Shown{{"/doc", "new"}}), Exchange({&a_, &b_}));
}

TEST_F(ReplicationTest, AFolderTakesTheNameOfAFileThatWaits) {
  a_.Create("/n", "old");
  Exchange({&a_, &b_});
  const Ino fresh = a_.Make("/t", FileNode());
  a_.Rename("/t", "/n");
  a_.Rename("/n", "/elsewhere");
  a_.Mkdir("/n");
  Send(a_, b_);
  EXPECT_EQ((Shown{{"/n", "/"}}), b_.Show());
  a_.Commit(fresh, "new");
  EXPECT_EQ((Shown{{"/elsewhere", "new"}, {"/n", "/"}}), Exchange({&a_, &b_}));
}

TEST_F(ReplicationTest, AFolderGoesWithAFileThatOthersStillSeeInIt) {
  a_.Mkdir("/d");
  a_.Create("/d/f", "old");
  Exchange({&a_, &b_});
  const Ino fresh = a_.Make("/t", FileNode());
  a_.Rename("/t", "/d/f");
  a_.Rename("/d/f", "/f");
  ASSERT_TRUE(a_->RemoveFolder(kRootIno, "d"));
  Send(a_, b_);
  EXPECT_TRUE(b_.Show().empty());
  a_.Commit(fresh, "new");
  EXPECT_EQ((Shown{{"/f", "new"}}), Exchange({&a_, &b_}));
}

TEST_F(ReplicationTest, AFileThatWaitsHidesOneThatArrivesUntilBothAreSettled) {
  b_.Create("/f", "from B");
  const Ino mine = a_.Make("/f", FileNode());
  Send(b_, a_);
  EXPECT_EQ(mine, a_.Find("/f"));
  EXPECT_TRUE(a_->CheckIntegrity());
  // Gone again: the other one comes to light, and the mount is told.
  a_.TakeChanges();
  a_.Rename("/f", "/g");
  EXPECT_EQ("from B", a_.Bytes("/f"));
  const auto changes = a_.TakeChanges();
  ASSERT_EQ(1u, changes.size());
  EXPECT_EQ(Change::What::kEntry, changes[0].what);
  EXPECT_EQ("f", changes[0].name);
  a_.Rename("/g", "/h");
  Tick();
  const Ino second = a_.Make("/x", FileNode());
  a_.Rename("/x", "/f");
  a_.Commit(second, "from A");
  EXPECT_EQ((Shown{{"/f", "from A"}}), (Send(a_, b_), b_.Show()));
}

TEST_F(ReplicationTest, BothFilesMadeUnderOneNameStay) {
  b_.Create("/f.txt", "from B");
  const Ino mine = a_.Make("/f.txt", FileNode());
  Send(b_, a_);
  Tick();
  a_.Commit(mine, "from A");
  const Shown shown = Exchange({&a_, &b_});
  EXPECT_EQ("from A", shown.at("/f.txt"));
  EXPECT_EQ("from B", shown.at(Conflict(b_)));
  EXPECT_EQ(1u, b_->Count().value().conflicts);
}

TEST_F(ReplicationTest, ARemovalElsewhereDoesNotCancelACommit) {
  const Ino file = a_.Create("/f", "old");
  Exchange({&a_, &b_});
  ASSERT_TRUE(a_->BeginWrite(file, false));
  b_.Unlink("/f");
  Send(b_, a_);
  EXPECT_EQ(0u, a_.Find("/f"));
  EXPECT_FALSE(a_->DirtyFiles().value().at(0).orphan);
  a_.Commit(file, "edited");
  EXPECT_EQ((Shown{{"/f", "edited"}}), Exchange({&a_, &b_}));
}

// --- histories that broke earlier rules; tests/model/test_replication.py has them first

TEST_F(ReplicationTest, BothEditedBothDeleted) {
  a_.Create("/doc", "v0");
  Exchange({&a_, &b_});
  Tick();
  a_.Write("/doc", "va");
  b_.Write("/doc", "vb");
  Tick();
  a_.Unlink("/doc");
  b_.Unlink("/doc");
  EXPECT_TRUE(Exchange({&a_, &b_}).empty());
}

TEST_F(ReplicationTest, EditsOnThreeHostsRelayed) {
  a_.Create("/doc", "v0");
  Exchange({&a_, &b_, &c_});
  for (Host* host : {&a_, &b_, &c_}) {
    Tick();
    host->Write("/doc", host == &a_ ? "vA" : host == &b_ ? "vB" : "vC");
  }
  Send(a_, b_);
  Tick();
  b_.Write("/doc", "vBB");
  Send(b_, c_);
  EXPECT_EQ((std::vector<std::string>{"vA", "vBB", "vC"}), Contents(Exchange({&a_, &b_, &c_})));
}

TEST_F(ReplicationTest, FoldersMadeUnderOneNameAndRenamedAway) {
  a_.Mkdir("/n");
  a_.Rename("/n", "/photos");
  a_.Create("/photos/img", "i");
  b_.Mkdir("/n");
  b_.Rename("/n", "/invoices");
  b_.Create("/invoices/bill", "b");
  EXPECT_EQ(
      (Shown{{"/invoices", "/"}, {"/invoices/bill", "b"}, {"/photos", "/"}, {"/photos/img", "i"}}),
      Exchange({&a_, &b_}));
}

TEST_F(ReplicationTest, AnEditBeatsADeletion) {
  a_.Create("/f", "v1");
  Exchange({&a_, &b_, &c_});
  a_.Unlink("/f");
  Tick();
  c_.Write("/f", "v2");
  EXPECT_EQ((Shown{{"/f", "v2"}}), Exchange({&a_, &b_, &c_}));
}

TEST_F(ReplicationTest, ARepairsRenameDoesNotUndoADeletion) {
  a_.Create("/f", "a");
  Tick();
  b_.Create("/f", "b");
  Exchange({&a_, &c_});
  Exchange({&b_, &c_});
  a_.Unlink("/f");
  const Shown shown = Exchange({&a_, &b_, &c_});
  EXPECT_EQ(std::vector<std::string>{"b"}, Contents(shown));
}

TEST_F(ReplicationTest, ACopyDeletedWhereItWasMadeIsNotMadeAgain) {
  a_.Create("/f", "0");
  Exchange({&a_, &b_, &c_});
  a_.Write("/f", "a");
  Tick();
  b_.Write("/f", "b");
  Send(a_, c_);
  Send(b_, c_);
  c_.Unlink(Conflict(c_));
  Send(a_, b_);
  EXPECT_EQ((Shown{{"/f", "b"}}), Exchange({&a_, &b_, &c_}));
}

TEST_F(ReplicationTest, ASaveThroughAHandleOpenedBeforeADelta) {
  const Ino file = a_.Create("/f", "0");
  Exchange({&a_, &b_});
  ASSERT_TRUE(a_->BeginWrite(file, false));
  b_.Write("/f", "b");
  Tick();
  Send(b_, a_);
  a_.Commit(file, "a");
  EXPECT_EQ((std::vector<std::string>{"a", "b"}), Contents(Exchange({&a_, &b_})));
}

// --- conflicts

TEST_F(ReplicationTest, TwoEditsApartLeaveExactlyOneCopy) {
  a_.Create("/f.txt", "0");
  ASSERT_TRUE(a_->SetXattr(a_.Find("/f.txt"), "user.x", "1", 0));
  Exchange({&a_, &b_});
  a_.Write("/f.txt", "a");
  Tick();
  b_.Write("/f.txt", "b");
  const Shown shown = Exchange({&a_, &b_});
  ASSERT_EQ(2u, shown.size());
  EXPECT_EQ("b", shown.at("/f.txt"));
  const std::string copy = Conflict(a_);
  EXPECT_EQ("a", shown.at(copy));
  EXPECT_EQ(0u, copy.find("/f (conflict A 2001-09-09-"));
  EXPECT_TRUE(copy.ends_with(").txt"));
  EXPECT_EQ("1", a_->GetXattr(a_.Find(copy), "user.x").value());
  EXPECT_EQ(0644u, b_.NodeAt(copy).mode);
}

TEST_F(ReplicationTest, ACopyThatNobodyTouchedGoesWhenItsContentWasOverwrittenElsewhere) {
  a_.Create("/f", "0");
  Exchange({&a_, &b_, &c_});
  a_.Write("/f", "a");
  Send(a_, b_);
  Tick();
  b_.Write("/f", "ab");  // B had "a" before it
  Tick();
  c_.Write("/f", "c");
  Send(a_, c_);  // C makes a copy of "a"
  EXPECT_EQ((std::vector<std::string>{"a", "c"}), Contents(c_.Show()));
  EXPECT_EQ((std::vector<std::string>{"ab", "c"}), Contents(Exchange({&a_, &b_, &c_})));
}

TEST_F(ReplicationTest, EqualContentsUnderOneNameBecomeOneFile) {
  a_.Create("/f", "same");
  b_.Create("/f", "same");
  EXPECT_EQ((Shown{{"/f", "same"}}), Exchange({&a_, &b_}));
}

TEST_F(ReplicationTest, SymlinksToOneTargetBecomeOne) {
  NewNode symlink = FileNode(0777);
  symlink.kind = Kind::kSymlink;
  symlink.target = "t";
  a_.Make("/l", symlink);
  b_.Make("/l", symlink);
  symlink.target = "u";
  b_.Make("/m", symlink);
  a_.Create("/m", "file");
  const Shown shown = Exchange({&a_, &b_});
  EXPECT_EQ(3u, shown.size());
  EXPECT_EQ("-> t", shown.at("/l"));
}

TEST_F(ReplicationTest, FoldersUnderOneNameBecomeOneAndTheirFilesMeet) {
  const Ino a_folder = a_.Mkdir("/d");
  a_.Create("/d/a", "a");
  a_.Create("/d/both", "1");
  const Ino b_folder = b_.Mkdir("/d");
  Tick();
  b_.Create("/d/b", "b");
  b_.Create("/d/both", "2");
  const Shown shown = Exchange({&a_, &b_});
  EXPECT_EQ(5u, shown.size());
  EXPECT_EQ("a", shown.at("/d/a"));
  EXPECT_EQ("2", shown.at("/d/both"));
  // The folder that went still leads to the other for whoever holds it.
  for (auto [host, folder] : {std::pair{&a_, a_folder}, {&b_, b_folder}}) {
    EXPECT_TRUE((*host)->Lookup(folder, "b"));
    EXPECT_EQ(4u, (*host)->List(folder, 0, 10).value().size());
    EXPECT_TRUE((*host)->Make(folder, "new", FileNode()));
    EXPECT_NE(0u, host->Find("/d/new"));
  }
}

TEST_F(ReplicationTest, AFolderKeepsTheNameOverAFile) {
  a_.Mkdir("/n");
  Tick();
  b_.Create("/n", "file");
  const Shown shown = Exchange({&a_, &b_});
  EXPECT_EQ("/", shown.at("/n"));
  EXPECT_EQ("file", shown.at(Conflict(a_)));
}

TEST_F(ReplicationTest, AFileInAFolderDeletedElsewhereBringsTheFolderBack) {
  a_.Mkdir("/d");
  Exchange({&a_, &b_});
  ASSERT_TRUE(a_->RemoveFolder(kRootIno, "d"));
  b_.Create("/d/f", "x");
  EXPECT_EQ((Shown{{"/d", "/"}, {"/d/f", "x"}}), Exchange({&a_, &b_}));
}

TEST_F(ReplicationTest, FoldersMovedIntoEachOtherComeApart) {
  a_.Mkdir("/x");
  a_.Mkdir("/y");
  a_.Create("/x/f", "f");
  a_.Create("/y/g", "g");
  Exchange({&a_, &b_});
  a_.Rename("/x", "/y/x");
  Tick();
  b_.Rename("/y", "/x/y");
  const Shown shown = Exchange({&a_, &b_});
  EXPECT_EQ((Shown{{"/y", "/"}, {"/y/g", "g"}, {"/y/x", "/"}, {"/y/x/f", "f"}}), shown);
}

TEST_F(ReplicationTest, TheLaterRenameWins) {
  a_.Create("/f", "x");
  Exchange({&a_, &b_});
  a_.Rename("/f", "/a");
  Tick();
  b_.Rename("/f", "/b");
  EXPECT_EQ((Shown{{"/b", "x"}}), Exchange({&a_, &b_}));
}

TEST_F(ReplicationTest, AClockFarAheadTouchesOnlyItsOwnRows) {
  std::int64_t future = kStart + 100LL * 365 * 86400 * 1'000'000'000;
  Host d('D', &future);
  a_.Create("/f", "0");
  Exchange({&a_, &d});
  d.Write("/f", "future");
  Exchange({&a_, &d});
  a_.Write("/f", "later");
  a_.Create("/g", "now");
  Exchange({&a_, &d});
  EXPECT_EQ("later", d.Bytes("/f"));
  EXPECT_EQ(wall_, d.NodeAt("/g").ctime_ns);
}

// --- what the mount is told

TEST_F(ReplicationTest, ChangesOfADelta) {
  const Ino folder = b_.Mkdir("/d");
  (void)folder;
  b_.Create("/d/f", "old");
  b_.Create("/d/gone", "x");
  Exchange({&a_, &b_});
  a_.TakeChanges();
  const Ino file = a_.Find("/d/f");
  NewVersion big = VersionOf(std::string(50000, 'x'));
  ASSERT_TRUE(b_->BeginWrite(b_.Find("/d/f"), false));
  ASSERT_TRUE(b_->Commit(b_.Find("/d/f"), big, false));
  ASSERT_TRUE(b_->SetAttributes(b_.Find("/d"), ModeChange(0700)));
  b_.Unlink("/d/gone");
  b_.Mkdir("/new");
  b_.Create("/new/inside", "x");
  Send(b_, a_);
  std::map<Change::What, std::vector<Change>> by_what;
  for (const auto& change : a_.TakeChanges()) by_what[change.what].push_back(change);
  ASSERT_EQ(1u, by_what[Change::What::kContent].size());
  EXPECT_EQ(file, by_what[Change::What::kContent][0].ino);
  EXPECT_EQ(big.id, by_what[Change::What::kContent][0].content);
  ASSERT_EQ(1u, by_what[Change::What::kWanted].size());
  EXPECT_EQ(big.id, by_what[Change::What::kWanted][0].content);
  ASSERT_EQ(2u, by_what[Change::What::kEntry].size()) << "not those in new folders";
  std::map<std::string, Ino> entries;
  for (const auto& change : by_what[Change::What::kEntry]) entries[change.name] = change.ino;
  EXPECT_EQ(0u, entries.at("gone"));
  EXPECT_EQ(a_.Find("/new"), entries.at("new"));
  std::set<Ino> attributes;
  for (const auto& change : by_what[Change::What::kAttributes]) attributes.insert(change.ino);
  EXPECT_TRUE(attributes.contains(a_.Find("/d")));
  EXPECT_EQ(std::vector<ContentId>{big.id}, a_->Missing(std::nullopt, 10).value());
  // A newer version that is not here either takes its place: nobody waits for the old one.
  NewVersion bigger = big;
  bigger.id.size += 1;
  ASSERT_TRUE(b_->BeginWrite(b_.Find("/d/f"), false));
  ASSERT_TRUE(b_->Commit(b_.Find("/d/f"), bigger, false));
  Send(b_, a_);
  std::vector<ContentId> wanted;
  std::vector<ContentId> unwanted;
  for (const auto& change : a_.TakeChanges()) {
    if (change.what == Change::What::kWanted) wanted.push_back(change.content);
    if (change.what == Change::What::kUnwanted) unwanted.push_back(change.content);
  }
  EXPECT_EQ(std::vector<ContentId>{bigger.id}, wanted);
  EXPECT_EQ(std::vector<ContentId>{big.id}, unwanted);
  big.id = bigger.id;
  // Once it is here, it is missing no more.
  ASSERT_TRUE(a_->SetPresent(big.id, true));
  EXPECT_TRUE(a_.NodeAt("/d/f").content.present);
  EXPECT_TRUE(a_->Missing(std::nullopt, 10).value().empty());
}

TEST_F(ReplicationTest, OnesOwnOperationsAreNotToldUnlessARepairFollows) {
  a_.Create("/f", "x");
  a_.Rename("/f", "/g");
  a_.Unlink("/g");
  EXPECT_TRUE(a_.TakeChanges().empty());
  EXPECT_TRUE(a_.AwaitPublished());
}

TEST_F(ReplicationTest, VersionsOfOtherHostsAreHistoryToo) {
  a_.Create("/f", "1");
  Exchange({&a_, &b_});
  Tick();
  b_.Write("/f", "2");
  Tick();
  Exchange({&a_, &b_});
  a_.Write("/f", "3");
  Exchange({&a_, &b_});
  for (Host* host : {&a_, &b_}) {
    const auto history = (*host)->History(host->Find("/f")).value();
    ASSERT_EQ(3u, history.size());
    EXPECT_EQ("A", history[0].host);
    EXPECT_EQ("B", history[1].host);
    EXPECT_EQ(VersionOf("2").id, history[1].id);
  }
}

}  // namespace
}  // namespace btfc::index
