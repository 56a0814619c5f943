// Earlier versions that one host lets go of while another one still fetches them.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <future>
#include <memory>
#include <random>
#include <string>

#include "fs/fd.h"
#include "fs/files.h"
#include "fs/object_store.h"
#include "index/catalogue.h"
#include "index/merkle.h"
#include "mount-helper/bridge.h"
#include "tests/support/eventually.h"
#include "tests/support/temp_dir.h"
#include "torrent/swarm.h"

namespace btfc::mount_helper {
namespace {

constexpr std::size_t kMiB = std::size_t{1} << 20U;

// Objects of many MiB are fetched.
bool Eventually(const std::function<bool()>& so) {
  return test::Eventually(so, std::chrono::seconds(60));
}

std::string RandomBytes(std::size_t size, unsigned seed) {
  std::mt19937_64 random(seed);
  std::string bytes(size, '\0');
  std::ranges::generate(bytes, [&] { return static_cast<char>(random()); });
  return bytes;
}

struct HostOptions {
  fs::FilesOptions files;
  bool lazy = false;
  std::vector<std::string> peers;
};

// A daemon without its mount.
class Host {
 public:
  Host(const torrent::ClusterKey& cluster, int number, const HostOptions& options)
      : lazy_(options.lazy) {
    std::string why;
    const auto node = torrent::LoadOrMakeNode(cache_, cluster, &why).value();
    index::CatalogueOptions catalogue;
    catalogue.path = cache_ / "index.db";
    catalogue.node_key = node.node_key;
    catalogue.cluster = cluster.cluster_id;
    catalogue.host_name = "host" + std::to_string(number);
    catalogue_ = index::Catalogue::Open(catalogue).value();
    store_ = fs::ObjectStore::Open(cache_).value();
    bridge_ = std::make_unique<Bridge>(*catalogue_, *store_);
    files_ = fs::Files::Start(*catalogue_, *store_, *bridge_, options.files).value();
    EXPECT_TRUE(files_->Recover());
    torrent::SwarmOptions swarm;
    swarm.cluster = cluster;
    swarm.node = node;
    swarm.host_name = catalogue.host_name;
    swarm.state_dir = cache_ / "swarm";
    swarm.listen = {"127.0.3." + std::to_string(number)};
    swarm.port = 0;
    swarm.peers = options.peers;
    swarm.lpd = false;
    swarm.lazy = lazy_;
    swarm_ = torrent::Swarm::Start(swarm, *catalogue_, *bridge_, &why).value();
    address_ = swarm.listen[0] + ":" + std::to_string(swarm_->Status().port);
    bridge_->Connect(swarm_.get(), files_.get());
    catalogue_->OnPublish([this] { swarm_->Published(); });
    catalogue_->OnChange([this](const auto& changes) { Changed(changes); });
  }
  ~Host() {
    files_->Stop();
    swarm_->Stop();
    bridge_->Disconnect();
    catalogue_->OnPublish([] {});
    catalogue_->OnChange([](const auto&) {});
  }
  Host(const Host&) = delete;
  Host& operator=(const Host&) = delete;

  const std::string& address() const { return address_; }
  index::Catalogue& catalogue() { return *catalogue_; }
  fs::ObjectStore& store() { return *store_; }
  fs::Files& files() { return *files_; }

  // A new file, or an old one from its beginning.
  void Write(const std::string& name, const std::string& bytes) {
    fs::Handle handle = 0;
    if (const auto node = catalogue_->Lookup(index::kRootIno, name)) {
      handle = Open(node.value().ino, O_WRONLY | O_TRUNC);
    } else {
      index::NewNode file;
      file.mode = 0644;
      const auto made = catalogue_->Make(index::kRootIno, name, file);
      ASSERT_TRUE(made);
      handle = files_->Create(made.value().ino, O_WRONLY).value().handle;
    }
    EXPECT_EQ(files_->Write(handle, 0, bytes).value(), bytes.size());
    files_->Release(handle);
    ASSERT_TRUE(Eventually([&] { return files_->GetStatus().writing == 0; }));
  }
  fs::Handle Open(index::Ino ino, int flags) {
    std::promise<Result<fs::Opened>> opened;
    files_->Open(ino, flags, [&](Result<fs::Opened> answer) { opened.set_value(answer); });
    return opened.get_future().get().value().handle;
  }
  Result<std::string> Read(fs::Handle handle, std::uint64_t offset, std::size_t length) {
    std::promise<Result<std::string>> read;
    files_->Read(handle, offset, length,
                 [&](Result<std::string> answer) { read.set_value(std::move(answer)); });
    return read.get_future().get();
  }
  index::ContentId ContentOf(const std::string& name) {
    const auto node = catalogue_->Lookup(index::kRootIno, name);
    return node ? node.value().content.id : index::ContentId{};
  }
  std::uint64_t FetchedBlocks(const index::ContentId& id) {
    struct stat st {};
    return ::stat(store_->PartialPath(id).c_str(), &st) == 0 ? st.st_blocks : 0;
  }
  bool FetchesNothing() {
    const auto status = swarm_->Status();
    return status.fetching.empty() && status.waiting == 0;
  }
  // Nothing is under a name that it is not.
  void CheckObjects() {
    EXPECT_TRUE(catalogue_->CheckIntegrity());
    for (const auto& entry :
         std::filesystem::recursive_directory_iterator(store_->objects_folder())) {
      const auto id = index::ParseContentName(entry.path().filename().string());
      if (!id || !entry.is_regular_file()) continue;
      const auto file = fs::OpenFile(entry.path(), O_RDONLY);
      ASSERT_TRUE(file) << entry.path();
      const auto hashed = index::HashFile(file.value().get(), [] { return false; });
      ASSERT_TRUE(hashed);
      EXPECT_EQ(hashed.value().id, *id) << entry.path();
    }
  }

