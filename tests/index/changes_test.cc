// What the mount is told of what other hosts did.
#include "catalogue_fixture.h"

namespace btfc::index {
namespace {

class ChangesTest : public CatalogueTest {
 protected:
  Host a_{'A', &wall_}, b_{'B', &wall_}, c_{'C', &wall_};
};

TEST_F(ChangesTest, ChangesOfADelta) {
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

TEST_F(ChangesTest, OnesOwnOperationsAreNotToldUnlessARepairFollows) {
  a_.Create("/f", "x");
  a_.Rename("/f", "/g");
  a_.Unlink("/g");
  EXPECT_TRUE(a_.TakeChanges().empty());
  EXPECT_TRUE(a_.AwaitPublished());
}

TEST_F(ChangesTest, VersionsOfOtherHostsAreHistoryToo) {
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
