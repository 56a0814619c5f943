// Local operations that write at once what merging would come to (index/alone.cc), beside a host
// that merges the same rows: what derives from them has to be the same.
#include <fmt/format.h>
#include <sqlite3.h>

#include <random>

#include "catalogue_fixture.h"

namespace btfc::index {
namespace {

constexpr unsigned kSeeds = 30;
constexpr int kSteps = 60;

// What a catalogue that is closed holds, in names that both hosts know.
std::vector<std::string> Rows(const Host& host, const char* sql) {
  sqlite3* database = nullptr;
  const auto file = host.dir() / "index.db";
  EXPECT_EQ(SQLITE_OK, sqlite3_open_v2(file.c_str(), &database, SQLITE_OPEN_READWRITE, nullptr));
  std::vector<std::string> rows;
  const auto add = [](void* to, int columns, char** values, char** /*names*/) {
    std::string row;
    for (int i = 0; i < columns; ++i)
      row += (values[i] != nullptr ? values[i] : "-") + std::string(" ");
    static_cast<std::vector<std::string>*>(to)->push_back(row);
    return 0;
  };
  EXPECT_EQ(SQLITE_OK, sqlite3_exec(database, sql, add, &rows, nullptr))
      << sqlite3_errmsg(database);
  sqlite3_close(database);
  return rows;
}

constexpr const char* kPlaces =
    "SELECT hex(p.id), hex(i.id), hex(u.id), hex(o.id), p.name, hex(w.id), p.prev_name, p.time, "
    "p.life, p.sub, p.dot_n, p.state, hex(m.id), p.conflict FROM place p "
    "LEFT JOIN inode i ON i.ino = p.ino LEFT JOIN inode u ON u.ino = p.up "
    "LEFT JOIN inode o ON o.ino = p.parent LEFT JOIN inode w ON w.ino = p.prev_parent "
    "LEFT JOIN inode m ON m.ino = p.merged ORDER BY p.id";
constexpr const char* kInodes =
    "SELECT hex(i.id), i.kind, i.pending, i.dot_n, i.a_dot_n, i.live_links, i.nlink, i.subfolders, "
    "v.commit_n, i.undeleted, i.removed IS NULL, i.gone <> 0, i.set_time, iif(i.kind = 2, 0, "
    "i.mtime) "
    "FROM inode i LEFT JOIN version v ON v.version = i.head ORDER BY i.id";
// Folders changed here also by what nobody else heard of.
constexpr const char* kTimes = "SELECT hex(id), iif(kind = 2, 0, ctime) FROM inode ORDER BY id";
constexpr const char* kRemovals =
    "SELECT hex(p.id), r.seen_time, r.seen_life, r.seen_sub, r.time, r.dot_n FROM removal r "
    "JOIN place p ON p.link = r.link ORDER BY p.id";
constexpr const char* kWaiting = "SELECT count(*) FROM pending_removal";

// Somebody who makes, writes, moves and removes at random, on one host.
class Actor {
 public:
  Actor(Host& host, std::mt19937& random) : host_(host), random_(random) {}

  void Step() {
    const std::string path = AnyPath();
    const std::string other = AnyPath();
    const bool there = host_.Find(path) != 0;
    switch (Below(8)) {
      case 0:
      case 1:
        if (!there) Make(path);
        break;
      case 2:
        if (there) Remove(path);
        break;
      case 3:
      case 4:
      case 5:
        if (there) Rename(path, other, 0);
        break;
      case 6:
        if (there) Rename(path, other, kExchange);
        if (there && host_.Find(other) == 0 && !IsFolder(path)) host_.Link(path, other);
        break;
      default:
        if (!open_.empty()) {
          CloseLast();
        } else if (there && host_.NodeAt(path).kind == Kind::kFile) {
          host_.Write(path, AnyBytes());
        }
    }
  }
  void CloseAll() {
    while (!open_.empty()) CloseLast();
  }

