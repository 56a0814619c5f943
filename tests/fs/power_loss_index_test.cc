// The power is cut at any moment: the index opens, is one that has been, and none from before the
// last sync.
#include <map>

#include "tests/fs/disk_log.h"
#include "tests/fs/files_fixture.h"
#include "tests/fs/power_loss.h"

namespace btfc::fs {
namespace {

class CatalogueHistory {
 public:
  explicit CatalogueHistory(const std::filesystem::path& folder) : log_(folder) {
    options_.path = folder / "index.db";
    options_.node_key.fill(1);
    options_.cluster.fill(7);
    options_.host_name = "a";
  }

  // Operations of all kinds, some syncs, and a restart now and then.
  void Happen(unsigned operations) {
    Open();
    for (unsigned i = 0; i < operations; ++i) {
      if (random_() % 400 == 0) Open();
      moments_.push_back({log_.Now(), {}});
      Operate();
      moments_.back().dump = Dump(*catalogue_);
      if (random_() % 12 == 0) {
        ASSERT_TRUE(catalogue_->Sync());
        synced_.push_back({log_.Now(), moments_.size() - 1});
      }
    }
    catalogue_.reset();
    log_.Stop();
  }

  std::size_t events() const { return log_.Now(); }

  // The index after a power cut is one that has been, and none from before the last sync.
  void Check(std::uint64_t seed, const std::filesystem::path& to) {
    Random random(seed);
    const auto events = random() % (log_.Now() + 1);
    SCOPED_TRACE("seed " + std::to_string(seed) + ", after event " + std::to_string(events));
    log_.Rebuild(events, seed, to);
    auto options = options_;
    options.path = to / "index.db";
    if (random() % 2 == 0) Reboot(options.path);
    auto opened = index::Catalogue::Open(options);
    ASSERT_TRUE(opened) << opened.error().message();
    ASSERT_TRUE(opened.value()->CheckIntegrity());
    std::size_t first = 0;
    for (const auto& [at, moment] : synced_) {
      if (at <= events) first = moment;
    }
    const auto dump = Dump(*opened.value());
    bool known = synced_.empty() || events < synced_.front().first ? dump.empty() : false;
    for (auto at = first; at < moments_.size() && moments_[at].began <= events && !known; ++at) {
      known = moments_[at].dump == dump;
    }
    ASSERT_TRUE(known) << "the index after the power cut never was like this:\n" << dump;
    // And it goes on.
    index::NewNode node;
    ASSERT_TRUE(opened.value()->Make(index::kRootIno, "afterwards", node));
    ASSERT_TRUE(opened.value()->Sync());
  }

 private:
  struct Moment {
    std::size_t began = 0;  // events before it
    std::string dump;       // after it
  };

  void Open() {
    catalogue_.reset();
    auto opened = index::Catalogue::Open(options_);
    ASSERT_TRUE(opened) << opened.error().message();
    catalogue_ = std::move(opened.value());
  }

  std::string Name() { return "n" + std::to_string(random_() % 20); }

  void Operate() {
    const auto name = Name();
    const auto found = catalogue_->Lookup(index::kRootIno, name);
    if (!found) {
      index::NewNode node;
      node.mode = 0600;
      node.kind = random_() % 5 == 0 ? index::Kind::kSymlink : index::Kind::kFile;
      if (node.kind == index::Kind::kSymlink) node.target = Name();
      ASSERT_TRUE(catalogue_->Make(index::kRootIno, name, node));
      return;
    }
    const auto ino = found.value().ino;
    switch (random_() % 6) {
      case 0:
        ASSERT_TRUE(catalogue_->Unlink(index::kRootIno, name));
        ASSERT_TRUE(catalogue_->Forget(ino));
        return;
      case 1: {
        const auto other = Name();
        const auto replaced = catalogue_->Rename(index::kRootIno, name, index::kRootIno, other, 0);
        ASSERT_TRUE(replaced) << replaced.error().message();
        return;
      }
      case 2: {
        index::AttributeChange change;
        change.mode = random_() % 0777;
        ASSERT_TRUE(catalogue_->SetAttributes(ino, change));
        return;
      }
      default:
        if (found.value().kind != index::Kind::kFile) return;
        index::NewVersion version;
        version.inline_bytes =
            Bytes(random_() % index::kInlineMax, static_cast<std::uint32_t>(random_()));
        version.id = index::ContentIdOf(version.inline_bytes);
        version.mtime_ns = static_cast<std::int64_t>(random_() % 1000);
        ASSERT_TRUE(catalogue_->BeginWrite(ino, random_() % 4 == 0));
        ASSERT_TRUE(catalogue_->Commit(ino, version, false));
    }
  }

  static std::string Dump(index::Catalogue& catalogue) {
    std::string dump;
    const auto listed = catalogue.List(index::kRootIno, 0, 1000);
    EXPECT_TRUE(listed);
    if (!listed) return "?";
    std::map<std::string, std::string> lines;
    for (const auto& [name, node, cookie] : listed.value()) {
      auto& line = lines[name];
      line = std::to_string(node.ino) + " " + std::to_string(node.mode) + " " +
             std::to_string(node.nlink) + " " + std::to_string(node.mtime_ns);
      if (node.kind == index::Kind::kSymlink) line += " " + catalogue.Target(node.ino).value();
      if (node.content.state != index::Content::State::kInline) continue;
      const auto bytes = catalogue.InlineBytes(node.ino);
      EXPECT_TRUE(bytes && index::ContentIdOf(bytes.value()) == node.content.id) << name;
      line += " " + index::ToHex(node.content.id);
    }
    for (const auto& [name, line] : lines) dump += name + " " + line + "\n";
    return dump;
  }

  Random random_{7};
  DiskLog log_;
  index::CatalogueOptions options_;
  std::unique_ptr<index::Catalogue> catalogue_;
  std::vector<Moment> moments_;
  std::vector<std::pair<std::size_t, std::size_t>> synced_;  // after so many events, this moment
};

TEST(PowerLoss, TheIndexIsOneThatHasBeen) {
  const TempDir folder("power");
  CatalogueHistory history(folder.path());
  ASSERT_NO_FATAL_FAILURE(history.Happen(1500));
  ASSERT_GT(history.events(), 1000U);
  for (unsigned seed = 1; seed <= Cuts(60); ++seed) {
    const TempDir after("power-after");
    ASSERT_NO_FATAL_FAILURE(history.Check(seed, after.path()));
  }
}

}  // namespace
}  // namespace btfc::fs
