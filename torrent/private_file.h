// Small files that only their owner may read, and that a crash never leaves half written.
// Internal to torrent/. Any thread.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

#include "index/result.h"

namespace btfc::torrent {

enum class IfExists { kRefuse, kReplace };

// Mode 0600, fsynced with its folder. EEXIST if there is one and it may not be replaced.
Result<void> WritePrivateFile(const std::filesystem::path& file, std::string_view bytes,
                              IfExists if_exists);
// A regular file of at most `size_max` bytes; EFBIG above. EACCES if group or others have any
// right to it and `only_owner` asks for that.
Result<std::string> ReadSmallFile(const std::filesystem::path& file, std::size_t size_max,
                                  bool only_owner);

}  // namespace btfc::torrent
