// The power is cut at any moment: what fsync and the like returned for is there, nothing that was
// safe before is damaged, and everything goes on.
#include "tests/fs/power_loss.h"

#include <algorithm>
#include <set>
#include <sstream>

#include "tests/fs/disk_log.h"
#include "tests/fs/files_fixture.h"

namespace btfc::fs {
namespace {

constexpr const char* kAbsent = "(absent)";

// What an application was told, and what the disk must hold for it.
class FilesHistory {
 public:
  explicit FilesHistory(const std::filesystem::path& folder)
      : log_(folder), host_(std::in_place, 'a', folder) {}

  void Happen(unsigned operations) {
    host_->Start();
    for (unsigned i = 0; i < operations; ++i) {
      Operate();
      if (random_() % 3 == 0) {
        ASSERT_TRUE(host_->Quiet());
      }
      if (random_() % 30 == 0) {
        ASSERT_TRUE(Eventually([&] { return host_->WorkNames().empty(); }));
      }
      if (random_() % 20 == 0) {
        host_->Stop();
        host_->Crash();
        host_->Start();
      }
    }
    host_.reset();
    log_.Stop();
  }

  std::size_t events() const { return log_.Now(); }

  void Check(std::uint64_t seed, const std::filesystem::path& to) {
    Random random(seed);
    const auto events = Moment(random);
    SCOPED_TRACE("seed " + std::to_string(seed) + ", after event " + std::to_string(events));
    log_.Rebuild(events, seed, to);
    if (random() % 2 == 0) Reboot(to / "index.db");
    Host after('a', to);
    for (const bool again : {false, true}) {
      if (testing::Test::HasFatalFailure()) return;
      if (again) after.Crash();
      ASSERT_NO_FATAL_FAILURE(after.Start());
      ASSERT_TRUE(after.Quiet());
      Compare(after, events);
      ASSERT_TRUE(after.catalogue->CheckIntegrity());
    }
    ASSERT_TRUE(after.File("afterwards", Bytes(kMiddle, 9)) != 0);
  }

 private:
  // Anywhere, or soon after something was promised.
  std::size_t Moment(Random& random) const {
    const auto all = log_.Now();
    const auto file = std::next(files_.begin(), static_cast<long>(random() % files_.size()));
    const auto& promises = file->second.promises;
    if (promises.empty() || random() % 2 == 0) return random() % (all + 1);
    return std::min(all, promises[random() % promises.size()].from + random() % 40);
  }

  // What a name must hold if the power goes after so many events, until the next one.
  struct Promise {
    std::size_t from = 0;  // events
    std::vector<std::string> contents{};
    bool anything = false;  // as long as it is there
    bool absent = false;    // it may be absent, too
  };
  struct File {
    std::vector<Promise> promises;
    std::optional<std::string> now;   // as everybody on this host sees it
    bool named = false;               // the name was synced
    bool removed = false;             // a removal was not: what was there may come back
    std::optional<std::string> safe;  // this content was
  };

  void Promised(const std::string& name, Promise promise) {
    promise.from = log_.Now();
    files_[name].promises.push_back(std::move(promise));
  }

  bool Chance(unsigned of) { return random_() % of == 0; }
  std::string NewBytes() {
    const auto which = random_() % 6;
    const auto size = which < 2 ? kSmall : which < 5 ? kMiddle : kLarge;
    return Bytes(size + random_() % 100, static_cast<std::uint32_t>(random_()));
  }

  void Operate() {
    const auto name = "f" + std::to_string(random_() % 6);
    if (!files_[name].now) return Chance(2) ? Save(name) : Write(name, NewBytes(), 0);
    switch (random_() % 7) {
      case 0:
        return Remove(name);
      case 1:
      case 2:
      case 3:
        return Save(name);
      default:
        return Write(name, Bytes(5000, static_cast<std::uint32_t>(random_())),
                     random_() % (files_[name].now->size() + 1));
    }
  }

  // In place; perhaps synced before it is closed.
  void Write(const std::string& name, const std::string& patch, std::size_t offset) {
    File& file = files_[name];
    const bool fresh = !file.now;
    Promised(name, {.anything = true, .absent = !file.named});
    file.safe.reset();
    const auto ino = fresh ? host_->Make(name) : host_->Find(name);
    const auto opened = fresh ? host_->Create(ino) : host_->MustOpen(ino, O_RDWR);
    std::string bytes = file.now.value_or("");
    for (std::size_t done = 0; done < patch.size(); done += 64 << 10U) {
      host_->Write(opened.handle, std::string_view(patch).substr(done, 64 << 10U), offset + done);
    }
    bytes.resize(std::max(bytes.size(), offset + patch.size()));
    bytes.replace(offset, patch.size(), patch);
    file.now = bytes;
    if (Chance(2)) {
      ASSERT_TRUE(host_->files->Fsync(opened.handle, Chance(2)));
      file.named = true;
      file.removed = false;
      file.safe = bytes;
      Promised(name, {.contents = {bytes}});
    }
    host_->Close(opened.handle);
  }

