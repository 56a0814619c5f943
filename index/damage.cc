#include "index/damage.h"

#include <spdlog/spdlog.h>

#include <map>
#include <mutex>

#include "index/result.h"

namespace btfc::index {
namespace {

// The first of each database.
class Notes {
 public:
  // False if there is one already.
  bool Put(const std::filesystem::path& database, const std::string& what) {
    const std::lock_guard lock(mutex_);
    return first_.emplace(database, what).second;
  }
  std::optional<std::string> Find(const std::filesystem::path& database) {
    const std::lock_guard lock(mutex_);
    const auto found = first_.find(database);
    if (found == first_.end()) return std::nullopt;
    return found->second;
  }

 private:
  std::mutex mutex_;
  std::map<std::filesystem::path, std::string> first_;  // guarded by mutex_
};

Notes& Damages() {
  static Notes notes;
  return notes;
}

Notes& Sicknesses() {
  static Notes notes;
  return notes;
}

}  // namespace

void NoteDamage(const std::filesystem::path& database, const std::string& what) {
  if (!Damages().Put(database, what)) return;
  spdlog::error("the index {} is damaged: {}; `btfc rebuild` is the way back", database.string(),
                what);
}

std::optional<std::string> DamageOf(const std::filesystem::path& database) {
  return Damages().Find(database);
}

bool IsSickDisk(const std::error_code& error) { return error == Errno(EIO); }

void NoteSickDisk(const std::filesystem::path& database, const std::error_code& error) {
  if (!Sicknesses().Put(database, error.message())) return;
  spdlog::error("the disk does not give what is in the index {}: {}; it may be failing",
                database.string(), error.message());
}

std::optional<std::string> SicknessOf(const std::filesystem::path& database) {
  return Sicknesses().Find(database);
}

}  // namespace btfc::index
