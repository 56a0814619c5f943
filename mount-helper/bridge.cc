#include "mount-helper/bridge.h"

#include <utility>

namespace btfc::mount_helper {

void Bridge::Connect(torrent::Swarm* swarm, fs::Files* files) {
  files_ = files;
  swarm_ = swarm;
}

void Bridge::Disconnect() {
  swarm_ = nullptr;
  files_ = nullptr;
}

std::uint64_t Bridge::Request(const index::ContentId& id, std::uint64_t offset,
                              std::uint64_t length, Done done) {
  torrent::Swarm* swarm = swarm_;
  return swarm == nullptr ? 0 : swarm->Read(id, offset, length, std::move(done));
}

void Bridge::Cancel(std::uint64_t request) {
  if (torrent::Swarm* swarm = swarm_; swarm != nullptr && request != 0) swarm->CancelRead(request);
}

void Bridge::Hashed(const index::ContentId& id, const std::vector<index::Hash>& pieces) {
  if (torrent::Swarm* swarm = swarm_; swarm != nullptr) swarm->Hashed(id, pieces);
}

void Bridge::Available(const index::ContentId& id) {
  if (torrent::Swarm* swarm = swarm_; swarm != nullptr) swarm->Available(id);
}

void Bridge::Withdraw(const index::ContentId& id, std::function<void()> done) {
  if (torrent::Swarm* swarm = swarm_; swarm != nullptr) {
    swarm->Withdraw(id, std::move(done));
  } else {
    done();
  }
}

std::optional<std::filesystem::path> Bridge::Find(const index::ContentId& id) {
  if (!store_.Has(id)) return std::nullopt;
  return store_.ObjectPath(id);
}

std::filesystem::path Bridge::PartialPath(const index::ContentId& id) {
  return store_.PartialPath(id);
}

std::optional<index::ContentId> Bridge::Base(const index::ContentId& id) {
  const auto previous = catalogue_.PreviousObject(id);
  if (!previous || !previous.value() || !store_.Has(*previous.value())) return std::nullopt;
  return *previous.value();
}

std::vector<index::ContentId> Bridge::UnneededPartials() {
  std::vector<index::ContentId> unneeded;
  std::error_code ignored;
  const auto folder = store_.PartialPath({}).parent_path();
  for (const auto& entry : std::filesystem::directory_iterator(folder, ignored)) {
    const auto id = fs::ObjectStore::ParseObjectName(entry.path().filename().native());
    if (!id) continue;
    const auto users = catalogue_.Users(*id, std::nullopt);
    if (users && users.value() == 0) unneeded.push_back(*id);
  }
  return unneeded;
}

Result<void> Bridge::Arrived(const index::ContentId& id) {
  BOOST_OUTCOME_TRYV(store_.Adopt(id));
  BOOST_OUTCOME_TRYV(catalogue_.SetPresent(id, true));
  if (fs::Files* files = files_; files != nullptr) files->Arrived(id);
  return Ok();
}

std::optional<torrent::ObjectPort::Lack> Bridge::Missing() {
  const auto missing = catalogue_.CountMissing();
  if (!missing) return std::nullopt;
  return Lack{missing.value().objects, missing.value().bytes};
}

}  // namespace btfc::mount_helper
