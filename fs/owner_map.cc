#include "fs/owner_map.h"

#include <grp.h>
#include <pwd.h>

#include <cerrno>
#include <chrono>
#include <vector>

namespace btfc::fs {
namespace {

constexpr std::int64_t kKeep_s = 300;
constexpr std::size_t kCachedMax = 10000;  // entries; peers choose names, memory is ours

std::int64_t Now_s() {
  return std::chrono::duration_cast<std::chrono::seconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

// Calls get*_r with a buffer that is large enough.
template <class Row, class Call>
bool AskDatabase(Row* row, Call&& call) {
  std::vector<char> buffer(1024);
  for (;;) {
    Row* found = nullptr;
    const int problem = call(row, buffer.data(), buffer.size(), &found);
    if (problem == ERANGE && buffer.size() < (1U << 20U)) {
      buffer.resize(buffer.size() * 2);
      continue;
    }
    return problem == 0 && found != nullptr;
  }
}

std::int64_t FindUid(const std::string& name) {
  passwd row{};
  const bool found =
      AskDatabase(&row, [&](passwd* out, char* buffer, std::size_t size, passwd** r) {
        return ::getpwnam_r(name.c_str(), out, buffer, size, r);
      });
  return found ? static_cast<std::int64_t>(row.pw_uid) : -1;
}

std::int64_t FindGid(const std::string& name) {
  group row{};
  const bool found = AskDatabase(&row, [&](group* out, char* buffer, std::size_t size, group** r) {
    return ::getgrnam_r(name.c_str(), out, buffer, size, r);
  });
  return found ? static_cast<std::int64_t>(row.gr_gid) : -1;
}

std::string FindUser(std::uint32_t uid) {
  std::string name;
  passwd row{};
  AskDatabase(&row, [&](passwd* out, char* buffer, std::size_t size, passwd** r) {
    const int problem = ::getpwuid_r(uid, out, buffer, size, r);
    if (problem == 0 && *r != nullptr) name = out->pw_name;
    return problem;
  });
  return name;
}

std::string FindGroup(std::uint32_t gid) {
  std::string name;
  group row{};
  AskDatabase(&row, [&](group* out, char* buffer, std::size_t size, group** r) {
    const int problem = ::getgrgid_r(gid, out, buffer, size, r);
    if (problem == 0 && *r != nullptr) name = out->gr_name;
    return problem;
  });
  return name;
}

}  // namespace

std::int64_t OwnerMap::IdOf(Database database, const std::string& name) {
  const auto which = static_cast<std::size_t>(database);
  const std::int64_t now_s = Now_s();
  {
    const std::lock_guard lock(mutex_);
    const auto found = ids_[which].find(name);
    if (found != ids_[which].end() && found->second.until_s > now_s) return found->second.id;
  }
  const std::int64_t id = database == Database::kUsers ? FindUid(name) : FindGid(name);
  const std::lock_guard lock(mutex_);
  if (ids_[which].size() >= kCachedMax) ids_[which].clear();
  ids_[which][name] = Cached{now_s + kKeep_s, id, {}};
  return id;
}

std::string OwnerMap::NameOf(Database database, std::uint32_t id) {
  const auto which = static_cast<std::size_t>(database);
  const std::int64_t now_s = Now_s();
  {
    const std::lock_guard lock(mutex_);
    const auto found = names_[which].find(id);
    if (found != names_[which].end() && found->second.until_s > now_s) return found->second.name;
  }
  std::string name = database == Database::kUsers ? FindUser(id) : FindGroup(id);
  const std::lock_guard lock(mutex_);
  if (names_[which].size() >= kCachedMax) names_[which].clear();
  names_[which][id] = Cached{now_s + kKeep_s, 0, name};
  return name;
}

std::uint32_t OwnerMap::Uid(const index::Owner& owner) {
  if (owner.mounter) return mounter_.uid;
  if (owner.user.empty()) {
    return NameOf(Database::kUsers, owner.uid).empty() ? owner.uid : mounter_.uid;
  }
  const std::int64_t uid = IdOf(Database::kUsers, owner.user);
  return uid < 0 ? mounter_.uid : static_cast<std::uint32_t>(uid);
}

std::uint32_t OwnerMap::Gid(const index::Owner& owner) {
  if (owner.mounter_group) return mounter_.gid;
  if (owner.group.empty()) {
    return NameOf(Database::kGroups, owner.gid).empty() ? owner.gid : mounter_.gid;
  }
  const std::int64_t gid = IdOf(Database::kGroups, owner.group);
  return gid < 0 ? mounter_.gid : static_cast<std::uint32_t>(gid);
}

OwnerMap::Ids OwnerMap::ToLocal(const index::Owner& owner) {
  if (policy_ == OwnerPolicy::kNumeric) return {owner.uid, owner.gid};
  return {Uid(owner), Gid(owner)};
}

index::Owner OwnerMap::FromLocal(Ids ids) {
  index::Owner owner;
  owner.uid = ids.uid;
  owner.gid = ids.gid;
  owner.user = NameOf(Database::kUsers, ids.uid);
  owner.group = NameOf(Database::kGroups, ids.gid);
  owner.mounter = ids.uid == mounter_.uid;
  owner.mounter_group = ids.gid == mounter_.gid;
  return owner;
}

}  // namespace btfc::fs
