#include "fs/object_table.h"

#include <utility>

namespace btfc::fs {

ObjectUse::~ObjectUse() {
  std::shared_ptr<const Fd> dropped;  // closed without the lock
  const std::lock_guard lock(table_.mutex_);
  const auto open = table_.open_.find(id_);
  if (open->second.claimer == this) open->second.claimer = nullptr;
  if (--open->second.uses == 0) {
    dropped = std::move(open->second.fd);
    table_.open_.erase(open);
  }
}

std::shared_ptr<const Fd> ObjectUse::fd() const {
  const std::lock_guard lock(table_.mutex_);
  return table_.open_.at(id_).fd;
}

bool ObjectUse::Claim() {
  const std::lock_guard lock(table_.mutex_);
  auto& open = table_.open_.at(id_);
  if (open.claimer == nullptr) open.claimer = this;
  return open.claimer == this;
}

void ObjectUse::Unclaim() {
  const std::lock_guard lock(table_.mutex_);
  auto& open = table_.open_.at(id_);
  if (open.claimer == this) open.claimer = nullptr;
}

Result<std::unique_ptr<ObjectUse>> ObjectTable::Acquire(const index::ContentId& id) {
  const std::lock_guard name_lock(store_.NameLock(id));
  {
    const std::lock_guard lock(mutex_);
    if (const auto open = open_.find(id); open != open_.end()) {
      ++open->second.uses;
      return std::unique_ptr<ObjectUse>(new ObjectUse(*this, id));
    }
  }
  BOOST_OUTCOME_TRYA(fd, OpenFile(store_.ObjectPath(id), O_RDONLY));
  BOOST_OUTCOME_TRYA(st, StatOf(fd.get()));
  if (!S_ISREG(st.st_mode) || static_cast<std::uint64_t>(st.st_size) != id.size) {
    return Errno(ENOENT);
  }
  const std::lock_guard lock(mutex_);
  auto& open = open_[id];
  open.fd = std::make_shared<const Fd>(std::move(fd));
  open.uses = 1;
  return std::unique_ptr<ObjectUse>(new ObjectUse(*this, id));
}

std::unique_ptr<ObjectUse> ObjectTable::Opened(const index::ContentId& id,
                                               std::shared_ptr<const Fd> fd) {
  std::unique_ptr<ObjectUse> use(new ObjectUse(*this, id));
  const std::lock_guard lock(mutex_);
  auto& open = open_[id];
  open.fd.swap(fd);
  ++open.uses;
  open.claimer = use.get();
  return use;
}

std::size_t ObjectTable::Others(const index::ContentId& id, const ObjectUse* self) const {
  const std::lock_guard lock(mutex_);
  const auto open = open_.find(id);
  if (open == open_.end()) return 0;
  return open->second.uses - (self != nullptr ? 1 : 0);
}

void ObjectTable::Replace(const index::ContentId& id, Fd fd) {
  auto replacement = std::make_shared<const Fd>(std::move(fd));
  const std::lock_guard lock(mutex_);
  const auto open = open_.find(id);
  if (open != open_.end()) open->second.fd.swap(replacement);
}

}  // namespace btfc::fs
