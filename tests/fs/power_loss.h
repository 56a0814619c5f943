// What the power loss tests share.
#pragma once

#include <gtest/gtest.h>
#include <sqlite3.h>

#include <cstdlib>
#include <filesystem>
#include <random>

namespace btfc::fs {

using Random = std::mt19937_64;

// How many moments for the power to go; many more in the long mode.
inline unsigned Cuts(unsigned ordinary) {
  return std::getenv("BTFC_LONG") != nullptr ? ordinary * 50 : ordinary;
}

// The next start finds another boot of the machine, as after a power cut.
inline void Reboot(const std::filesystem::path& database) {
  if (!std::filesystem::exists(database)) return;
  sqlite3* handle = nullptr;
  ASSERT_EQ(sqlite3_open(database.c_str(), &handle), SQLITE_OK);
  sqlite3_exec(handle, "UPDATE meta SET value = 'before' WHERE key = 'boot'", nullptr, nullptr,
               nullptr);
  sqlite3_close(handle);
}

}  // namespace btfc::fs
