// What is taken up of an index that was left behind: its own work, and what it had deleted.
#include "mount-helper/rebuild.h"

#include <gtest/gtest.h>
#include <sqlite3.h>

#include <filesystem>
#include <memory>

#include "tests/index/three_hosts_fixture.h"

namespace btfc::mount_helper {
namespace {

using index::Cut;
using index::Exchange;
using index::Give;
using Tree = std::map<std::string, std::string>;

class RebuildTest : public index::ThreeHostsTest {
 protected:
  void SetUp() override {
    for (const char* path : {"/traces", "/deleted", "/doc", "/edited"}) a_.Create(path, "1");
    Exchange(all_);
    Tick();
    c_.Unlink("/deleted");
    c_.Unlink("/edited");
    // As editors save.
    c_.Create("/doc~", "2");
    c_.Rename("/doc~", "/doc");
    a_.Write("/edited", "by a");
    a_.Unlink("/traces");
    Exchange({&a_, &b_});
  }
  // c is left behind, and begins anew.
  void BeginAnew() {
    CollectAll({&a_, &b_}, NothingKept());
    Tick(181 * index::kDay_ns);
    CollectAll({&a_, &b_}, NothingKept());
    EXPECT_FALSE(Give(c_, Cut(a_, c_->Known())));
    ASSERT_TRUE(c_->WasLeftBehind().value());
    c_.Close();
    ASSERT_TRUE(PutIndexAside(c_.dir()));
    c_.Reopen();
    EXPECT_EQ((Tree{{"/deleted", "1"}, {"/doc", "1"}, {"/edited", "by a"}}), Exchange(all_));
    Tick();
  }
  Result<Rescued> TakeUp(const std::function<bool()>& cancelled = [] { return false; }) {
    BTFC_TRY(store, fs::ObjectStore::Open(c_.dir()));
    return TakeUpRebuild(c_.dir(), *c_, *store, {}, cancelled, [](const auto&) {});
  }
};

TEST_F(RebuildTest, WhatWasDeletedAndSavedOnAHostThatWasLeftBehindIsSoEverywhere) {
  BeginAnew();
  const auto rescued = TakeUp();
  ASSERT_TRUE(rescued) << rescued.error().message();
  EXPECT_EQ(1U, rescued.value().files);
  EXPECT_EQ(2U, rescued.value().removed);
  EXPECT_EQ((Tree{{"/doc", "2"}, {"/edited", "by a"}}), Exchange(all_));
  EXPECT_FALSE(RebuildPending(c_.dir()));
}

TEST_F(RebuildTest, WhatWasInterruptedIsTakenUpAgain) {
  BeginAnew();
  const auto interrupted = TakeUp([this] { return c_.Find("/doc") == 0; });
  EXPECT_EQ(make_error_code(Error::kCancelled), interrupted.error());
  EXPECT_EQ((Tree{{"/edited", "by a"}}), Exchange(all_)) << "deleted, and nothing taken in yet";
  EXPECT_TRUE(RebuildPending(c_.dir()));
  // Somebody wants it after all.
  ASSERT_TRUE(b_->Undelete("/deleted", {}));
  Exchange(all_);
  c_.Reopen();
  const auto rescued = TakeUp();
  ASSERT_TRUE(rescued) << rescued.error().message();
  EXPECT_EQ(0U, rescued.value().removed);
  const Tree expected{{"/deleted", "1"}, {"/doc", "2"}, {"/edited", "by a"}};
  EXPECT_EQ(expected, Exchange(all_));
  EXPECT_FALSE(RebuildPending(c_.dir()));
}

// It may be what the deleted one was replaced by.
TEST_F(RebuildTest, NothingIsDeletedAgainIfSomethingIsLost) {
  c_.Create("/large", std::string(index::kInlineMax + 1, 'x'));  // without its object
  BeginAnew();
  const auto rescued = TakeUp();
  ASSERT_TRUE(rescued) << rescued.error().message();
  EXPECT_EQ(1U, rescued.value().lost);
  EXPECT_EQ(0U, rescued.value().removed);
  const auto tree = Exchange(all_);
  EXPECT_EQ("1", tree.at("/deleted"));
  EXPECT_EQ("1", tree.at("/doc"));
  EXPECT_FALSE(tree.contains("/large")) << "a file without its bytes";
}

TEST_F(RebuildTest, NothingIsDeletedAgainIfSmallContentsAreDamaged) {
  BeginAnew();
  sqlite3* database = nullptr;
  ASSERT_EQ(SQLITE_OK, sqlite3_open((c_.dir() / "damaged/index.db").c_str(), &database));
  const char* damage = "UPDATE version SET inline = x'33' WHERE inline = x'32'";
  EXPECT_EQ(SQLITE_OK, sqlite3_exec(database, damage, nullptr, nullptr, nullptr));
  EXPECT_EQ(1, sqlite3_changes(database));
  sqlite3_close(database);
  const auto rescued = TakeUp();
  ASSERT_TRUE(rescued) << rescued.error().message();
  EXPECT_EQ(1U, rescued.value().lost);
  EXPECT_EQ(0U, rescued.value().removed);
  EXPECT_EQ((Tree{{"/deleted", "1"}, {"/doc", "1"}, {"/edited", "by a"}}), Exchange(all_));
}

}  // namespace
}  // namespace btfc::mount_helper
