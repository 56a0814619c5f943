// Catalogues in a temporary folder, with a clock and ids of the test's own.
#pragma once

#include <gtest/gtest.h>

#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "index/catalogue.h"
#include "index/merkle.h"
#include "tests/support/temp_dir.h"

namespace btfc::index {

using test::TempDir;

inline NewVersion VersionOf(const std::string& bytes, std::int64_t mtime_ns = 5) {
  NewVersion version;
  version.id = ContentIdOf(bytes);
  if (bytes.size() <= kInlineMax) version.inline_bytes = bytes;
  version.mtime_ns = mtime_ns;
  return version;
}

inline NewNode FileNode(std::uint32_t mode = 0644) {
  NewNode node;
  node.mode = mode;
  node.owner = {.uid = 1000, .gid = 1000, .user = "user", .group = "group"};
  return node;
}

inline AttributeChange ModeChange(std::uint32_t mode) {
  AttributeChange change;
  change.mode = mode;
  return change;
}

inline AttributeChange MtimeChange(std::int64_t mtime_ns) {
  AttributeChange change;
  change.mtime_ns = mtime_ns;
  return change;
}

inline NewNode FolderNode() {
  NewNode node = FileNode(0755);
  node.kind = Kind::kFolder;
  return node;
}

// One host. Operations by path fail the test if they fail.
class Host {
 public:
  explicit Host(char name, std::int64_t* wall, std::int64_t skew = 0)
      : name_(name), wall_(wall), skew_(skew) {
    Reopen();
  }

  // Its threads tell what is below, so it ends first.
  ~Host() { catalogue_.reset(); }
  Host(const Host&) = delete;
  Host& operator=(const Host&) = delete;

  // Closes and opens again; options may be changed before by `options`.
  void Reopen() {
    catalogue_.reset();
    auto opened = Catalogue::Open(Options());
    ASSERT_TRUE(opened) << opened.error().message();
    catalogue_ = std::move(opened).value();
    catalogue_->OnChange([this](const std::vector<Change>& changes) {
      const std::lock_guard lock(mutex_);
      changes_.insert(changes_.end(), changes.begin(), changes.end());
    });
    catalogue_->OnPublish([this] {
      const std::lock_guard lock(mutex_);
      ++published_;
      told_.notify_all();
    });
  }
  void Close() { catalogue_.reset(); }

  CatalogueOptions Options() const {
    CatalogueOptions options;
    options.path = dir_.path() / "index.db";
    options.node_key.fill(static_cast<std::uint8_t>(name_));
    options.cluster.fill(7);
    options.host_name = std::string(1, name_);
    options.now_ns = [wall = wall_, skew = skew_] { return *wall + skew; };
    return options;
  }

  Catalogue& operator*() { return *catalogue_; }
  Catalogue* operator->() { return catalogue_.get(); }
  const std::filesystem::path& dir() const { return dir_.path(); }
  std::vector<Change> TakeChanges() {
    const std::lock_guard lock(mutex_);
    return std::exchange(changes_, {});
  }
  int TakePublished() {
    const std::lock_guard lock(mutex_);
    return std::exchange(published_, 0);
  }
  // Whether it was said, or soon is, that there are new rows.
  bool AwaitPublished() {
    std::unique_lock lock(mutex_);
    const bool told =
        told_.wait_for(lock, std::chrono::seconds(30), [this] { return published_ > 0; });
    published_ = 0;
    return told;
  }

  // --- by path
  Ino Find(const std::string& path) {
    Ino ino = kRootIno;
    for (const auto& part : std::filesystem::path(path).relative_path()) {
      const auto node = catalogue_->Lookup(ino, part.string());
      if (!node) return 0;
      ino = node.value().ino;
    }
    return ino;
  }
  Ino Folder(const std::string& path) { return Find(std::filesystem::path(path).parent_path()); }
  static std::string Name(const std::string& path) {
    return std::filesystem::path(path).filename();
  }
  Node NodeAt(const std::string& path) {
    const auto node = catalogue_->Get(Find(path));
    EXPECT_TRUE(node) << path;
    return node ? node.value() : Node{};
  }
  std::string Bytes(const std::string& path) {
    const auto bytes = catalogue_->InlineBytes(Find(path));
    return bytes ? bytes.value() : "?";
  }

