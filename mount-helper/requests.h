// What the daemon answers on its control socket.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include "fs/files.h"
#include "fs/scrub.h"
#include "index/catalogue.h"
#include "mount-helper/import_job.h"
#include "mount-helper/options.h"
#include "torrent/swarm.h"

namespace btfc::mount_helper {

// {"command": "status"} | {"command": "import"} | {"command": "verify"} | those of
// version_requests.h; any other answers {"error": text}. On the control server's thread.
nlohmann::json AnswerRequest(const nlohmann::json& asked, const MountRequest& request,
                             index::Catalogue& catalogue, const fs::Files& files,
                             const torrent::Swarm& swarm, ImportJob& import, fs::Scrub& scrub);

}  // namespace btfc::mount_helper
