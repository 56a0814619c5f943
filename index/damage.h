// What the databases of this process turned out to hold that no host writes: a malformed page, a
// row whose bytes are not what it says. The call that met it has answered EIO and changed nothing;
// this is for the status, until the process ends.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

namespace btfc::index {

// Any thread.
void NoteDamage(const std::filesystem::path& database, const std::string& what);
// The first that was found, if any was.
std::optional<std::string> DamageOf(const std::filesystem::path& database);

}  // namespace btfc::index
