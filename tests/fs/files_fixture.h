// Hosts with a real catalogue, a real store and Files, and a swarm played by the test.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <future>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "fs/clone.h"
#include "fs/fd.h"
#include "fs/files.h"
#include "fs/object_store.h"
#include "index/catalogue.h"
#include "index/merkle.h"
#include "tests/support/eventually.h"
#include "tests/support/needs.h"
#include "tests/support/temp_dir.h"

namespace btfc::fs {

inline constexpr std::chrono::seconds kPatience{30};

using test::Eventually;
using test::TempDir;

// Bytes without a pattern that two offsets share.
inline std::string Bytes(std::size_t size, std::uint32_t seed = 1) {
  std::string bytes(size, '\0');
  std::uint32_t x = seed * 2654435761U + 1;
  for (auto& byte : bytes) {
    x = x * 1664525U + 1013904223U;
    byte = static_cast<char>(x >> 24U);
  }
  return bytes;
}

// Compares long byte strings without printing them.
inline testing::AssertionResult Same(const std::string& got, const std::string& expected) {
  if (got == expected) return testing::AssertionSuccess();
  const auto differ = std::mismatch(got.begin(), got.end(), expected.begin(), expected.end());
  const auto at = static_cast<std::size_t>(differ.first - got.begin());
  return testing::AssertionFailure()
         << got.size() << " bytes, expected " << expected.size() << ", differ from " << at
         << " on: " << testing::PrintToString(got.substr(at, 32)) << " for "
         << testing::PrintToString(expected.substr(at, 32));
}

inline std::string ReadFile(const std::filesystem::path& path) {
  const auto fd = OpenFile(path, O_RDONLY);
  if (!fd) return "?";
  const auto st = StatOf(fd.value().get());
  auto bytes = ReadUpTo(fd.value().get(), 0, static_cast<std::size_t>(st.value().st_size));
  return bytes ? bytes.value() : "?";
}

inline void WriteFile(const std::filesystem::path& path, std::string_view bytes) {
  auto fd = OpenFile(path, O_CREAT | O_TRUNC | O_RDWR, 0600);
  ASSERT_TRUE(fd) << path;
  ASSERT_TRUE(WriteAll(fd.value().get(), 0, bytes));
}

// The swarm: requests wait until the test answers them; Withdraw is answered at once, on another
// thread, unless it is held.
class FakeSource final : public ContentSource {
 public:
  struct Asked {
    index::ContentId id;
    std::uint64_t offset = 0;
    std::uint64_t length = 0;
    Done done;
  };

  ~FakeSource() override {
    for (auto& thread : threads_) thread.join();
  }
  std::uint64_t Request(const index::ContentId& id, std::uint64_t offset, std::uint64_t length,
                        Done done) override {
    const std::lock_guard lock(mutex_);
    asked_[next_] = {id, offset, length, std::move(done)};
    return next_++;
  }
  void Cancel(std::uint64_t request) override {
    Done done;
    {
      const std::lock_guard lock(mutex_);
      ++cancelled_;
      const auto found = asked_.find(request);
      if (found == asked_.end()) return;
      done = std::move(found->second.done);
      asked_.erase(found);
    }
    done(Error::kCancelled);
  }
  void Hashed(const index::ContentId& id, const std::vector<index::Hash>& pieces) override {
    if (on_hashed) on_hashed();
    const std::lock_guard lock(mutex_);
    pieces_[id] = pieces;
  }
  std::optional<std::vector<index::Hash>> PiecesOf(const index::ContentId& id) override {
    const std::lock_guard lock(mutex_);
    const auto found = pieces_.find(id);
    if (found == pieces_.end()) return std::nullopt;
    return found->second;
  }
  void Available(const index::ContentId& id) override {
    const std::lock_guard lock(mutex_);
    available_.insert(id);
  }
  void Withdraw(const index::ContentId& id, std::function<void()> done) override {
    const std::lock_guard lock(mutex_);
    available_.erase(id);
    withdrawn_.insert(id);
    if (hold_withdrawals_) {
      held_.push_back(std::move(done));
    } else {
      threads_.emplace_back(std::move(done));
    }
  }

  std::function<void()> on_hashed;  // between hashing and the version's row

  // The next request that waits; the test answers it.
  Asked Take() {
    Asked taken;
    EXPECT_TRUE(Eventually([&] {
      const std::lock_guard lock(mutex_);
      if (asked_.empty()) return false;
      taken = std::move(asked_.begin()->second);
      asked_.erase(asked_.begin());
      return true;
    }));
    return taken;
  }
  std::size_t waiting() const {
    const std::lock_guard lock(mutex_);
    return asked_.size();
  }
  int cancelled() const {
    const std::lock_guard lock(mutex_);
    return cancelled_;
  }
  bool IsAvailable(const index::ContentId& id) const {
    const std::lock_guard lock(mutex_);
    return available_.contains(id);
  }
  bool WasWithdrawn(const index::ContentId& id) const {
    const std::lock_guard lock(mutex_);
    return withdrawn_.contains(id);
  }
  void HoldWithdrawals() {
    const std::lock_guard lock(mutex_);
    hold_withdrawals_ = true;
  }
  std::size_t held() const {
    const std::lock_guard lock(mutex_);
    return held_.size();
  }
  void LetWithdrawalsGo() {
    std::vector<std::function<void()>> held;
    {
      const std::lock_guard lock(mutex_);
      hold_withdrawals_ = false;
      held = std::exchange(held_, {});
    }
    for (const auto& done : held) done();
  }

