// When other hosts see it: a file that was made travels with its first content.
#include <set>

#include "catalogue_fixture.h"

namespace btfc::index {
namespace {

using Shown = std::map<std::string, std::string>;

class PublicationTest : public CatalogueTest {
 protected:
  Host a_{'A', &wall_}, b_{'B', &wall_}, c_{'C', &wall_};
};

TEST_F(PublicationTest, AnEditorsSaveArrivesInOneStep) {
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

TEST_F(PublicationTest, ASaveThatIsUndoneRemovesWhatItHadReplaced) {
  a_.Create("/doc", "old");
  Exchange({&a_, &b_});
  a_.Make("/doc.tmp", FileNode());
  a_.Rename("/doc.tmp", "/doc");
  a_.Unlink("/doc");
  EXPECT_TRUE(Exchange({&a_, &b_}).empty());
}

TEST_F(PublicationTest, SavesInARowBecomeOneStep) {
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

TEST_F(PublicationTest, AFolderTakesTheNameOfAFileThatWaits) {
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

// The removal of what a file that waits replaced did not see a write elsewhere. It has to travel
// before another file takes the name, and what it did not see stays beside that one.
TEST_F(PublicationTest, AWriteThatARemovalThatWaitsDidNotSeeStaysBesideWhatTakesItsName) {
  b_.Create("/n.txt", "old");
  Exchange({&a_, &b_});
  a_.Make("/t", FileNode());
  a_.Rename("/t", "/n.txt");
  Tick();
  b_.Write("/n.txt", "from B");
  Send(b_, a_);
  a_.Rename("/n.txt", "/elsewhere");
  EXPECT_EQ(0u, a_.Find("/n.txt"));
  Tick();
  a_.TakeChanges();
  a_.Create("/n.txt", "from A");
  const auto told = a_.TakeChanges();
  const std::string beside = Conflict(a_);
  EXPECT_TRUE(std::any_of(told.begin(), told.end(), [&](const auto& change) {
    return change.what == Change::What::kEntry && "/" + change.name == beside;
  }));
  EXPECT_EQ("from A", a_.Bytes("/n.txt"));
  EXPECT_EQ("from B", a_.Bytes(beside));
  a_.Unlink("/elsewhere");
  EXPECT_EQ((Shown{{"/n.txt", "from A"}, {beside, "from B"}}), Exchange({&a_, &b_}));
}

TEST_F(PublicationTest, AFolderGoesWithAFileThatOthersStillSeeInIt) {
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

TEST_F(PublicationTest, AFileThatWaitsHidesOneThatArrivesUntilBothAreSettled) {
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

TEST_F(PublicationTest, BothFilesMadeUnderOneNameStay) {
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

// Three folders become one, with a file in each that nobody else knows of yet. Ids that are drawn
// one after the other begin alike, and the names that give way are made of them.
TEST_F(PublicationTest, FilesThatWaitGetANameEachWhenTheirFoldersBecomeOne) {
  for (const char* folder : {"/p", "/q", "/r"}) a_.Mkdir(folder);
  Exchange({&a_, &b_, &c_});
  std::vector<Ino> waiting;
  for (const char* path : {"/p/x", "/q/x", "/r/x"}) waiting.push_back(a_.Make(path, FileNode()));
  a_.Rename("/p", "/z");
  b_.Rename("/q", "/z");
  c_.Rename("/r", "/z");
  Tick();
  Send(b_, a_);
  Send(c_, a_);
  ASSERT_TRUE(a_->CheckIntegrity());
  const auto listed = a_->List(a_.Find("/z"), 0, 10).value();
  std::set<std::string> names;
  for (const auto& entry : listed) names.insert(entry.name);
  EXPECT_EQ(3u, listed.size());
  EXPECT_EQ(3u, names.size());
  EXPECT_TRUE(names.contains("x"));
  for (const Ino ino : waiting) a_.Commit(ino, std::to_string(ino));
  const auto shown = Exchange({&a_, &b_, &c_});
  EXPECT_EQ(4u, shown.size());
  std::set<std::string> contents;
  for (const auto& [path, bytes] : shown) contents.insert(bytes);
  for (const Ino ino : waiting) EXPECT_TRUE(contents.contains(std::to_string(ino)));
}

TEST_F(PublicationTest, ARemovalElsewhereDoesNotCancelACommit) {
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

}  // namespace
}  // namespace btfc::index
