#include "test_host.h"

#include <algorithm>
#include <chrono>
#include <fstream>
#include <iterator>
#include <random>
#include <thread>

#include "index/merkle.h"

namespace btfc::torrent {
namespace {

constexpr std::chrono::seconds kPatience{60};

}  // namespace

FileObjects::FileObjects(std::filesystem::path folder) : folder_(std::move(folder)) {
  std::filesystem::create_directories(folder_);
}

std::filesystem::path FileObjects::WholePath(const index::ContentId& id) const {
  return folder_ / index::ToHex(id);
}

index::ContentId FileObjects::Put(const std::string& bytes) {
  const index::ContentId id = index::ContentIdOf(bytes);
  std::ofstream(WholePath(id), std::ios::binary) << bytes;
  const std::lock_guard lock(mutex_);
  whole_.insert(id);
  changed_.notify_all();
  return id;
}

std::string FileObjects::Bytes(const index::ContentId& id) const {
  std::ifstream in(WholePath(id), std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

bool FileObjects::WaitFor(const index::ContentId& id) {
  std::unique_lock lock(mutex_);
  return changed_.wait_for(lock, kPatience, [&] { return whole_.contains(id); });
}

bool FileObjects::WaitForRecord(const index::ContentId& id) {
  std::unique_lock lock(mutex_);
  return changed_.wait_for(lock, kPatience, [&] { return recorded_.contains(id); });
}

bool FileObjects::Has(const index::ContentId& id) const {
  const std::lock_guard lock(mutex_);
  return whole_.contains(id);
}

void FileObjects::AddBase(const index::ContentId& id, const index::ContentId& base) {
  const std::lock_guard lock(mutex_);
  bases_[id].push_back(base);
}

void FileObjects::Remove(const index::ContentId& id) {
  const std::lock_guard lock(mutex_);
  whole_.erase(id);
  std::filesystem::remove(WholePath(id));
}

std::size_t FileObjects::arrived() const {
  const std::lock_guard lock(mutex_);
  return arrived_;
}

std::optional<std::filesystem::path> FileObjects::Find(const index::ContentId& id) {
  on_find(id);
  const std::lock_guard lock(mutex_);
  if (!whole_.contains(id)) return std::nullopt;
  return WholePath(id);
}

std::filesystem::path FileObjects::PartialPath(const index::ContentId& id) {
  ++looks_;
  return folder_ / (index::ToHex(id) + ".part");
}

std::vector<index::ContentId> FileObjects::Bases(const index::ContentId& id) {
  const std::lock_guard lock(mutex_);
  auto bases = bases_[id];
  std::erase_if(bases, [this](const auto& base) { return !whole_.contains(base); });
  return bases;
}

void FileObjects::Forget(const index::ContentId& id) {
  const std::lock_guard lock(mutex_);
  forgotten_.insert(id);
}

std::vector<index::ContentId> FileObjects::UnneededPartials() {
  const std::lock_guard lock(mutex_);
  return {forgotten_.begin(), forgotten_.end()};
}

Result<void> FileObjects::Arrived(const index::ContentId& id) {
  std::error_code error;
  std::filesystem::rename(PartialPath(id), WholePath(id), error);
  if (error) return error;
  {
    const std::lock_guard lock(mutex_);
    whole_.insert(id);
    ++arrived_;
    changed_.notify_all();
  }
  return Record(id);
}

Result<void> FileObjects::Found(const index::ContentId& id) { return Record(id); }

Result<void> FileObjects::Record(const index::ContentId& id) {
  const std::lock_guard lock(mutex_);
  if (failing_records_ > 0) {
    --failing_records_;
    return Errno(EIO);
  }
  recorded_.insert(id);
  changed_.notify_all();
  return Ok();
}

void FileObjects::FailRecords(int times) {
  const std::lock_guard lock(mutex_);
  failing_records_ = times;
}

TestHost::TestHost(const ClusterKey& cluster, std::uint8_t number)
    : cluster_(cluster),
      number_(number),
      ip_("127.0.0." + std::to_string(number)),
      replica(node_key(), number) {
  objects = std::make_unique<FileObjects>(dir_.path() / "objects");
}

void TestHost::Start(const std::vector<std::string>& peers,
                     const std::function<void(SwarmOptions&)>& change) {
  std::string why;
  SwarmOptions options;
  options.cluster = cluster_;
  auto node = LoadOrMakeNode(dir_.path(), cluster_, &why);
  ASSERT_TRUE(node) << why;
  options.node = node.value();
  options.host_name = "host" + std::to_string(number_);
  options.state_dir = dir_.path() / "state";
  options.listen = {ip()};
  options.port = 0;
  options.peers = peers;
  options.lpd = false;
  if (change) change(options);
  auto started = Swarm::Start(options, replica, *objects, &why);
  ASSERT_TRUE(started) << why;
  swarm = std::move(started).value();
}

void TestHost::Stop() { swarm.reset(); }

bool TestHost::WaitUntil(const std::function<bool(const SwarmStatus&)>& condition) {
  // Status has no event to wait for.
  const auto deadline = std::chrono::steady_clock::now() + kPatience;
  while (!condition(swarm->Status())) {
    if (std::chrono::steady_clock::now() > deadline) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  return true;
}

bool TestHost::WaitForPeers(std::size_t count) {
  return WaitUntil([count](const SwarmStatus& status) { return status.peers.size() == count; });
}

std::string TestHost::ip() const { return ip_; }

index::NodeKey TestHost::node_key() const {
  std::string why;
  return LoadOrMakeNode(dir_.path(), cluster_, &why).value().node_key;
}

std::string TestHost::address() const { return ip() + ":" + std::to_string(swarm->Status().port); }

void TestHost::Publish(const std::string& row) {
  replica.Write(row);
  swarm->Published();
}

ClusterKey NewCluster() { return MakeClusterKey("test").value(); }

std::string RandomBytes(std::size_t size, unsigned seed) {
  std::mt19937_64 random(seed);
  std::string bytes(size, '\0');
  for (std::size_t i = 0; i < size; i += 8) {
    const std::uint64_t word = random();
    for (std::size_t k = 0; k < 8 && i + k < size; ++k) {
      bytes[i + k] = static_cast<char>(word >> (8 * k));
    }
  }
  return bytes;
}

}  // namespace btfc::torrent
