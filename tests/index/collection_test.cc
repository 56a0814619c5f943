// Rows of what was deleted go once all hosts know them, and nothing comes back or is lost by it.

#include <sqlite3.h>

#include <filesystem>
#include <set>

#include "index/salvage.h"
#include "index/summaries.h"
#include "three_hosts_fixture.h"

namespace btfc::index {
namespace {

// What the database of a host holds, in rows or in pages.
std::int64_t Ask(Host& host, const char* sql) {
  EXPECT_FALSE(host->Known().empty());  // ends the group: what was done is in the database
  sqlite3* database = nullptr;
  sqlite3_stmt* statement = nullptr;
  EXPECT_EQ(SQLITE_OK, sqlite3_open_v2((host.dir() / "index.db").c_str(), &database,
                                       SQLITE_OPEN_READONLY, nullptr));
  EXPECT_EQ(SQLITE_OK, sqlite3_prepare_v2(database, sql, -1, &statement, nullptr));
  EXPECT_EQ(SQLITE_ROW, sqlite3_step(statement));
  const std::int64_t number = sqlite3_column_int64(statement, 0);
  sqlite3_finalize(statement);
  sqlite3_close(database);
  return number;
}

std::int64_t RowsOf(Host& host) {
  return Ask(host,
             "SELECT (SELECT count(*) FROM inode) + (SELECT count(*) FROM attr) + "
             "(SELECT count(*) FROM place) + (SELECT count(*) FROM version) + "
             "(SELECT count(*) FROM removal) + (SELECT count(*) FROM history) + "
             "(SELECT count(*) FROM dot WHERE kind NOT IN (1, 9))");
}

std::int64_t UsedPages(Host& host) {
  return Ask(host, "SELECT page_count FROM pragma_page_count()") -
         Ask(host, "SELECT freelist_count FROM pragma_freelist_count()");
}

using CollectionTest = ThreeHostsTest;

TEST_F(CollectionTest, WhatAllKnowToBeDeletedGoes) {
  a_.Create("/stays", "1");
  Exchange(all_);
  const auto before = RowsOf(b_);
  a_.Mkdir("/d");
  a_.Mkdir("/d/e");
  a_.Create("/d/f", "f");
  a_.Link("/d/f", "/d/second");
  NewNode link = FileNode(0777);
  link.kind = Kind::kSymlink;
  link.target = "f";
  b_.Make("/link", link);
  Exchange(all_);
  Tick();
  c_.Write("/d/f", "g");
  ASSERT_TRUE(c_->SetXattr(c_.Find("/d/f"), "user.x", "y", 0));
  a_.Rename("/d/e", "/e");
  Exchange(all_);
  Tick();
  b_.Unlink("/d/f");
  b_.Unlink("/d/second");
  b_.Unlink("/link");
  ASSERT_TRUE(b_->RemoveFolder(kRootIno, "d"));
  ASSERT_TRUE(b_->RemoveFolder(kRootIno, "e"));
  const auto tree = Exchange(all_);
  ASSERT_EQ(1u, tree.size());
  EXPECT_GT(RowsOf(b_), before);
  CollectAll(all_, NothingKept());
  for (Host* host : all_) {
    EXPECT_EQ(before, RowsOf(*host));
    EXPECT_EQ(tree, host->Show());
    host->Reopen();
    EXPECT_EQ(before, RowsOf(*host));
  }
  const auto known = a_->Known();
  CollectAll(all_, NothingKept());
  EXPECT_EQ(known, a_->Known()) << "with nothing to let go of nobody says anything";
}

TEST_F(CollectionTest, ANameOfAFileThatHasOthersGoesToo) {
  a_.Create("/f", "1");
  Exchange(all_);
  const auto before = RowsOf(a_);
  for (int i = 0; i < 20; ++i) {
    a_.Link("/f", "/g");
    Exchange(all_);
    Tick();
    b_.Unlink("/g");
    Exchange(all_);
  }
  CollectAll(all_, NothingKept());
  EXPECT_EQ(before, RowsOf(a_));
  EXPECT_EQ(before, RowsOf(c_));
}

TEST_F(CollectionTest, TheIndexStaysProportionalToWhatExists) {
  constexpr int kFiles = 10'000;
  const auto churn = [&](int from) {
    Catalogue::Batch batch(*a_);
    const Ino folder = a_.Mkdir("/d");
    for (int i = from; i < from + kFiles; ++i) {
      const auto made = a_->Make(folder, "f" + std::to_string(i), FileNode());
      ASSERT_TRUE(made);
      ASSERT_TRUE(a_->Commit(made.value().ino, VersionOf(std::to_string(i)), false));
    }
    ASSERT_TRUE(batch.Finish());
    Exchange(all_);
    Tick();
    Catalogue::Batch removal(*b_);
    for (int i = from; i < from + kFiles; ++i) {
      ASSERT_TRUE(b_->Unlink(b_.Find("/d"), "f" + std::to_string(i)));
    }
    ASSERT_TRUE(b_->RemoveFolder(kRootIno, "d"));
    ASSERT_TRUE(removal.Finish());
    Exchange(all_);
  };
  a_.Create("/stays", "1");
  Exchange(all_);
  const auto rows = RowsOf(a_);
  churn(0);
  CollectAll(all_, NothingKept());
  for (Host* host : all_) EXPECT_EQ(rows, RowsOf(*host));
  const auto pages = UsedPages(a_);
  EXPECT_LT(pages, 200);
  churn(kFiles);
  CollectAll(all_, NothingKept());
  for (Host* host : all_) EXPECT_EQ(rows, RowsOf(*host));
  EXPECT_LE(UsedPages(a_), pages + 2);
}

TEST_F(CollectionTest, WhatIsKeptIsNotLetGoOf) {
  a_.Create("/f", "1");
  Exchange(all_);
  a_.Unlink("/f");
  Exchange(all_);
  const auto rows = RowsOf(a_);
  Tick(29 * kDay_ns);
  CollectAll(all_, {});
  EXPECT_EQ(rows, RowsOf(a_));
  ASSERT_TRUE(b_->Undelete("/f", {}));
  EXPECT_EQ("1", Exchange(all_)["/f"]);
  b_.Unlink("/f");
  Exchange(all_);
  Tick(31 * kDay_ns);
  CollectAll(all_, {});
  EXPECT_LT(RowsOf(a_), rows);
  EXPECT_EQ(Errno(ENOENT), a_->Undelete("/f", {}).error());
}

TEST_F(CollectionTest, AHostThatHasNotHeardOfItIsWaitedFor) {
  a_.Create("/f", "1");
  a_.Create("/g", "1");
  Exchange(all_);
  const auto rows = RowsOf(a_);
  a_.Unlink("/f");
  a_.Unlink("/g");
  Exchange({&a_, &b_});
  Tick(100 * kDay_ns);
  c_.Write("/f", "2");  // an edit beats the deletion
  CollectAll({&a_, &b_}, NothingKept());
  EXPECT_GE(RowsOf(a_), rows);
  auto tree = Exchange(all_);
  EXPECT_EQ((std::map<std::string, std::string>{{"/f", "2"}}), tree);
  CollectAll(all_, NothingKept());
  EXPECT_LT(RowsOf(a_), rows);
  EXPECT_EQ(tree, c_.Show());
}

TEST_F(CollectionTest, ARemovedHostIsNotWaitedFor) {
  a_.Create("/f", "1");
  Exchange(all_);
  const auto rows = RowsOf(a_);
  a_.Unlink("/f");
  Exchange({&a_, &b_});
  CollectAll({&a_, &b_}, NothingKept());
  ASSERT_GE(RowsOf(a_), rows);
  ASSERT_TRUE(a_->RemoveMember(c_->self()));
  Exchange({&a_, &b_});
  CollectAll({&a_, &b_}, NothingKept());
  EXPECT_EQ(7, rows - RowsOf(a_)) << "inode, place and version, and four dots";
}

// All that the host with this old index has to bring back into a new one.
std::set<std::string> OwnWork(Host& left, const Summary& known) {
  left.Close();
  std::set<std::string> work;
  EXPECT_TRUE(Salvage(left.dir() / "index.db", [&](const SalvagedFile& file) {
    if (!file.dot || !Covers(known, *file.dot)) work.insert(file.path + "=" + file.inline_bytes);
  }));
  return work;
}

TEST_F(CollectionTest, AHostThatWasAwayForTooLongBeginsAnew) {
  a_.Mkdir("/d");
  a_.Create("/d/gone", "1");
  a_.Create("/d/edited", "1");
  a_.Create("/stays", "1");
  Exchange(all_);
  const auto rows = RowsOf(a_);
  a_.Unlink("/d/gone");
  a_.Unlink("/d/edited");
  ASSERT_TRUE(a_->RemoveFolder(kRootIno, "d"));
  Exchange({&a_, &b_});
  c_.Write("/d/edited", "by c");
  c_.Create("/new", "c's own");
  CollectAll({&a_, &b_}, NothingKept());
  EXPECT_GE(RowsOf(a_), rows) << "it is waited for";
  Tick(181 * kDay_ns);
  CollectAll({&a_, &b_}, NothingKept());
  EXPECT_LT(RowsOf(a_), rows);
  EXPECT_LT(RowsOf(b_), rows);
  const auto tree = a_.Show();

  EXPECT_EQ(Errno(EAGAIN), Give(a_, Cut(c_, a_->Known())).error()) << "nothing of it is taken";
  EXPECT_EQ(tree, a_.Show());
  EXPECT_FALSE(c_->WasLeftBehind().value());
  EXPECT_EQ(Errno(ESTALE), Give(c_, Cut(a_, c_->Known())).error());
  EXPECT_TRUE(c_->WasLeftBehind().value());
  EXPECT_TRUE(Cut(c_, {}).empty()) << "and nothing of it is told";
  EXPECT_EQ("c's own", c_.Bytes("/new")) << "it goes on alone";
  c_.Reopen();
  EXPECT_TRUE(c_->WasLeftBehind().value());

  Host anew('C', &wall_);
  const auto shown = Exchange({&a_, &b_, &anew});
  EXPECT_EQ(tree, shown);
  EXPECT_EQ((std::set<std::string>{"d/edited=by c", "new=c's own"}), OwnWork(c_, anew->Known()));
  anew.Create("/new", "c's own");
  EXPECT_EQ("c's own", Exchange({&a_, &b_, &anew})["/new"]);
  a_.Unlink("/new");
  Exchange({&a_, &b_, &anew});
  const auto before = RowsOf(a_);
  CollectAll({&a_, &b_, &anew}, NothingKept());
  EXPECT_LT(RowsOf(a_), before) << "it is waited for again, and answers";
}

// What a host was left out for reaches nobody through another one, which keeps its traces yet.
TEST_F(CollectionTest, WhatWasDecidedWithoutAHostIsNotUndoneByAThird) {
  a_.Create("/f", "1");
  a_.Create("/stays", "1");
  Exchange(all_);
  const auto rows = RowsOf(a_);
  a_.Unlink("/f");
  Exchange({&a_, &b_});
  c_.Write("/f", "2");
  VersionLimits kept = NothingKept();
  kept.age_ns = 1000 * kDay_ns;
  for (int round = 0; round < 6; ++round) {
    Tick(round == 1 ? 181 * kDay_ns : 1);
    Collect({&a_}, NothingKept());
    Collect({&b_}, kept);
    Exchange({&a_, &b_});
  }
  EXPECT_LT(RowsOf(a_), rows);
  EXPECT_GT(RowsOf(b_), rows);
  ASSERT_TRUE(Give(c_, Cut(b_, c_->Known()))) << "it lacks nothing that b let go of";
  EXPECT_TRUE(c_->WasLeftBehind().value()) << "but has what it agreed with a to be deleted";
  EXPECT_TRUE(Cut(c_, {}).empty());
  EXPECT_EQ((std::map<std::string, std::string>{{"/stays", "1"}}), Exchange({&a_, &b_}));
  EXPECT_EQ((std::set<std::string>{"f=2"}), OwnWork(c_, b_->Known()));
}

// One that comes back with nothing of that goes on as the host that it was.
TEST_F(CollectionTest, AHostThatWasLeftOutComesBack) {
  a_.Create("/f", "1");
  Exchange(all_);
  a_.Unlink("/f");
  Exchange({&a_, &b_});
  c_.Create("/new", "c's own");
  VersionLimits kept = NothingKept();
  kept.age_ns = 1000 * kDay_ns;
  for (int round = 0; round < 6; ++round) {
    Tick(round == 1 ? 181 * kDay_ns : 1);
    Collect({&a_, &b_}, kept);
    Exchange({&a_, &b_});
  }
  const auto own = Cut(c_, a_->Known());
  EXPECT_EQ(Errno(EAGAIN), Give(a_, own).error()) << "it may bring back what was deleted";
  EXPECT_EQ((std::map<std::string, std::string>{{"/new", "c's own"}}), Exchange(all_));
  EXPECT_FALSE(c_->WasLeftBehind().value());
  CollectAll(all_, NothingKept());
  EXPECT_EQ(0, Ask(a_, "SELECT count(*) FROM removal"));
  EXPECT_EQ(0, Ask(c_, "SELECT count(*) FROM removal"));
}

// Two parts that hear nothing of each other: only one goes on without the other.
TEST_F(CollectionTest, OnlyTheLargerPartLeavesTheOtherBehind) {
  a_.Create("/f", "1");
  a_.Create("/g", "1");
  Exchange(all_);
  const auto rows = RowsOf(a_);
  a_.Unlink("/f");
  c_.Unlink("/g");
  Exchange({&a_, &b_});
  CollectAll({&a_, &b_}, NothingKept());
  CollectAll({&c_}, NothingKept());
  Tick(400 * kDay_ns);
  CollectAll({&c_}, NothingKept());
  EXPECT_EQ(1, Ask(c_, "SELECT count(*) FROM removal")) << "one of three waits for the others";
  CollectAll({&a_, &b_}, NothingKept());
  EXPECT_LT(RowsOf(a_), rows);
  EXPECT_EQ(0, Ask(a_, "SELECT count(*) FROM removal"));
}

TEST_F(CollectionTest, WhatIsOpenForWritingMayComeBack) {
  a_.Create("/f", "1");
  Exchange(all_);
  const Ino ino = c_.Find("/f");
  ASSERT_TRUE(c_->BeginWrite(ino, false));
  a_.Unlink("/f");
  Exchange(all_);
  CollectAll(all_, NothingKept());
  EXPECT_EQ(1, Ask(a_, "SELECT count(*) FROM removal"))
      << "c does not answer as long as it is open";
  Tick();
  c_.Commit(ino, "2");
  EXPECT_EQ("2", Exchange(all_)["/f"]);
  CollectAll(all_, NothingKept());
  EXPECT_EQ("2", Exchange(all_)["/f"]);
  a_.Unlink("/f");
  Exchange(all_);
  CollectAll(all_, NothingKept());
  EXPECT_EQ(0, Ask(a_, "SELECT count(*) FROM removal"));
}

// A power cut, and a clock that begins at an earlier time than the device of before did.
TEST_F(CollectionTest, ANewDeviceSpeaksForItsHostThoughTheClockWentBack) {
  a_.Create("/f", "1");
  a_.Create("/g", "1");
  Exchange(all_);
  a_.Unlink("/f");
  Exchange(all_);
  CollectAll(all_, NothingKept());
  ASSERT_EQ(0, Ask(a_, "SELECT count(*) FROM removal"));
  const auto before = c_->self();
  c_.Close();
  const auto index = c_.dir() / "index.db", copy = c_.dir() / "copy";
  std::filesystem::copy_file(index, copy);
  std::filesystem::rename(copy, index);
  Tick(-kDay_ns);
  c_.Reopen();
  Tick(kDay_ns);
  ASSERT_NE(before, c_->self());
  Exchange(all_);
  a_.Unlink("/g");
  Exchange(all_);
  CollectAll(all_, NothingKept());
  for (Host* host : all_) EXPECT_EQ(0, Ask(*host, "SELECT count(*) FROM removal"));
}

TEST_F(CollectionTest, AFolderStaysForAFileThatIsWrittenInIt) {
  a_.Mkdir("/d");
  Exchange(all_);
  const auto made = c_->Make(c_.Find("/d"), "new", FileNode());
  ASSERT_TRUE(made);
  ASSERT_TRUE(a_->RemoveFolder(kRootIno, "d"));
  Exchange({&a_, &b_});
  ASSERT_TRUE(Give(c_, Cut(a_, c_->Known())));
  for (int round = 0; round < 5; ++round) {
    Tick();
    Collect(all_, NothingKept());
    for (Host* from : all_) {
      for (Host* to : all_) {
        if (from != to) Send(*from, *to);
      }
    }
  }
  EXPECT_EQ(1, Ask(a_, "SELECT count(*) FROM removal")) << "c does not answer";
  Tick();
  c_.Commit(made.value().ino, "1");
  EXPECT_EQ("1", Exchange(all_)["/d/new"]);
}

TEST_F(CollectionTest, WhatSomebodyHoldsStays) {
  const Ino ino = a_.Create("/f", "1");
  a_.Unlink("/f");
  const auto limits = NothingKept();
  Tick();
  ASSERT_TRUE(a_->PruneVersions(limits));
  ASSERT_TRUE(a_->Collect(limits, {ino}));
  EXPECT_TRUE(a_->Get(ino));
  ASSERT_TRUE(a_->Collect(limits, {}));
  EXPECT_FALSE(a_->Get(ino));
  a_.Reopen();
  EXPECT_TRUE(a_->WasRemoved(ino).value());
}

// It is asked for every minute, and most hosts do nothing most of the time.
TEST_F(CollectionTest, NothingIsLookedForTwice) {
  a_.Create("/f", "1");
  Exchange(all_);
  a_.Unlink("/f");
  ASSERT_TRUE(a_->PruneVersions(NothingKept()));
  ASSERT_TRUE(a_->Collect(NothingKept()));
  // Whoever wants to write has to wait now, and fails.
  sqlite3* database = nullptr;
  ASSERT_EQ(SQLITE_OK, sqlite3_open((a_.dir() / "index.db").c_str(), &database));
  ASSERT_EQ(SQLITE_OK, sqlite3_exec(database, "BEGIN IMMEDIATE", nullptr, nullptr, nullptr));
  EXPECT_TRUE(a_->Collect(NothingKept())) << "nothing has happened";
  EXPECT_EQ(SQLITE_OK, sqlite3_exec(database, "ROLLBACK", nullptr, nullptr, nullptr));
  sqlite3_close(database);
  Exchange(all_);
  CollectAll(all_, NothingKept());
  EXPECT_EQ(0, Ask(a_, "SELECT count(*) FROM removal")) << "what comes is looked at";
}

TEST_F(CollectionTest, AStrangerWithFilesOfItsOwnIsWelcome) {
  a_.Create("/f", "1");
  Exchange({&a_, &b_});
  a_.Unlink("/f");
  Exchange({&a_, &b_});
  CollectAll({&a_, &b_}, NothingKept());
  ASSERT_EQ(0, Ask(a_, "SELECT count(*) FROM removal"));
  c_.Create("/mine", "c");
  c_.Create("/old", "c");
  c_.Unlink("/old");
  CollectAll({&c_}, NothingKept());
  ASSERT_EQ(0, Ask(c_, "SELECT count(*) FROM removal"));
  EXPECT_EQ((std::map<std::string, std::string>{{"/mine", "c"}}), Exchange(all_));
  b_.Unlink("/mine");
  Exchange(all_);
  CollectAll(all_, NothingKept());
  EXPECT_EQ(0, Ask(c_, "SELECT count(*) FROM removal"));
}

// Each was alone and let go of things; then they meet two by two, and two pairs meet. Who knows
// a part of what the others count as known is no part of it for that.
TEST_F(CollectionTest, HostsThatGrewApartMeet) {
  Host d{'D', &wall_};
  const std::vector<Host*> all{&a_, &b_, &c_, &d};
  std::map<std::string, std::string> tree;
  for (Host* host : all) {
    const std::string name(1, static_cast<char>('A' + tree.size()));
    host->Create("/of " + name, name);
    host->Create("/gone", name);
    host->Unlink("/gone");
    CollectAll({host}, NothingKept());
    ASSERT_EQ(0, Ask(*host, "SELECT count(*) FROM removal"));
    tree["/of " + name] = name;
  }
  for (Host* to : {&b_, &c_}) {
    Send(a_, *to);
    Send(d, *to);
  }
  EXPECT_EQ(tree, Exchange(all));
  b_.Unlink("/of A");
  tree.erase("/of A");
  EXPECT_EQ(tree, Exchange(all));
  CollectAll(all, NothingKept());
  for (Host* host : all) EXPECT_EQ(0, Ask(*host, "SELECT count(*) FROM removal"));
}

// It never had the removal, and cannot pass it on to somebody who has the file yet.
TEST_F(CollectionTest, AStrangerLacksWhatWasLetGoOfBeforeItCame) {
  a_.Create("/f", "1");
  a_.Create("/g", "1");
  Exchange({&a_, &c_});
  a_.Unlink("/f");
  CollectAll({&a_}, NothingKept());
  Tick(400 * kDay_ns);
  CollectAll({&a_}, NothingKept());  // of two hosts it may leave the other behind
  ASSERT_EQ(0, Ask(a_, "SELECT count(*) FROM removal"));
  b_.Create("/b", "b");
  Exchange({&a_, &b_});
  EXPECT_EQ(Errno(ESTALE), Give(c_, Cut(b_, c_->Known())).error());
  EXPECT_TRUE(c_->WasLeftBehind().value());
}

// A host took another one's files, and was not heard of since: each leaves the other out, and keeps
// what was deleted.
TEST_F(CollectionTest, OfTwoThatWentOnWithoutEachOtherOneBeginsAnew) {
  VersionLimits kept = NothingKept();
  kept.age_ns = 1000 * kDay_ns;
  b_.Create("/f", "1");
  b_.Create("/g", "1");
  Send(b_, a_);
  a_.Unlink("/f");
  b_.Unlink("/g");
  CollectAll({&a_}, kept);
  CollectAll({&b_}, kept);
  Tick(181 * kDay_ns);
  CollectAll({&a_}, kept);  // of two hosts it may leave the other behind
  const auto of_a = Cut(a_, b_->Known()), of_b = Cut(b_, a_->Known());
  const bool a_is_lower = a_->self() < b_->self();
  Host& stays = a_is_lower ? a_ : b_;
  Host& leaves = a_is_lower ? b_ : a_;
  EXPECT_EQ(Errno(EAGAIN), Give(stays, a_is_lower ? of_b : of_a).error());
  EXPECT_EQ(Errno(ESTALE), Give(leaves, a_is_lower ? of_a : of_b).error());
  EXPECT_FALSE(stays->WasLeftBehind().value());
  EXPECT_TRUE(leaves->WasLeftBehind().value());
}

// A host took others' files, was not heard of since, and edited what these deleted: they take
// nothing from it, and nobody else can bring it to them.
TEST_F(CollectionTest, WhoWasNeverHeardOfIsLeftBehind) {
  VersionLimits kept = NothingKept();
  kept.age_ns = 1000 * kDay_ns;
  a_.Create("/f", "1");
  Exchange({&a_, &b_});
  Send(a_, c_);
  Host d{'D', &wall_};
  Exchange({&c_, &d});
  c_.Write("/f", "2");
  Exchange({&c_, &d});
  a_.Unlink("/f");
  Exchange({&a_, &b_});
  CollectAll({&a_, &b_}, kept);
  EXPECT_EQ(Errno(EAGAIN), Give(a_, Cut(c_, a_->Known())).error());
  Send(a_, c_);
  EXPECT_TRUE(c_->WasLeftBehind().value()) << "d, which does not count, has no say in it";
  EXPECT_EQ((std::set<std::string>{"f=2"}), OwnWork(c_, a_->Known()));
}

// A cache that was put back from a copy lacks removals that the others let go of.
TEST_F(CollectionTest, AnOldCopyOfACacheBringsNothingBack) {
  a_.Create("/f", "1");
  Exchange(all_);
  c_.Close();
  const auto file = c_.dir() / "index.db";
  std::filesystem::copy_file(file, c_.dir() / "copy");
  c_.Reopen();
  a_.Unlink("/f");
  Exchange(all_);
  CollectAll(all_, NothingKept());
  c_.Close();
  for (const char* side : {"-wal", "-shm", ".ops"}) std::filesystem::remove(file.string() + side);
  std::filesystem::rename(c_.dir() / "copy", file);
  c_.Reopen();
  ASSERT_EQ("1", c_.Bytes("/f"));
  EXPECT_EQ(Errno(EAGAIN), Give(b_, Cut(c_, b_->Known())).error());
  auto given = Give(c_, Cut(b_, c_->Known()));
  if (!given && given.error() == make_error_code(Error::kNotCovered)) {
    given = Give(c_, Cut(b_, c_->Known()));
  }
  EXPECT_EQ(Errno(ESTALE), given.error());
  EXPECT_TRUE(b_.Show().empty());
}

}  // namespace
}  // namespace btfc::index
