#include "mount-helper/requests.h"

#include <fmt/format.h>
#include <unistd.h>

#include <nlohmann/json.hpp>

#include "index/damage.h"
#include "mount-helper/status.h"
#include "mount-helper/version_requests.h"

namespace btfc::mount_helper {
namespace {

using nlohmann::json;

json ErrorAnswer(const std::string& text) { return {{"error", text}}; }

json Status(const MountRequest& request, index::Catalogue& catalogue, const fs::Files& files,
            const torrent::Swarm& swarm, const ImportJob& import, fs::Scrub& scrub) {
  json status = GatherStatus(catalogue, files, swarm, request.lazy);
  if (const auto damage = index::DamageOf(request.cache / "index.db")) {
    status["warnings"].push_back("the index is damaged (" + *damage +
                                 "): unmount and run `btfc rebuild`");
    status["health"] = "warning";
  }
  if (const auto sickness = index::SicknessOf(request.cache / "index.db")) {
    status["warnings"].push_back("the disk of " + request.cache.native() + " could not be read (" +
                                 *sickness + "): it may be failing, look at the system's log");
    status["health"] = "warning";
  }
  AddScrub(status, scrub);
  status["cluster"] = request.spec;
  status["mount_point"] = request.mount_point.native();
  status["cache"] = request.cache.native();
  status["key"] = (request.key.empty() ? request.cache / "cluster.key" : request.key).native();
  status["pid"] = getpid();
  if (const auto text = import.Describe(); !text.empty()) status["import"] = text;
  for (const auto& failure : import.Failures()) {
    status["warnings"].push_back(
        fmt::format("{} lies below the mount and could not be taken in: {}", failure.path,
                    failure.why.message()));
    status["health"] = "warning";
  }
  return status;
}

}  // namespace

json AnswerRequest(const json& asked, const MountRequest& request, index::Catalogue& catalogue,
                   const fs::Files& files, const torrent::Swarm& swarm, ImportJob& import,
                   fs::Scrub& scrub) {
  const auto command = asked.at("command").get<std::string>();
  for (const auto* writes : {"restore", "undelete", "remove", "import"}) {
    if (command == writes && request.read_only) {
      return ErrorAnswer(
          fmt::format("{} is mounted read-only here: say it on a host that may write",
                      request.mount_point.string()));
    }
  }
  if (command == "status") return Status(request, catalogue, files, swarm, import, scrub);
  if (command == "log") return AnswerLog(asked, catalogue);
  if (command == "restore") return AnswerRestore(asked, catalogue);
  if (command == "undelete") return AnswerUndelete(asked, catalogue);
  if (command == "remove") return AnswerRemove(asked, catalogue);
  if (command == "import") {
    const auto started = import.Again();
    return started ? json{{"import", "started"}}
                   : ErrorAnswer(
                         started.error() == Errno(EBUSY)
                             ? std::string("an import, or the look for new files, is under way: "
                                           "`btfc status` shows it")
                             : started.error().message());
  }
  if (command == "verify") {
    scrub.Verify();
    return {{"verify", "started"}};
  }
  return ErrorAnswer(fmt::format("the daemon does not know the command '{}'", command));
}

}  // namespace btfc::mount_helper
