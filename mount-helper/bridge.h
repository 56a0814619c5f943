// Plugs the swarm into the filesystem, and the object store into the swarm.
#pragma once

#include <atomic>

#include "fs/content_source.h"
#include "fs/files.h"
#include "fs/object_store.h"
#include "index/catalogue.h"
#include "torrent/object_port.h"
#include "torrent/swarm.h"

namespace btfc::mount_helper {

// Any thread. Before Connect and after Disconnect there are no peers: nothing arrives, nothing is
// served.
class Bridge final : public fs::ContentSource, public torrent::ObjectPort {
 public:
  Bridge(index::Catalogue& catalogue, fs::ObjectStore& store)
      : catalogue_(catalogue), store_(store) {}

  void Connect(torrent::Swarm* swarm, fs::Files* files);
  // Only when no call can be under way: after Files::Stop and Swarm::Stop.
  void Disconnect();

  // fs::ContentSource
  std::uint64_t Request(const index::ContentId& id, std::uint64_t offset, std::uint64_t length,
                        Done done) override;
  void Cancel(std::uint64_t request) override;
  void Hashed(const index::ContentId& id, const std::vector<index::Hash>& pieces) override;
  std::optional<std::vector<index::Hash>> PiecesOf(const index::ContentId& id) override;
  void Available(const index::ContentId& id) override;
  void Withdraw(const index::ContentId& id, std::function<void()> done) override;

  // torrent::ObjectPort
  std::optional<std::filesystem::path> Find(const index::ContentId& id) override;
  std::filesystem::path PartialPath(const index::ContentId& id) override;
  std::vector<index::ContentId> Bases(const index::ContentId& id) override;
  std::vector<index::ContentId> UnneededPartials() override;
  bool Needed(const index::ContentId& id) override;
  bool HasRoom(std::uint64_t bytes) override;
  Result<void> Found(const index::ContentId& id) override;
  Result<void> Arrived(const index::ContentId& id) override;
  std::optional<Lack> Missing() override;

 private:
  index::Catalogue& catalogue_;
  fs::ObjectStore& store_;
  std::atomic<torrent::Swarm*> swarm_ = nullptr;
  std::atomic<fs::Files*> files_ = nullptr;
};

}  // namespace btfc::mount_helper