 private:
  mutable std::mutex mutex_;
  std::map<std::uint64_t, Asked> asked_;
  std::uint64_t next_ = 1;
  int cancelled_ = 0;
  std::set<index::ContentId> available_, withdrawn_;
  std::map<index::ContentId, std::vector<index::Hash>> pieces_;
  bool hold_withdrawals_ = false;
  std::vector<std::function<void()>> held_;
  std::vector<std::thread> threads_;
};

// The kernel's side of passthrough: it opens the registered file itself, for the application.
class FakeBacking final : public Backing {
 public:
  Result<int> Register(int fd) override {
    const std::lock_guard lock(mutex_);
    if (refuse) return Errno(EPERM);
    EXPECT_EQ(::fcntl(fd, F_GETFL) & O_ACCMODE, O_RDONLY) << "no lease would be granted";
    files_[next_] = Fd(::fcntl(fd, F_DUPFD_CLOEXEC, 0));
    return next_++;
  }
  void Unregister(int backing_id) override {
    const std::lock_guard lock(mutex_);
    EXPECT_EQ(files_.erase(backing_id), 1U);
  }
  // What the kernel opens below an application's open.
  Fd Open(int backing_id, int flags) {
    const std::lock_guard lock(mutex_);
    const auto path = "/proc/self/fd/" + std::to_string(files_.at(backing_id).get());
    auto fd = OpenFile(path, flags);
    EXPECT_TRUE(fd);
    return fd ? std::move(fd.value()) : Fd();
  }
  // The kernel forgot them with the daemon that registered them.
  void Reset() {
    const std::lock_guard lock(mutex_);
    files_.clear();
  }
  std::size_t registered() const {
    const std::lock_guard lock(mutex_);
    return files_.size();
  }

  bool refuse = false;

 private:
  mutable std::mutex mutex_;
  std::map<int, Fd> files_;
  int next_ = 1;
};

template <class T>
class Answer {
 public:
  Files::Done<T> Done() {
    return [shared = shared_](Result<T> result) {
      const std::lock_guard lock(shared->mutex);
      EXPECT_FALSE(shared->result) << "answered twice";
      shared->result = std::move(result);
      shared->changed.notify_all();
    };
  }
  bool ready() const {
    const std::lock_guard lock(shared_->mutex);
    return shared_->result.has_value();
  }
  Result<T> Wait() {
    std::unique_lock lock(shared_->mutex);
    if (!shared_->changed.wait_for(lock, kPatience, [&] { return shared_->result.has_value(); })) {
      ADD_FAILURE() << "no answer";
      return Errno(ETIMEDOUT);
    }
    return *shared_->result;
  }

 private:
  struct Shared {
    std::mutex mutex;
    std::condition_variable changed;
    std::optional<Result<T>> result;
  };
  std::shared_ptr<Shared> shared_ = std::make_shared<Shared>();
};

// One host's cache and what runs on it.
class Host {
 public:
  explicit Host(char name) : name_(name) { OpenCatalogue(); }
  Host(char name, std::filesystem::path cache) : name_(name), cache_(std::move(cache)) {
    OpenCatalogue();
  }
  ~Host() { Stop(); }

  void OpenCatalogue() {
    index::CatalogueOptions config;
    config.path = cache_ / "index.db";
    config.node_key.fill(static_cast<std::uint8_t>(name_));
    config.cluster.fill(7);
    config.host_name = std::string(1, name_);
    auto opened = index::Catalogue::Open(config);
    ASSERT_TRUE(opened) << opened.error().message();
    catalogue = std::move(opened.value());
    auto objects = ObjectStore::Open(cache_);
    ASSERT_TRUE(objects) << objects.error().message();
    store = std::move(objects.value());
  }
  void Start(bool passthrough = false) {
    auto started = Files::Start(*catalogue, *store, source, options);
    ASSERT_TRUE(started) << started.error().message();
    files = std::move(started.value());
    if (passthrough) files->SetBacking(&backing);
    const auto recovered = files->Recover();
    ASSERT_TRUE(recovered) << recovered.error().message();
  }
  void Stop() {
    if (files) files->Stop();
    files.reset();
  }
  // As kill -9: nothing is committed or tidied up.
  void Crash() {
    files.reset();
    catalogue.reset();
    store.reset();
    OpenCatalogue();
  }

