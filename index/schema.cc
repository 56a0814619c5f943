#include "index/schema.h"

#include <string>

namespace btfc::index {
namespace {

constexpr std::int64_t kApplicationId = 0x62746663;  // "btfc"

}  // namespace

Result<void> Migrate(Database& database, bool may_be_new) {
  const auto application = database.Number("PRAGMA application_id");
  const auto version = database.Number("PRAGMA user_version");
  const bool fresh = version == 0 && database.Number("SELECT count(*) FROM sqlite_master") == 0;
  if (fresh && !may_be_new) return Error::kCorrupt;
  if (!fresh && application != kApplicationId) return Error::kCorrupt;
  const auto newest = static_cast<std::int64_t>(SchemaScripts().size());
  if (version > newest) return Error::kTooNew;
  if (version == newest) return Ok();
  Transaction transaction(database, Transaction::Kind::kWrite);
  for (auto next = version; next < newest; ++next) {
    database.Execute(std::string(SchemaScripts()[static_cast<std::size_t>(next)]));
  }
  database.Execute("PRAGMA application_id = " + std::to_string(kApplicationId));
  database.Execute("PRAGMA user_version = " + std::to_string(newest));
  transaction.Commit();
  return Ok();
}

}  // namespace btfc::index
