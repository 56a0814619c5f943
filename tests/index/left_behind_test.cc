// What was deleted on a host that was left behind is deleted again by the one that it becomes, and
// nothing that somebody touched meanwhile.
#include <sqlite3.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <set>

#include "index/salvage.h"
#include "three_hosts_fixture.h"

namespace btfc::index {
namespace {

using Tree = std::map<std::string, std::string>;

class LeftBehindTest : public ThreeHostsTest {
 protected:
  void SetUp() override {
    a_.Create("/traces", "1");
    a_.Create("/f", "1");
    Exchange(all_);
    Tick();
  }
  // a and b let go of what c was not told of.
  void LeaveBehind(const std::vector<Host*>& left) {
    a_.Unlink("/traces");
    Exchange({&a_, &b_});
    CollectAll({&a_, &b_}, NothingKept());
    Tick(181 * kDay_ns);
    CollectAll({&a_, &b_}, NothingKept());
    for (Host* host : left) {
      EXPECT_EQ(Errno(ESTALE), Give(*host, Cut(a_, (*host)->Known())).error());
      EXPECT_TRUE((*host)->WasLeftBehind().value());
      host->Close();
    }
  }
  static std::vector<SalvagedRemoval> RemovalsOf(Host& left, Host& anew) {
    // What nobody else has comes along, as mount-helper's TakeUpRebuild does it.
    const Summary known = anew->Known();
    std::set<Ino> brought;
    EXPECT_TRUE(Salvage(left.dir() / "index.db", [&](const SalvagedFile& file) {
      if (file.id == ContentId{} || Covers(known, *file.dot)) return;
      if (file.readable) brought.insert(file.ino);
    }));
    const auto removals = SalvageRemovals(left.dir() / "index.db", known,
                                          [&](Ino ino) { return brought.contains(ino); });
    EXPECT_TRUE(removals) << removals.error().message();
    return removals ? removals.value() : std::vector<SalvagedRemoval>();
  }
  // Of a closed one, as damage does.
  static void Damage(Host& host, const char* sql) {
    sqlite3* database = nullptr;
    ASSERT_EQ(SQLITE_OK, sqlite3_open((host.dir() / "index.db").c_str(), &database));
    EXPECT_EQ(SQLITE_OK, sqlite3_exec(database, sql, nullptr, nullptr, nullptr));
    EXPECT_LT(0, sqlite3_changes(database));
    sqlite3_close(database);  // which leaves no log
  }
  // How many removals of the old index are repeated in the new one, which has a giver's rows.
  static int RemoveAgain(Host& left, Host& anew) {
    int count = 0;
    for (const auto& removal : RemovalsOf(left, anew)) {
      const auto removed = anew->RemoveAgain(removal);
      EXPECT_TRUE(removed);
      if (removed && removed.value()) ++count;
    }
    EXPECT_TRUE(anew->CheckIntegrity());
    return count;
  }
  // c as the host that it becomes; what all show then.
  Tree ComeBack(int removed) {
    Exchange(others_);
    EXPECT_EQ(removed, RemoveAgain(c_, anew_));
    return Exchange(others_);
  }

