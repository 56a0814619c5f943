// Which local user a replicated owner is.
#pragma once

#include <cstdint>
#include <mutex>
#include <string>
#include <unordered_map>

#include "fs/mount.h"
#include "index/catalogue.h"

namespace btfc::fs {

// owner=map: the user who mounts at the origin is the user who mounts here, others go by their
// names; who has a name that nobody has here is shown as the mount's owner. A number that had no
// name where it was given stays that number where it has none either. owner=numeric keeps
// numbers. All calls from any thread; may wait for the system's user database.
class OwnerMap {
 public:
  struct Ids {
    std::uint32_t uid = 0;
    std::uint32_t gid = 0;
    bool operator==(const Ids&) const = default;
  };
  OwnerMap(OwnerPolicy policy, Ids mounter) : policy_(policy), mounter_(mounter) {}

  Ids ToLocal(const index::Owner& owner);
  index::Owner FromLocal(Ids ids);

 private:
  // Answers of the user database, kept for a while: asking it costs up to a network round trip.
  struct Cached {
    std::int64_t until_s = 0;  // steady clock
    std::int64_t id = -1;      // -1: no such name
    std::string name;          // empty: no such id
  };
  std::uint32_t Uid(const index::Owner& owner);
  std::uint32_t Gid(const index::Owner& owner);

  enum class Database : std::uint8_t { kUsers, kGroups };
  std::int64_t IdOf(Database database, const std::string& name);
  std::string NameOf(Database database, std::uint32_t id);

  const OwnerPolicy policy_;
  const Ids mounter_;
  std::mutex mutex_;
  std::unordered_map<std::string, Cached> ids_[2];      // by name; guarded by mutex_
  std::unordered_map<std::uint32_t, Cached> names_[2];  // by id; guarded by mutex_
};

}  // namespace btfc::fs
