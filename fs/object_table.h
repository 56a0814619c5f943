// Which objects are open here, by how many inodes, and which inode's opens pass through to one.
#pragma once

#include <map>
#include <memory>
#include <mutex>

#include "fs/fd.h"
#include "fs/object_store.h"
#include "index/content.h"

namespace btfc::fs {

class ObjectTable;

// One inode's use of an open object. Dropping it ends the use. Any thread; not for two at once.
class ObjectUse {
 public:
  ObjectUse(const ObjectUse&) = delete;
  ObjectUse& operator=(const ObjectUse&) = delete;
  ~ObjectUse();

  const index::ContentId& id() const { return id_; }
  // O_RDONLY; stays open while it is held, but may be replaced by another file with the same bytes.
  std::shared_ptr<const Fd> fd() const;
  // Passthrough on an object belongs to one inode at a time; false if it is another's.
  bool Claim();
  void Unclaim();

 private:
  friend class ObjectTable;
  ObjectUse(ObjectTable& table, const index::ContentId& id) : table_(table), id_(id) {}

  ObjectTable& table_;
  const index::ContentId id_;
};

// All calls from any thread.
class ObjectTable {
 public:
  explicit ObjectTable(ObjectStore& store) : store_(store) {}

  // ENOENT if the store does not have the object whole.
  Result<std::unique_ptr<ObjectUse>> Acquire(const index::ContentId& id);
  // The object has just got this file, and its name lock is held. The use claims it: who passes
  // through to a former file of the object claims nothing of this one.
  std::unique_ptr<ObjectUse> Opened(const index::ContentId& id, std::shared_ptr<const Fd> fd);
  // Uses other than this one (which may be null).
  std::size_t Others(const index::ContentId& id, const ObjectUse* self) const;
  // The object has another file now.
  void Replace(const index::ContentId& id, Fd fd);

 private:
  friend class ObjectUse;
  struct Open {
    std::shared_ptr<const Fd> fd;
    std::size_t uses = 0;
    const ObjectUse* claimer = nullptr;
  };

  ObjectStore& store_;
  mutable std::mutex mutex_;
  std::map<index::ContentId, Open> open_;
};

}  // namespace btfc::fs