  Host anew_{'C', &wall_};
  const std::vector<Host*> others_{&a_, &b_, &anew_};
};

TEST_F(LeftBehindTest, WhatItDeletedIsDeletedEverywhere) {
  c_.Unlink("/f");
  LeaveBehind({&c_});
  EXPECT_EQ((Tree{{"/f", "1"}}), Exchange(others_));
  anew_.TakeChanges();
  EXPECT_EQ(Tree(), ComeBack(1));
  const auto changes = anew_.TakeChanges();
  EXPECT_TRUE(std::ranges::any_of(changes, [](const Change& change) {
    return change.what == Change::What::kEntry && change.name == "f";
  })) << "the mount is told, as nobody here asked for it";
}

TEST_F(LeftBehindTest, WhatIsDeletedAgainCanBeBroughtBack) {
  c_.Unlink("/f");
  LeaveBehind({&c_});
  ComeBack(1);
  for (Host* host : others_) {
    const auto versions = (*host)->VersionsAt("/f");
    ASSERT_TRUE(versions);
    EXPECT_TRUE(versions.value().front().removed);
  }
  Tick();
  ASSERT_TRUE(b_->Undelete("/f", {}));
  EXPECT_EQ((Tree{{"/f", "1"}}), Exchange(others_));
  EXPECT_EQ(0, RemoveAgain(c_, anew_)) << "an interrupted rebuild is taken up again";
  EXPECT_EQ((Tree{{"/f", "1"}}), Exchange(others_));
}

TEST_F(LeftBehindTest, WhatItHadEditedBeforeItDeletedItIsDeleted) {
  c_.Write("/f", "2");
  Tick();
  c_.Unlink("/f");
  LeaveBehind({&c_});
  EXPECT_EQ(Tree(), ComeBack(1));
}

TEST_F(LeftBehindTest, WhatWasEditedMeanwhileStays) {
  c_.Unlink("/f");
  b_.Write("/f", "2");
  LeaveBehind({&c_});
  EXPECT_EQ((Tree{{"/f", "2"}}), ComeBack(0));
}

// The edit of a third host that the giver had not heard of.
TEST_F(LeftBehindTest, AnEditThatIsHeardOfLaterStays) {
  c_.Unlink("/f");
  LeaveBehind({&c_});
  Tick();
  b_.Write("/f", "2");
  Send(a_, anew_);
  ASSERT_EQ(1, RemoveAgain(c_, anew_));
  EXPECT_EQ((Tree{{"/f", "2"}}), Exchange(others_));
}

TEST_F(LeftBehindTest, WhatWasMovedMeanwhileStays) {
  c_.Unlink("/f");
  b_.Rename("/f", "/g");
  LeaveBehind({&c_});
  EXPECT_EQ((Tree{{"/g", "1"}}), ComeBack(0));
}

TEST_F(LeftBehindTest, WhatGotASecondNameMeanwhileStays) {
  c_.Unlink("/f");
  b_.Link("/f", "/g");
  LeaveBehind({&c_});
  EXPECT_EQ((Tree{{"/f", "1"}, {"/g", "1"}}), ComeBack(0));
}

TEST_F(LeftBehindTest, WhatHasAnotherNameInsteadStays) {
  c_.Unlink("/f");
  LeaveBehind({&c_});
  Tick();
  b_.Link("/f", "/g");
  b_.Unlink("/f");
  Exchange(others_);
  const auto known = anew_->Known();
  EXPECT_EQ((Tree{{"/g", "1"}}), ComeBack(0));
  EXPECT_EQ(known, anew_->Known()) << "nothing was written";
}

// One that whoever deleted it did not know of.
TEST_F(LeftBehindTest, WhatHasANewNameOnItStays) {
  Host d{'D', &wall_};
  Exchange({&a_, &b_, &c_, &d});
  Tick();
  c_.Unlink("/f");
  d.Link("/f", "/g");
  Exchange({&c_, &d});
  LeaveBehind({&c_});
  EXPECT_EQ((Tree{{"/f", "1"}}), ComeBack(0));
}

// Who takes away one of several names says nothing of the content.
TEST_F(LeftBehindTest, WhatWasNotItsLastNameStays) {
  b_.Link("/f", "/g");
  Exchange(all_);
  c_.Unlink("/f");
  c_.Unlink("/g");
  b_.Unlink("/g");
  LeaveBehind({&c_});
  EXPECT_EQ((Tree{{"/f", "1"}}), ComeBack(0));
}

TEST_F(LeftBehindTest, WhatWasDeletedElsewhereTooIsGone) {
  c_.Unlink("/f");
  b_.Unlink("/f");
  LeaveBehind({&c_});
  Exchange(others_);
  const auto known = anew_->Known();
  EXPECT_EQ(Tree(), ComeBack(0));
  EXPECT_EQ(known, anew_->Known()) << "nothing was written";
}

TEST_F(LeftBehindTest, WhatIsBeingWrittenOnTheNewOneStays) {
  c_.Unlink("/f");
  LeaveBehind({&c_});
  Exchange(others_);
  const Ino ino = anew_.Find("/f");
  ASSERT_TRUE(anew_->BeginWrite(ino, false));
  EXPECT_EQ(0, RemoveAgain(c_, anew_));
  anew_.Commit(ino, "2");
  EXPECT_EQ((Tree{{"/f", "2"}}), ComeBack(0));
}

// Two that were away together: the one that heard of it first repeats it.
TEST_F(LeftBehindTest, WhatItOnlyHeardOfIsDeletedOnce) {
  Host d{'D', &wall_}, d_anew{'D', &wall_};
  Exchange({&a_, &b_, &c_, &d});
  Tick();
  d.Unlink("/f");
  Exchange({&c_, &d});
  LeaveBehind({&c_, &d});
  EXPECT_EQ(Tree(), ComeBack(1));
  Exchange({&a_, &b_, &anew_, &d_anew});
  EXPECT_EQ(0, RemoveAgain(d, d_anew));
}

TEST_F(LeftBehindTest, WhatTheOthersHeardOfIsNotRepeated) {
  c_.Unlink("/f");
  Exchange(all_);
  Tick();
  b_.Create("/f", "2");
  LeaveBehind({&c_});
  Exchange(others_);
  EXPECT_TRUE(RemovalsOf(c_, anew_).empty());
}

// A rename over is not halved: that the file was moved there is not repeated.
TEST_F(LeftBehindTest, WhatAKnownFileWasRenamedOverStays) {
  a_.Create("/g", "old");
  Exchange(all_);
  Tick();
  c_.Rename("/f", "/g");
  LeaveBehind({&c_});
  EXPECT_EQ((Tree{{"/f", "1"}, {"/g", "old"}}), ComeBack(0));
}

TEST_F(LeftBehindTest, WhatAKnownFileWasRenamedOverStaysIfThatOneIsGone) {
  a_.Create("/g", "old");
  Exchange(all_);
  Tick();
  c_.Rename("/f", "/g");
  a_.Unlink("/f");
  LeaveBehind({&c_});
  EXPECT_EQ((Tree{{"/g", "old"}}), ComeBack(0));
}

// A new state of a folder takes the place of the old one, which is removed.
TEST_F(LeftBehindTest, WhatAFolderWasMovedWithBeforeItWasDeletedStays) {
  a_.Mkdir("/now");
  a_.Create("/now/x", "old");
  a_.Mkdir("/now/in");
  a_.Create("/now/in/y", "old");
  a_.Mkdir("/next");
  a_.Create("/next/x", "new");
  Exchange(all_);
  Tick();
  c_.Rename("/now", "/old");
  c_.Rename("/next", "/now");
  c_.Unlink("/old/in/y");
  ASSERT_TRUE(c_->RemoveFolder(c_.Find("/old"), "in"));
  c_.Unlink("/old/x");
  ASSERT_TRUE(c_->RemoveFolder(kRootIno, "old"));
  c_.Unlink("/now/x");
  LeaveBehind({&c_});
  const Tree shown = ComeBack(0);
  EXPECT_EQ("old", shown.at("/now/x"));
  EXPECT_EQ("old", shown.at("/now/in/y"));
  EXPECT_EQ("new", shown.at("/next/x"));
}

TEST_F(LeftBehindTest, WhatWasDeletedWithItsFolderIsDeleted) {
  a_.Mkdir("/d");
  a_.Mkdir("/d/in");
  a_.Create("/d/in/x", "old");
  Exchange(all_);
  Tick();
  c_.Unlink("/d/in/x");
  ASSERT_TRUE(c_->RemoveFolder(c_.Find("/d"), "in"));
  ASSERT_TRUE(c_->RemoveFolder(kRootIno, "d"));
  LeaveBehind({&c_});
  EXPECT_EQ((Tree{{"/d", "/"}, {"/d/in", "/"}, {"/f", "1"}}), ComeBack(1));
}

TEST_F(LeftBehindTest, WhatWasReplacedByASecondNameStays) {
  c_.Unlink("/f");
  c_.Create("/new", "2");
  c_.Link("/new", "/f");
  LeaveBehind({&c_});
  EXPECT_EQ((Tree{{"/f", "1"}}), ComeBack(0));
}

TEST_F(LeftBehindTest, WhatANewFileWasRenamedOverIsDeleted) {
  c_.Create("/f~", "2");
  c_.Rename("/f~", "/f");
  LeaveBehind({&c_});
  EXPECT_EQ(Tree(), ComeBack(1)) << "the new one comes by an import";
}

TEST_F(LeftBehindTest, WhatWasReplacedByWhatCannotBeReadStays) {
  c_.Create("/f~", "2");
  c_.Rename("/f~", "/f");
  LeaveBehind({&c_});
  Damage(c_, "UPDATE version SET inline = x'33' WHERE inline = x'32'");
  EXPECT_EQ((Tree{{"/f", "1"}}), ComeBack(0));
}

TEST_F(LeftBehindTest, WhatAFolderReplacedIsDeleted) {
  c_.Unlink("/f");
  c_.Mkdir("/f");
  LeaveBehind({&c_});
  EXPECT_EQ(Tree(), ComeBack(1));
}

// Who set a damaged index aside wants back what there was.
TEST_F(LeftBehindTest, AnIndexThatWasNotLeftBehindDeletesNothing) {
  c_.Unlink("/f");
  c_.Close();
  Exchange(others_);
  EXPECT_TRUE(RemovalsOf(c_, anew_).empty());
}

TEST_F(LeftBehindTest, ADamagedRemovalIsNoReasonToDelete) {
  c_.Unlink("/f");
  LeaveBehind({&c_});
  Exchange(others_);
  Damage(c_, "UPDATE removal SET known = x'01ff'");
  EXPECT_FALSE(SalvageRemovals(c_.dir() / "index.db", anew_->Known(), [](Ino) { return true; }));
}

// What stands there now may be in what cannot be read.
TEST_F(LeftBehindTest, ADamagedIndexIsNoReasonToDelete) {
  c_.Unlink("/f");
  LeaveBehind({&c_});
  Exchange(others_);
  sqlite3* database = nullptr;
  ASSERT_EQ(SQLITE_OK, sqlite3_open((c_.dir() / "index.db").c_str(), &database));
  sqlite3_stmt* root = nullptr;
  ASSERT_EQ(SQLITE_OK, sqlite3_prepare_v2(database,
                                          "SELECT (rootpage - 1) * page_size, page_size "
                                          "FROM sqlite_schema, pragma_page_size "
                                          "WHERE name = 'version'",
                                          -1, &root, nullptr));
  ASSERT_EQ(SQLITE_ROW, sqlite3_step(root));
  const std::streamoff at = sqlite3_column_int64(root, 0);
  const std::string page(static_cast<std::size_t>(sqlite3_column_int64(root, 1)), '\xff');
  sqlite3_finalize(root);
  sqlite3_close(database);
  std::fstream file(c_.dir() / "index.db", std::ios::binary | std::ios::in | std::ios::out);
  ASSERT_TRUE(file.seekp(at) << page);
  file.close();
  EXPECT_FALSE(SalvageRemovals(c_.dir() / "index.db", anew_->Known(), [](Ino) { return true; }));
}

}  // namespace
}  // namespace btfc::index
