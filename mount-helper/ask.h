// What the commands of `btfc` have in common: finding the daemon, asking it, complaining.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>

#include "mount-helper/commands.h"

namespace btfc::mount_helper {

// One line on standard error; answers the exit code.
int Complain(const std::string& text);
// The daemon's answer. Nothing if it was complained about already.
std::optional<nlohmann::json> AskAtMount(const nlohmann::json& request, const Where& where);
// The same about a path in a mounted folder, which goes into the request as "path".
std::optional<nlohmann::json> AskAboutPath(nlohmann::json request, const std::string& path,
                                           const Where& where);

}  // namespace btfc::mount_helper
