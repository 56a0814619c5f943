// Names of files that had to make way: `NAME (conflict HOST DATE-ID).EXT`.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace btfc::index {

// `host` and `time_ns` are those of the write that lost, `id` six hex digits that keep two
// losers apart. An earlier suffix is replaced; the whole is cut to kNameMax bytes between
// characters. All hosts derive the same name.
std::string ConflictName(std::string_view name, std::string_view host, std::int64_t time_ns,
                         std::string_view id);
bool IsConflictName(std::string_view name);

}  // namespace btfc::index