  // --- files
  index::Ino Make(const std::string& name) {
    index::NewNode node;
    node.mode = 0644;
    const auto made = catalogue->Make(index::kRootIno, name, node);
    EXPECT_TRUE(made) << made.error().message();
    return made ? made.value().ino : 0;
  }
  index::Ino Find(const std::string& name) {
    const auto node = catalogue->Lookup(index::kRootIno, name);
    EXPECT_TRUE(node) << name;
    return node ? node.value().ino : 0;
  }
  Result<Opened> Open(index::Ino ino, int flags) {
    Answer<Opened> answer;
    files->Open(ino, flags, answer.Done());
    return answer.Wait();
  }
  Opened MustOpen(index::Ino ino, int flags) {
    const auto opened = Open(ino, flags);
    EXPECT_TRUE(opened) << opened.error().message();
    return opened ? opened.value() : Opened{};
  }
  Opened Create(index::Ino ino, int flags = O_RDWR) {
    const auto opened = files->Create(ino, flags);
    EXPECT_TRUE(opened) << opened.error().message();
    return opened ? opened.value() : Opened{};
  }
  Result<std::string> Read(Handle handle, std::uint64_t offset, std::size_t length) {
    Answer<std::string> answer;
    files->Read(handle, offset, length, answer.Done());
    return answer.Wait();
  }
  std::string ReadAll(index::Ino ino) {
    const auto opened = Open(ino, O_RDONLY);
    if (!opened) return "? " + opened.error().message();
    std::string bytes;
    for (;;) {
      const auto part = Read(opened.value().handle, bytes.size(), std::size_t{1} << 20U);
      if (!part) return "? " + part.error().message();
      if (part.value().empty()) break;
      bytes += part.value();
    }
    files->Release(opened.value().handle);
    return bytes;
  }
  void Write(Handle handle, std::string_view bytes, std::uint64_t offset = 0) {
    const auto written = files->Write(handle, offset, bytes);
    ASSERT_TRUE(written) << written.error().message();
    ASSERT_EQ(written.value(), bytes.size());
  }
  void Close(Handle handle) {
    EXPECT_TRUE(files->Flush(handle));
    files->Release(handle);
  }
  // Nothing is written, settling or being committed.
  bool Quiet() {
    return Eventually([&] { return files->GetStatus().writing == 0; });
  }
  // A committed file.
  index::Ino File(const std::string& name, std::string_view bytes) {
    const auto ino = Make(name);
    const auto opened = Create(ino);
    Write(opened.handle, bytes);
    Close(opened.handle);
    EXPECT_TRUE(Quiet());
    return ino;
  }
  index::Node Node(index::Ino ino) {
    const auto node = catalogue->Get(ino);
    EXPECT_TRUE(node);
    return node ? node.value() : index::Node{};
  }
  index::ContentId Id(index::Ino ino) { return Node(ino).content.id; }
  std::size_t Versions(index::Ino ino) {
    const auto history = catalogue->History(ino);
    EXPECT_TRUE(history);
    return history ? history.value().size() : 0;
  }
  // Of files that stand for something, or are in the making: not the spare ones.
  std::set<std::string> WorkNames() {
    std::set<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator(store->work_folder())) {
      const auto name = entry.path().filename().string();
      if (!name.starts_with("spare-")) names.insert(name);
    }
    return names;
  }
  // Another host's version was applied: whether open handles keep the old one.
  bool ContentChanged(index::Ino ino) {
    Answer<bool> later;
    const auto superseded =
        files->ContentChanged(ino, [done = later.Done()](bool answer) { done(answer); });
    return superseded ? *superseded : later.Wait().value();
  }
  // As the swarm does when the last piece is there.
  void Arrive(const index::ContentId& id, std::string_view bytes) {
    WriteFile(store->PartialPath(id), bytes);
    ASSERT_TRUE(store->Adopt(id));
    ASSERT_TRUE(catalogue->SetPresent(id, true));
    if (files) files->Arrived(id);
  }

  const char name_;
  TempDir dir_;
  std::filesystem::path cache_ = dir_.path();
  FilesOptions options;
  FakeSource source;
  FakeBacking backing;
  std::unique_ptr<index::Catalogue> catalogue;
  std::unique_ptr<ObjectStore> store;
  std::unique_ptr<Files> files;
};

// Everything that `from` knows.
inline void Pull(Host& from, Host& to) {
  auto delta = from.catalogue->Cut(to.catalogue->Known());
  ASSERT_TRUE(delta);
  if (!delta.value()) return;
  auto writer = to.catalogue->Receive();
  for (;;) {
    auto part = delta.value()->Next();
    ASSERT_TRUE(part);
    if (!part.value()) break;
    ASSERT_TRUE(writer->Add(*part.value()));
  }
  const auto finished = writer->Finish();
  ASSERT_TRUE(finished) << finished.error().message();
}

inline constexpr std::size_t kSmall = 1000;                         // bytes: in the index
inline constexpr std::size_t kMiddle = std::size_t{100} << 10U;     // an object that is copied
inline constexpr std::size_t kLarge = (std::size_t{3} << 20U) + 5;  // one whose file is taken

}  // namespace btfc::fs
