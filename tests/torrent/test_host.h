// A host of a cluster inside a test: keys, a swarm on a loopback address of its own, a replica in
// memory and objects in real files.
#pragma once

#include <atomic>
#include <condition_variable>
#include <filesystem>
#include <functional>
#include <limits>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "fake_replica.h"
#include "tests/support/temp_dir.h"
#include "torrent/swarm.h"

namespace btfc::torrent {

using test::TempDir;

// Objects in a folder: whole ones under their root, partial ones with ".part".
class FileObjects final : public ObjectPort {
 public:
  explicit FileObjects(std::filesystem::path folder);

  // Puts bytes in the store, as a local commit does.
  index::ContentId Put(const std::string& bytes);
  std::string Bytes(const index::ContentId& id) const;
  // Waits until the object has arrived; false after a minute.
  bool WaitFor(const index::ContentId& id);
  bool Has(const index::ContentId& id) const;
  void AddBase(const index::ContentId& id, const index::ContentId& base);
  void Remove(const index::ContentId& id);
  // No version needs it any more.
  void Forget(const index::ContentId& id);
  std::size_t arrived() const;
  // Called with each object that Find is asked for, on the thread that asks; set before the start.
  std::function<void(const index::ContentId&)> on_find = [](const index::ContentId&) {};
  // So many times from now on the index cannot be told that an object is here.
  void FailRecords(int times);
  // Whether the disk has room for more than what is there.
  void SetRoom(bool room) { room_bytes_ = room ? kMuch : 0; }
  void SetRoomFor(std::uint64_t bytes) { room_bytes_ = bytes; }
  // How often anybody asked where partial files are.
  std::uint64_t looks() const { return looks_; }
  // Waits until the index knows it; false after a minute.
  bool WaitForRecord(const index::ContentId& id);

  std::optional<std::filesystem::path> Find(const index::ContentId& id) override;
  std::filesystem::path PartialPath(const index::ContentId& id) override;
  std::vector<index::ContentId> Bases(const index::ContentId& id) override;
  std::vector<index::ContentId> UnneededPartials() override;
  bool HasRoom(std::uint64_t bytes) override { return room_bytes_ != 0 && bytes <= room_bytes_; }
  Result<void> Found(const index::ContentId& id) override;
  Result<void> Arrived(const index::ContentId& id) override;

 private:
  static constexpr auto kMuch = std::numeric_limits<std::uint64_t>::max();

  std::filesystem::path WholePath(const index::ContentId& id) const;
  Result<void> Record(const index::ContentId& id);

  const std::filesystem::path folder_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::set<index::ContentId> whole_;
  std::map<index::ContentId, std::vector<index::ContentId>> bases_;
  std::set<index::ContentId> forgotten_;
  std::set<index::ContentId> recorded_;
  int failing_records_ = 0;
  std::size_t arrived_ = 0;
  std::atomic<std::uint64_t> room_bytes_ = kMuch;
  std::atomic<std::uint64_t> looks_ = 0;
};

class TestHost {
 public:
  // `number` gives the address 127.0.0.number and the device.
  TestHost(const ClusterKey& cluster, std::uint8_t number);

  void Start(const std::vector<std::string>& peers = {},
             const std::function<void(SwarmOptions&)>& change = {});
  void Stop();
  // Waits until `true` comes; false after a minute.
  bool WaitUntil(const std::function<bool(const SwarmStatus&)>& condition);
  bool WaitForPeers(std::size_t count);
  std::string address() const;  // as peer= wants it
  std::string ip() const;
  index::NodeKey node_key() const;  // that its certificate shows
  void Publish(const std::string& row);
  std::filesystem::path folder() const { return dir_.path(); }

  void SetIp(const std::string& ip) { ip_ = ip; }

 private:
  const ClusterKey cluster_;
  const std::uint8_t number_;
  std::string ip_;
  TempDir dir_;

 public:
  FakeReplica replica;
  std::unique_ptr<FileObjects> objects;
  std::unique_ptr<Swarm> swarm;  // gone before its folder
};

ClusterKey NewCluster();
std::string RandomBytes(std::size_t size, unsigned seed);

}  // namespace btfc::torrent