  // As an editor does it: a new file, synced, gets the name.
  void Save(const std::string& name) {
    File& file = files_[name];
    const auto bytes = NewBytes();
    const auto ino = host_->Make("new");
    const auto opened = host_->Create(ino);
    host_->Write(opened.handle, bytes);
    ASSERT_TRUE(host_->files->Fsync(opened.handle, Chance(2)));
    const bool closed = Chance(2);
    if (closed) host_->Close(opened.handle);
    Promise either{.contents = {bytes}, .absent = !file.named};
    if (file.safe) {
      either.contents.push_back(*file.safe);
    } else if (file.now || file.removed) {
      either.anything = true;
    }
    Promised(name, std::move(either));
    const auto renamed = host_->catalogue->Rename(index::kRootIno, "new", index::kRootIno, name, 0);
    ASSERT_TRUE(renamed);
    if (renamed.value()) {
      host_->files->Unlinked(renamed.value()->ino);
      host_->files->Forgotten(renamed.value()->ino);
    }
    if (!closed) host_->Close(opened.handle);
    file.now = bytes;
    file.safe.reset();
    if (Chance(2)) return;
    ASSERT_TRUE(host_->catalogue->Sync());  // fsync of the folder
    file.named = true;
    file.removed = false;
    file.safe = bytes;
    Promised(name, {.contents = {bytes}});
  }

  void Remove(const std::string& name) {
    File& file = files_[name];
    Promise either{.absent = true};
    if (file.safe) {
      either.contents = {*file.safe};
    } else {
      either.anything = true;
    }
    Promised(name, std::move(either));
    const auto removed = host_->catalogue->Unlink(index::kRootIno, name);
    ASSERT_TRUE(removed);
    host_->files->Unlinked(removed.value().ino);
    host_->files->Forgotten(removed.value().ino);
    file.now.reset();
    file.safe.reset();
    file.named = false;
    file.removed = true;
    if (Chance(2)) return;
    ASSERT_TRUE(host_->catalogue->Sync());
    file.removed = false;
    Promised(name, {.contents = {kAbsent}});
  }

  void Compare(Host& host, std::size_t events) {
    for (const auto& [name, file] : files_) {
      const Promise* holds = nullptr;
      for (const auto& promise : file.promises) {
        if (promise.from <= events) holds = &promise;
      }
      const auto node = host.catalogue->Lookup(index::kRootIno, name);
      if (holds == nullptr || !node) {
        EXPECT_TRUE(!node) << name << " was made by nobody";
        const bool may = holds == nullptr || holds->absent || holds->contents.front() == kAbsent;
        EXPECT_TRUE(may) << name << " is missing";
        continue;
      }
      if (holds->anything) continue;
      const auto bytes = host.ReadAll(node.value().ino);
      const auto& allowed = holds->contents;
      EXPECT_TRUE(std::find(allowed.begin(), allowed.end(), bytes) != allowed.end())
          << name << ", promised after event " << holds->from << ": "
          << Same(bytes, allowed.front()).message() << Origin(file, bytes) << "\n"
          << log_.Describe(holds->from < 60 ? 0 : holds->from - 60, events);
    }
  }

  static std::string Origin(const File& file, const std::string& bytes) {
    std::string origin;
    for (const auto& promise : file.promises) {
      const auto& contents = promise.contents;
      const bool same = std::find(contents.begin(), contents.end(), bytes) != contents.end();
      if (same) origin += "; the same was promised after event " + std::to_string(promise.from);
    }
    return origin;
  }

