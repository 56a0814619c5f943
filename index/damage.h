// What the databases of this process turned out to hold that no host writes: a malformed page, a
// row whose bytes are not what it says. The call that met it has answered EIO and changed nothing;
// this is for the status, until the process ends. What the disk does not give is no damage of the
// database: what was written may all be there.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <system_error>

namespace btfc::index {

// Any thread.
void NoteDamage(const std::filesystem::path& database, const std::string& what);
// The first that was found, if any was.
std::optional<std::string> DamageOf(const std::filesystem::path& database);

// Whether this is what a disk answers that cannot be read.
bool IsSickDisk(const std::error_code& error);
void NoteSickDisk(const std::filesystem::path& database, const std::error_code& error);
std::optional<std::string> SicknessOf(const std::filesystem::path& database);

}  // namespace btfc::index
