// Each system call that changes the disk fails once in turn, while files are made, edited, renamed
// over, removed and fetched. What was answered as done is done; what failed is not there by half;
// everything goes on afterwards, and after a crash, too.
#include "tests/fs/io_faults.h"

#include <cstdlib>

#include "tests/fs/files_fixture.h"

namespace btfc::fs {
namespace {

class Story {
 public:
  Story() : host_('a') {
    host_.options.commit_retry = std::chrono::milliseconds(2);
    host_.Start();
    for (const auto size : {kSmall, kMiddle, kLarge}) {
      const auto name = "old" + std::to_string(size);
      host_.File(name, Bytes(size));
      allowed_[name] = {Bytes(size)};
    }
    arriving_ = host_.File("arriving", Bytes(kMiddle, 7));
    allowed_["arriving"] = {Bytes(kMiddle, 7)};
    host_.File("target", "target");
    allowed_["target"] = {"target"};
    host_.File("removed", Bytes(kMiddle, 8));
    allowed_["removed"] = {Bytes(kMiddle, 8)};
    EXPECT_TRUE(Eventually([&] { return host_.WorkNames().empty(); }));
  }

  // With a fault somewhere in it.
  void Happen() {
    for (const auto size : {kSmall, kMiddle, kLarge}) {
      Create("new" + std::to_string(size), Bytes(size, 2));
      Edit("old" + std::to_string(size), "edited");
    }
    Rename("new" + std::to_string(kSmall), "target");
    Remove("removed");
    Arrive();
  }

  // Without one any more.
  void Check() {
    ASSERT_TRUE(host_.Quiet()) << "a commit was given up";
    Compare();
    for (const auto& entry : allowed_) {
      if (!Exists(entry.first)) continue;
      const auto before = host_.ReadAll(host_.Find(entry.first));
      ASSERT_TRUE(Edit(entry.first, "works again"));
      allowed_[entry.first] = {"works again" +
                               before.substr(std::min<std::size_t>(11, before.size()))};
    }
    ASSERT_TRUE(Create("afterwards", Bytes(kMiddle, 9)));
    ASSERT_TRUE(host_.Quiet());
    Compare();
    host_.Crash();
    host_.Start();
    ASSERT_TRUE(host_.Quiet());
    Compare();
    EXPECT_TRUE(host_.catalogue->CheckIntegrity());
    EXPECT_TRUE(host_.catalogue->DirtyFiles().value().empty());
    EXPECT_TRUE(std::filesystem::is_empty(host_.store->lost_folder()));
  }

 private:
  bool Exists(const std::string& name) {
    return host_.catalogue->Lookup(index::kRootIno, name).has_value();
  }

  bool Create(const std::string& name, const std::string& bytes) {
    allowed_[name] = {"(absent)", "", bytes};
    index::NewNode node;
    node.mode = 0644;
    const auto made = host_.catalogue->Make(index::kRootIno, name, node);
    if (!made) return false;
    const auto opened = host_.files->Create(made.value().ino, O_RDWR);
    if (!opened) {  // as the mount does it
      if (host_.catalogue->Unlink(index::kRootIno, name)) host_.files->Forgotten(made.value().ino);
      return false;
    }
    return WriteAndClose(name, opened.value().handle, bytes, bytes);
  }

  bool Edit(const std::string& name, const std::string& patch) {
    const auto before = allowed_[name].front();
    const auto after = patch + before.substr(std::min(patch.size(), before.size()));
    const auto node = host_.catalogue->Lookup(index::kRootIno, name);
    if (!node) return false;
    const auto opened = host_.Open(node.value().ino, O_RDWR);
    if (!opened) return false;
    return WriteAndClose(name, opened.value().handle, patch, after);
  }

  bool WriteAndClose(const std::string& name, Handle handle, const std::string& bytes,
                     const std::string& after) {
    const auto written = host_.files->Write(handle, 0, bytes);
    const bool whole = written && written.value() == bytes.size();
    const auto synced = host_.files->Fsync(handle, false);
    const auto flushed = host_.files->Flush(handle);
    host_.files->Release(handle);
    if (whole && flushed) {
      allowed_[name] = {after};
    } else {
      allowed_[name].push_back(after);
    }
    (void)host_.Quiet();
    return whole && flushed && synced;
  }

  void Rename(const std::string& from, const std::string& to) {
    const auto renamed = host_.catalogue->Rename(index::kRootIno, from, index::kRootIno, to, 0);
    if (!renamed) return;
    allowed_[to] = allowed_[from];
    allowed_.erase(from);
    if (renamed.value()) host_.files->Forgotten(renamed.value()->ino);
  }

  void Remove(const std::string& name) {
    const auto removed = host_.catalogue->Unlink(index::kRootIno, name);
    if (!removed) return;
    allowed_.erase(name);
    host_.files->Forgotten(removed.value().ino);
  }

  // Damaged, and fetched again.
  void Arrive() {
    const auto id = index::ContentIdOf(Bytes(kMiddle, 7));
    if (!host_.catalogue->SetPresent(id, false)) return;
    (void)host_.store->Demote(id);
    // The swarm tries again until it works.
    for (int tries = 0; tries < 3; ++tries) {
      if (host_.store->Adopt(id) && host_.catalogue->SetPresent(id, true)) break;
      if (host_.store->Has(id) && host_.catalogue->SetPresent(id, true)) break;
    }
    host_.files->Arrived(id);
  }

  void Compare() {
    for (const auto& [name, contents] : allowed_) {
      const auto there = Exists(name) ? host_.ReadAll(host_.Find(name)) : "(absent)";
      EXPECT_TRUE(std::find(contents.begin(), contents.end(), there) != contents.end())
          << name << " holds " << there.size() << " bytes: " << there.substr(0, 40);
    }
    const auto listed = host_.catalogue->List(index::kRootIno, 0, 100);
    ASSERT_TRUE(listed);
    for (const auto& entry : listed.value()) {
      EXPECT_TRUE(allowed_.contains(entry.name)) << entry.name << " was made by nobody";
    }
  }

  Host host_;
  index::Ino arriving_ = 0;
  std::map<std::string, std::vector<std::string>> allowed_;
};

class IoFaultsTest : public testing::TestWithParam<int> {};
INSTANTIATE_TEST_SUITE_P(Errors, IoFaultsTest, testing::Values(EIO, ENOSPC, EMFILE),
                         [](const auto& error) {
                           return error.param == EIO      ? std::string("Eio")
                                  : error.param == ENOSPC ? std::string("Enospc")
                                                          : std::string("Emfile");
                         });

TEST_P(IoFaultsTest, EachCallFailsOnce) {
  WatchSqlite();
  // In the ordinary run some of them.
  EachCallFailsOnce<Story>(GetParam(), 51, std::getenv("BTFC_LONG") != nullptr ? 1 : 25);
}

}  // namespace
}  // namespace btfc::fs