 private:
  void Changed(const std::vector<index::Change>& changes) {
    for (const auto& change : changes) {
      if (change.what == index::Change::What::kContent) {
        files_->ContentChanged(change.ino, [](bool) {});
      }
      if (lazy_) continue;
      if (change.what == index::Change::What::kWanted) swarm_->Want(change.content);
      if (change.what == index::Change::What::kUnwanted) swarm_->Unwant(change.content);
    }
  }

  const bool lazy_;
  test::TempDir dir_{"pruning"};
  const std::filesystem::path cache_ = dir_.path();
  std::string address_;
  std::unique_ptr<index::Catalogue> catalogue_;
  std::unique_ptr<fs::ObjectStore> store_;
  std::unique_ptr<Bridge> bridge_;
  std::unique_ptr<fs::Files> files_;
  std::unique_ptr<torrent::Swarm> swarm_;
};

class PruningTest : public testing::Test {
 protected:
  // Lets go of what was as soon as something else is.
  HostOptions Forgetful() const {
    HostOptions options;
    options.files.collect_interval = std::chrono::milliseconds(10);
    options.files.versions.bytes = 1;
    return options;
  }
  const torrent::ClusterKey cluster_ = torrent::MakeClusterKey("test").value();
};

// Who reads gets the bytes, or is told in time that nobody has them; and gets them when somebody
// has them again.
TEST_F(PruningTest, WhatIsBeingReadElsewhere) {
  Host holder(cluster_, 1, Forgetful());
  HostOptions options;
  options.files.read_timeout = std::chrono::milliseconds(500);
  options.lazy = true;
  options.peers = {holder.address()};
  Host reader(cluster_, 2, options);
  const auto bytes = RandomBytes(24 * kMiB, 1);
  holder.Write("f", bytes);
  const auto id = holder.ContentOf("f");
  ASSERT_TRUE(Eventually([&] { return reader.ContentOf("f") == id; }));
  const auto handle =
      reader.Open(reader.catalogue().Lookup(index::kRootIno, "f").value().ino, O_RDONLY);
  ASSERT_TRUE(Eventually([&] {
    const auto first = reader.Read(handle, 0, kMiB);
    return first && first.value() == bytes.substr(0, kMiB);
  }));

  holder.Write("f", "small now");
  ASSERT_TRUE(Eventually([&] { return !holder.store().Has(id); }));
  int refused = 0;
  for (std::size_t at = 0; at < bytes.size(); at += 6 * kMiB) {
    const auto part = reader.Read(handle, at, kMiB);
    if (part) {
      EXPECT_TRUE(part.value() == bytes.substr(at, kMiB)) << at;
    } else {
      EXPECT_EQ(part.error(), Errno(EIO)) << at;
      ++refused;
    }
  }
  EXPECT_GT(refused, 0) << "nothing was missing";
  ASSERT_TRUE(Eventually([&] { return reader.ContentOf("f") != id; }));

  holder.Write("again", bytes);
  ASSERT_TRUE(holder.store().Has(id));
  for (std::size_t at = 0; at < bytes.size(); at += 6 * kMiB) {
    EXPECT_TRUE(Eventually([&] {
      const auto part = reader.Read(handle, at, kMiB);
      return part && part.value() == bytes.substr(at, kMiB);
    })) << at;
  }
  reader.files().Release(handle);
  holder.CheckObjects();
  reader.CheckObjects();
}

// At any moment of a fetch: what comes is whole or does not come at all.
TEST_F(PruningTest, WhatIsBeingFetchedElsewhere) {
  constexpr int kRounds = 8;
  constexpr std::size_t kSize = 12 * kMiB;
  Host holder(cluster_, 3, Forgetful());
  HostOptions options;
  options.peers = {holder.address()};
  Host mirror(cluster_, 4, options);
  for (int round = 0; round < kRounds; ++round) {
    SCOPED_TRACE(round);
    const auto name = "f" + std::to_string(round);
    holder.Write(name, RandomBytes(kSize, static_cast<unsigned>(round)));
    const auto id = holder.ContentOf(name);
    const std::uint64_t enough = kSize / 512 * static_cast<std::uint64_t>(round) / kRounds;
    ASSERT_TRUE(
        Eventually([&] { return mirror.FetchedBlocks(id) >= enough || mirror.store().Has(id); }));
    holder.Write(name, "small now");
    ASSERT_TRUE(Eventually([&] { return !holder.store().Has(id); }));
    ASSERT_TRUE(Eventually([&] { return mirror.ContentOf(name) == holder.ContentOf(name); }));
    ASSERT_TRUE(Eventually([&] { return mirror.FetchesNothing(); }))
        << "what nobody has any more is not waited for";
  }
  holder.CheckObjects();
  mirror.CheckObjects();
  // And both go on.
  const auto bytes = RandomBytes(kSize, 100);
  mirror.Write("last", bytes);
  ASSERT_TRUE(Eventually([&] { return holder.ContentOf("last") == mirror.ContentOf("last"); }));
  EXPECT_TRUE(Eventually([&] { return holder.store().Has(holder.ContentOf("last")); }));
}

}  // namespace
}  // namespace btfc::mount_helper