  Ino Make(const std::string& path, const NewNode& node) {
    const auto made = catalogue_->Make(Folder(path), Name(path), node);
    EXPECT_TRUE(made) << path << ": " << made.error().message();
    return made ? made.value().ino : 0;
  }
  Ino Mkdir(const std::string& path) { return Make(path, FolderNode()); }
  void Commit(Ino ino, const std::string& bytes) {
    const auto committed = catalogue_->Commit(ino, VersionOf(bytes), false);
    EXPECT_TRUE(committed) << committed.error().message();
  }
  Ino Create(const std::string& path, const std::string& bytes) {
    const Ino ino = Make(path, FileNode());
    Commit(ino, bytes);
    return ino;
  }
  void Write(const std::string& path, const std::string& bytes) {
    const Ino ino = Find(path);
    EXPECT_TRUE(catalogue_->BeginWrite(ino, false));
    Commit(ino, bytes);
  }
  void Unlink(const std::string& path) {
    const auto done = catalogue_->Unlink(Folder(path), Name(path));
    EXPECT_TRUE(done) << path << ": " << done.error().message();
  }
  void Rename(const std::string& from, const std::string& to, unsigned flags = 0) {
    const auto done = catalogue_->Rename(Folder(from), Name(from), Folder(to), Name(to), flags);
    EXPECT_TRUE(done) << from << ": " << done.error().message();
  }
  void Link(const std::string& path, const std::string& to) {
    EXPECT_TRUE(catalogue_->Link(Find(path), Folder(to), Name(to)));
  }

  // path -> bytes of files, "/" for folders, "-> target" of symlinks
  std::map<std::string, std::string> Show() {
    std::map<std::string, std::string> tree;
    ShowBelow(kRootIno, "", tree);
    return tree;
  }

 private:
  void ShowBelow(Ino folder, const std::string& path, std::map<std::string, std::string>& tree) {
    const auto entries = catalogue_->List(folder, 0, 100000);
    ASSERT_TRUE(entries);
    for (const auto& entry : entries.value()) {
      const std::string at = path + "/" + entry.name;
      EXPECT_FALSE(tree.contains(at));
      if (entry.node.kind == Kind::kFolder) {
        tree[at] = "/";
        ShowBelow(entry.node.ino, at, tree);
      } else if (entry.node.kind == Kind::kSymlink) {
        tree[at] = "-> " + catalogue_->Target(entry.node.ino).value();
      } else {
        const auto bytes = catalogue_->InlineBytes(entry.node.ino);
        tree[at] = bytes ? bytes.value() : "(" + ToHex(entry.node.content.id).substr(0, 4) + ")";
      }
    }
  }

  const char name_;
  std::int64_t* const wall_;
  const std::int64_t skew_;
  TempDir dir_;
  std::unique_ptr<Catalogue> catalogue_;
  std::mutex mutex_;  // of changes_
  std::vector<Change> changes_;
  std::condition_variable told_;
  int published_ = 0;
};

using Parts = std::vector<std::string>;

// What `from` has and a host that knows `since` lacks.
inline Parts Cut(Host& from, const Summary& since) {
  Parts parts;
  const auto reader = from->Cut(since);
  EXPECT_TRUE(reader);
  if (!reader || reader.value() == nullptr) return parts;
  for (;;) {
    const auto part = reader.value()->Next();
    EXPECT_TRUE(part);
    if (!part || !part.value()) return parts;
    EXPECT_LE(part.value()->size(), kDeltaPartMax);
    parts.push_back(*part.value());
  }
}

inline Result<void> Give(Host& to, const Parts& parts) {
  if (parts.empty()) return Ok();
  const auto writer = to->Receive();
  for (const auto& part : parts) {
    const auto added = writer->Add(part);
    if (!added) return added.error();
  }
  return writer->Finish();
}

inline void Send(Host& from, Host& to) {
  const auto given = Give(to, Cut(from, to->Known()));
  EXPECT_TRUE(given) << given.error().message();
}

// Until nobody has anything for anybody; then all show the same, which is the answer.
inline std::map<std::string, std::string> Exchange(const std::vector<Host*>& hosts) {
  for (int round = 0;; ++round) {
    EXPECT_LT(round, 8) << "no quiet";
    bool quiet = true;
    for (Host* from : hosts) {
      for (Host* to : hosts) {
        const Parts parts = from == to ? Parts() : Cut(*from, (*to)->Known());
        quiet = quiet && parts.empty();
        EXPECT_TRUE(Give(*to, parts));
      }
    }
    if (quiet || round == 8) break;
  }
  for (Host* host : hosts) {
    EXPECT_TRUE((*host)->CheckIntegrity());
    EXPECT_EQ((*hosts.front())->Known(), (*host)->Known());
    EXPECT_EQ(hosts.front()->Show(), host->Show());
  }
  return hosts.front()->Show();
}

class CatalogueTest : public testing::Test {
 protected:
  static constexpr std::int64_t kStart = 1'000'000'000'000'000'000;  // 2001-09-09
  std::int64_t wall_ = kStart;
  void Tick(std::int64_t ns = 1'000'000'000) { wall_ += ns; }
  // The only one.
  static std::string Conflict(Host& host) {
    const auto paths = host->Conflicts(10).value();
    EXPECT_EQ(1u, paths.size());
    return paths.empty() ? "" : paths.front();
  }
};

}  // namespace btfc::index
