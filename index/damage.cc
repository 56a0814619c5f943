#include "index/damage.h"

#include <spdlog/spdlog.h>

#include <map>
#include <mutex>

namespace btfc::index {
namespace {

struct Found {
  std::mutex mutex;
  std::map<std::filesystem::path, std::string> first;  // by the database
};

Found& All() {
  static Found found;
  return found;
}

}  // namespace

void NoteDamage(const std::filesystem::path& database, const std::string& what) {
  {
    const std::lock_guard lock(All().mutex);
    if (!All().first.emplace(database, what).second) return;
  }
  spdlog::error("the index {} is damaged: {}; `btfc rebuild` is the way back", database.string(),
                what);
}

std::optional<std::string> DamageOf(const std::filesystem::path& database) {
  const std::lock_guard lock(All().mutex);
  const auto found = All().first.find(database);
  if (found == All().first.end()) return std::nullopt;
  return found->second;
}

}  // namespace btfc::index
