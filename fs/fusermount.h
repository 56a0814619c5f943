// fusermount3, the set-uid helper that mounts for ordinary users.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

#include "index/result.h"

namespace btfc::fs {

// Backslashes before what separates options.
std::string EscapeOption(std::string_view value);

// Mounts and answers the /dev/fuse descriptor. `why`: the helper's own words.
Result<int> FusermountAttach(const std::filesystem::path& path, const std::string& options,
                             std::string* why);

// Unmounts; `lazily` also if it is in use.
Result<void> FusermountDetach(const std::filesystem::path& path, bool lazily);

}  // namespace btfc::fs