 private:
  std::size_t Below(std::size_t n) { return random_() % n; }
  std::string AnyBytes() { return fmt::format("{}", random_()); }
  std::string AnyPath() {
    constexpr const char* kFolders[] = {"/d/", "/d/", "/e/"};
    constexpr const char* kSuffix = " (conflict A 2001-09-09-0a1b2c)";
    return fmt::format("{}{}{}", kFolders[Below(3)], Below(6), Below(12) == 0 ? kSuffix : "");
  }
  bool IsFolder(const std::string& path) { return host_.NodeAt(path).kind == Kind::kFolder; }
  void Remove(const std::string& path) {
    if (IsFolder(path)) {
      EXPECT_TRUE(host_->RemoveFolder(host_.Folder(path), Host::Name(path)));
    } else {
      host_.Unlink(path);
    }
  }
  // May be refused: a folder over a file, a name that is not there.
  void Rename(const std::string& from, const std::string& to, unsigned flags) {
    (void)host_->Rename(host_.Folder(from), Host::Name(from), host_.Folder(to), Host::Name(to),
                        flags);
  }
  void Make(const std::string& path) {
    NewNode node = FileNode();
    if (Below(6) == 0) {
      node.kind = Kind::kSymlink;
      node.target = "somewhere";
    }
    if (Below(6) == 0) node = FolderNode();
    const Ino ino = host_.Make(path, node);
    if (Below(6) == 0) {
      EXPECT_TRUE(host_->SetAttributes(ino, MtimeChange(7)));
    }
    if (node.kind != Kind::kFile) return;
    open_.push_back(ino);
    if (Below(2) == 0) CloseLast();
  }
  // The last writer of a file that waits for its first content: it is there now, or never was.
  void CloseLast() {
    const Ino ino = open_.back();
    open_.pop_back();
    if (!host_->Commit(ino, VersionOf(AnyBytes()), false)) {
      EXPECT_TRUE(host_->Forget(ino));
    }
  }

  Host& host_;
  std::mt19937& random_;
  std::vector<Ino> open_;
};

class AloneTest : public CatalogueTest, public testing::WithParamInterface<unsigned> {
 protected:
  void Run(const std::vector<Actor*>& actors) {
    random_.seed(GetParam());
    for (const char* folder : {"/d", "/e"}) a_.Mkdir(folder);
    Send(a_, b_);
    for (int step = 0; step < kSteps && !HasFailure(); ++step) {
      for (Actor* actor : actors) actor->Step();
      Tick(1000);
      if (random_() % 8 == 0) Send(a_, b_);
      if (random_() % 8 == 0) Send(b_, a_);
    }
    for (Actor* actor : actors) actor->CloseAll();
    Exchange({&a_, &b_});
    a_.Close();
    b_.Close();
  }
  void ExpectSame(const char* sql) { EXPECT_EQ(Rows(a_, sql), Rows(b_, sql)) << sql; }

  std::mt19937 random_;
  Host a_{'A', &wall_}, b_{'B', &wall_};
  Actor on_a_{a_, random_}, on_b_{b_, random_};
};

TEST_P(AloneTest, DerivesWhatMergingDerives) {
  Run({&on_a_});
  for (const char* sql : {kPlaces, kInodes, kTimes, kRemovals, kWaiting}) ExpectSame(sql);
}

TEST_P(AloneTest, IsNotAloneWhereOthersAre) {
  Run({&on_a_, &on_b_});
  for (const char* sql : {kPlaces, kInodes, kRemovals, kWaiting}) ExpectSame(sql);
}

class AloneAtNameTest : public CatalogueTest {};

// Before anybody else has heard of it: no delta's repairs come to help.
TEST_F(AloneAtNameTest, AFirstContentMeetsWhatCameMeanwhile) {
  Host a('A', &wall_);
  Host b('B', &wall_);
  const Ino waits = a.Make("/f", FileNode());
  b.Create("/f", "theirs");
  Send(b, a);
  a.Commit(waits, "ours");
  EXPECT_EQ(2U, a.Show().size());
}

// The removal of a replaced file waits for the new one's content, and the file is elsewhere by
// then.
TEST_F(AloneAtNameTest, AReplacedFileThatWasMovedMeanwhileStays) {
  Host a('A', &wall_);
  Host b('B', &wall_);
  a.Create("/f", "old");
  Send(a, b);
  const Ino waits = a.Make("/temporary", FileNode());
  a.Rename("/temporary", "/f");
  Tick(1000);
  b.Rename("/f", "/g");
  Send(b, a);
  a.Commit(waits, "new");
  Exchange({&a, &b});
  EXPECT_EQ(2U, a.Show().size());
  EXPECT_EQ(a.Show(), b.Show());
}

INSTANTIATE_TEST_SUITE_P(Seeds, AloneTest, testing::Range(1U, kSeeds + 1));

}  // namespace
}  // namespace btfc::index
