// What the daemon answers about earlier versions and about members.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include "index/catalogue.h"

namespace btfc::mount_helper {

// Paths are from the mount's root; "shown", if there, is the path as the person gave it.
// {"path": "a/b"}: all versions of what this path leads to or once led to, latest first.
nlohmann::json AnswerLog(const nlohmann::json& asked, index::Catalogue& catalogue);
// {"path": ..., "at_ns": T}: the version of that time is the current one again; without a time the
// one before the current one, or the last one of a deleted file.
nlohmann::json AnswerRestore(const nlohmann::json& asked, index::Catalogue& catalogue);
// {"path": ..., "at_ns": T}: a deleted file or folder comes back.
nlohmann::json AnswerUndelete(const nlohmann::json& asked, index::Catalogue& catalogue);
// {"host": name, or the beginning of a device's id}: it is no member any more.
nlohmann::json AnswerRemove(const nlohmann::json& asked, index::Catalogue& catalogue);

}  // namespace btfc::mount_helper
