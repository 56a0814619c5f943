#include "mount-helper/requests.h"

#include <fmt/format.h>
#include <unistd.h>

#include <nlohmann/json.hpp>

#include "mount-helper/status.h"

namespace btfc::mount_helper {
namespace {

using nlohmann::json;

json ErrorAnswer(const std::string& text) { return {{"error", text}}; }

Result<index::Ino> Resolve(index::Catalogue& catalogue, const std::filesystem::path& path) {
  index::Ino ino = index::kRootIno;
  for (const auto& part : path.relative_path()) {
    if (part.empty() || part == ".") continue;
    BTFC_TRY(node, catalogue.Lookup(ino, part.native()));
    ino = node.ino;
  }
  return ino;
}

// `shown`: the path as the person gave it.
json Log(index::Catalogue& catalogue, const std::string& path, const std::string& shown) {
  const auto ino = Resolve(catalogue, path);
  if (!ino) return ErrorAnswer(fmt::format("{}: {}", shown, ino.error().message()));
  const auto history = catalogue.History(ino.value());
  if (!history) return ErrorAnswer(fmt::format("{}: {}", shown, history.error().message()));
  json versions = json::array();
  for (const auto& version : history.value()) {
    versions.push_back({{"root", index::ToHex(version.id)},
                        {"size", version.id.size},
                        {"time_ns", version.time_ns},
                        {"mtime_ns", version.mtime_ns},
                        {"host", version.host},
                        {"current", version.current},
                        {"present", version.present}});
  }
  return {{"versions", versions}};
}

json Status(const MountRequest& request, index::Catalogue& catalogue, const fs::Files& files,
            const torrent::Swarm& swarm, const ImportJob& import) {
  json status = GatherStatus(catalogue, files, swarm, request.lazy);
  status["cluster"] = request.spec;
  status["mount_point"] = request.mount_point.native();
  status["cache"] = request.cache.native();
  status["pid"] = getpid();
  if (const auto text = import.Describe(); !text.empty()) status["import"] = text;
  return status;
}

}  // namespace

json AnswerRequest(const json& asked, const MountRequest& request, index::Catalogue& catalogue,
                   const fs::Files& files, const torrent::Swarm& swarm, ImportJob& import) {
  const auto command = asked.at("command").get<std::string>();
  if (command == "status") return Status(request, catalogue, files, swarm, import);
  if (command == "log") {
    const auto path = asked.at("path").get<std::string>();
    return Log(catalogue, path, asked.value("shown", path));
  }
  if (command == "import") {
    const auto started = import.Again();
    return started ? json{{"import", "started"}} : ErrorAnswer(started.error().message());
  }
  return ErrorAnswer(fmt::format("the daemon does not know the command '{}'", command));
}

}  // namespace btfc::mount_helper