  Random random_{11};
  DiskLog log_;
  std::optional<Host> host_;
  std::map<std::string, File> files_;
};

TEST(PowerLoss, WhatWasSyncedIsThere) {
  const TempDir folder("power");
  FilesHistory history(folder.path());
  ASSERT_NO_FATAL_FAILURE(history.Happen(120));
  ASSERT_GT(history.events(), 1000U);
  for (unsigned seed = 1; seed <= Cuts(40); ++seed) {
    const TempDir after("power-after");
    ASSERT_NO_FATAL_FAILURE(history.Check(seed, after.path()));
    if (testing::Test::HasFailure()) return;
  }
}

// Its bytes go into the index, which is not synced for that; until it is, they are the working
// file's, whoever else has written to that since.
TEST(PowerLoss, WhatWasSyncedStaysWhenItIsWrittenAgainUnderAReader) {
  const TempDir folder("power");
  DiskLog log(folder.path());
  Host host('a', folder.path());
  host.Start(/*passthrough=*/true);
  const auto bytes = Bytes(kSmall);
  const auto ino = host.Make("f");
  const auto first = host.Create(ino);
  ASSERT_EQ(first.mode, KernelMode::kPassthrough);
  ASSERT_TRUE(WriteAll(host.backing.Open(first.backing_id, O_RDWR).get(), 0, bytes));
  ASSERT_TRUE(host.files->Fsync(first.handle, false));
  ASSERT_TRUE(host.catalogue->Sync());  // the name, as fsync of the folder does
  const auto promised = log.Now();
  const auto reader = host.MustOpen(ino, O_RDONLY);
  host.Close(first.handle);
  ASSERT_TRUE(host.Quiet());
  const auto second = host.MustOpen(ino, O_RDWR);
  ASSERT_EQ(second.backing_id, first.backing_id) << "it is the same working file";
  ASSERT_TRUE(WriteAll(host.backing.Open(second.backing_id, O_RDWR).get(), 0, "X"));
  host.Close(second.handle);
  ASSERT_TRUE(host.Quiet());
  host.Close(reader.handle);
  ASSERT_TRUE(host.Quiet());
  log.Stop();
  host.Stop();
  for (auto events = promised; events <= log.Now(); ++events) {
    SCOPED_TRACE("after event " + std::to_string(events));
    const TempDir to("power-after");
    log.Rebuild(events, events, to.path());
    Reboot(to.path() / "index.db");
    Host after('a', to.path());
    ASSERT_NO_FATAL_FAILURE(after.Start());
    ASSERT_TRUE(after.Quiet());
    const auto held = after.ReadAll(after.Find("f"));
    ASSERT_TRUE(held == bytes || held == "X" + bytes.substr(1))
        << Same(held, bytes).message() << log.Describe(promised, events);
  }
}

// Else a power cut could bring the row back whose object is gone.
TEST(PowerLoss, AnObjectGoesWhenItsRemovalIsOnTheDisk) {
  const TempDir folder("power");
  DiskLog log(folder.path());
  Host host('a', folder.path());
  host.options.collect_interval = std::chrono::milliseconds(1);
  host.options.versions.age_ns = 0;
  host.Start();
  const auto ino = host.File("f", Bytes(100'000, 0));
  constexpr unsigned kTimes = 4;
  std::vector<std::size_t> closed;  // nothing of the commit is written
  for (unsigned i = 0; i < kTimes; ++i) {
    // Or the sync that the names wait for would be taken for the object's.
    ASSERT_TRUE(Eventually([&] { return host.WorkNames().empty(); }));
    const auto object = host.store->ObjectPath(host.Id(ino));
    const auto opened = host.Open(ino, O_WRONLY | O_TRUNC);
    ASSERT_TRUE(opened);
    host.Write(opened.value().handle, Bytes(100'000, i + 1));
    ASSERT_FALSE(host.catalogue->Known().empty());  // what came before is
    closed.push_back(log.Now());
    host.Close(opened.value().handle);
    ASSERT_TRUE(host.Quiet());
    ASSERT_TRUE(Eventually([&] { return !std::filesystem::exists(object); }));
  }
  host.Stop();
  log.Stop();
  std::istringstream lines(log.Describe(0, log.Now()));
  std::set<std::string> logs;  // files called index.db-wal
  std::vector<std::size_t> written;
  std::vector<std::size_t> synced;
  std::vector<std::size_t> gone;
  for (std::string line; std::getline(lines, line);) {
    std::size_t at = 0;
    std::string word;
    std::istringstream(line) >> at >> word;
    const auto file = line.substr(line.find(" file ") + 6);
    const auto number = file.substr(0, file.find(' '));
    if (word == "make" && line.find("index.db-wal") != std::string::npos) logs.insert(number);
    if (word == "write" && logs.contains(number)) written.push_back(at);
    if (word == "sync" && logs.contains(number)) synced.push_back(at);
    if (word == "unlink" && line.find(" objects/") != std::string::npos) gone.push_back(at);
  }
  ASSERT_EQ(gone.size(), kTimes);
  const auto next = [](const std::vector<std::size_t>& events, std::size_t from) {
    const auto found = std::lower_bound(events.begin(), events.end(), from);
    return found == events.end() ? std::string::npos : *found;
  };
  for (unsigned i = 0; i < kTimes; ++i) {
    EXPECT_LT(next(synced, next(written, closed[i])), gone[i])
        << log.Describe(closed[i], gone[i] + 1);
  }
}

}  // namespace
}  // namespace btfc::fs
