// What becomes of what two hosts did apart.
#include "catalogue_fixture.h"

namespace btfc::index {
namespace {

using Shown = std::map<std::string, std::string>;

class ConflictsTest : public CatalogueTest {
 protected:
  Host a_{'A', &wall_}, b_{'B', &wall_}, c_{'C', &wall_};

  static std::vector<std::string> Contents(const Shown& shown) {
    std::vector<std::string> contents;
    for (const auto& [path, bytes] : shown) contents.push_back(bytes);
    std::sort(contents.begin(), contents.end());
    return contents;
  }
};

// --- histories that broke earlier rules; tests/model/test_replication.py has them first

TEST_F(ConflictsTest, BothEditedBothDeleted) {
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

TEST_F(ConflictsTest, EditsOnThreeHostsRelayed) {
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

TEST_F(ConflictsTest, FoldersMadeUnderOneNameAndRenamedAway) {
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

TEST_F(ConflictsTest, AnEditBeatsADeletion) {
  a_.Create("/f", "v1");
  Exchange({&a_, &b_, &c_});
  a_.Unlink("/f");
  Tick();
  c_.Write("/f", "v2");
  EXPECT_EQ((Shown{{"/f", "v2"}}), Exchange({&a_, &b_, &c_}));
}

// It was open for writing when it was deleted, and is written anew after the edit brought it back.
TEST_F(ConflictsTest, WhatIsWrittenAfterAnEditBeatADeletionIsCommitted) {
  a_.Create("/f", "v1");
  Exchange({&a_, &b_});
  ASSERT_TRUE(a_->BeginWrite(a_.Find("/f"), false));
  a_.Unlink("/f");
  Tick();
  b_.Write("/f", "v2");
  Send(b_, a_);
  Tick();
  a_.Write("/f", "v3");
  EXPECT_EQ((std::vector<std::string>{"v2", "v3"}), Contents(Exchange({&a_, &b_})));
}

TEST_F(ConflictsTest, ARepairsRenameDoesNotUndoADeletion) {
  a_.Create("/f", "a");
  Tick();
  b_.Create("/f", "b");
  Exchange({&a_, &c_});
  Exchange({&b_, &c_});
  a_.Unlink("/f");
  const Shown shown = Exchange({&a_, &b_, &c_});
  EXPECT_EQ(std::vector<std::string>{"b"}, Contents(shown));
}

TEST_F(ConflictsTest, ACopyDeletedWhereItWasMadeIsNotMadeAgain) {
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

TEST_F(ConflictsTest, ASaveThroughAHandleOpenedBeforeADelta) {
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

TEST_F(ConflictsTest, TwoEditsApartLeaveExactlyOneCopy) {
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

TEST_F(ConflictsTest, ACopyThatNobodyTouchedGoesWhenItsContentWasOverwrittenElsewhere) {
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

TEST_F(ConflictsTest, EqualContentsUnderOneNameBecomeOneFile) {
  a_.Create("/f", "same");
  b_.Create("/f", "same");
  EXPECT_EQ((Shown{{"/f", "same"}}), Exchange({&a_, &b_}));
}

TEST_F(ConflictsTest, SymlinksToOneTargetBecomeOne) {
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

TEST_F(ConflictsTest, FoldersUnderOneNameBecomeOneAndTheirFilesMeet) {
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

TEST_F(ConflictsTest, AFolderKeepsTheNameOverAFile) {
  a_.Mkdir("/n");
  Tick();
  b_.Create("/n", "file");
  const Shown shown = Exchange({&a_, &b_});
  EXPECT_EQ("/", shown.at("/n"));
  EXPECT_EQ("file", shown.at(Conflict(a_)));
}

TEST_F(ConflictsTest, AFileInAFolderDeletedElsewhereBringsTheFolderBack) {
  a_.Mkdir("/d");
  Exchange({&a_, &b_});
  ASSERT_TRUE(a_->RemoveFolder(kRootIno, "d"));
  b_.Create("/d/f", "x");
  EXPECT_EQ((Shown{{"/d", "/"}, {"/d/f", "x"}}), Exchange({&a_, &b_}));
}

TEST_F(ConflictsTest, FoldersMovedIntoEachOtherComeApart) {
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

TEST_F(ConflictsTest, TheLaterRenameWins) {
  a_.Create("/f", "x");
  Exchange({&a_, &b_});
  a_.Rename("/f", "/a");
  Tick();
  b_.Rename("/f", "/b");
  EXPECT_EQ((Shown{{"/b", "x"}}), Exchange({&a_, &b_}));
}

TEST_F(ConflictsTest, AClockFarAheadTouchesOnlyItsOwnRows) {
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

}  // namespace
}  // namespace btfc::index
