// The schema's SQL files, compiled in.
#pragma once

#include <string_view>
#include <vector>

#include "index/sqlite.h"

namespace btfc::index {

// schema/NNN_*.sql in order: script i brings a database from version i to version i + 1.
const std::vector<std::string_view>& SchemaScripts();

// Brings a database to this program's version, in one transaction. Error::kTooNew if it is beyond
// that, Error::kCorrupt if it is some other program's. One without any table is made only if it
// `may_be_new`; else what it held is lost.
Result<void> Migrate(Database& database, bool may_be_new);

}  // namespace btfc::index
