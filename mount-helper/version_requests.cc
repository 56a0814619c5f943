#include "mount-helper/version_requests.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>

#include "mount-helper/status.h"

namespace btfc::mount_helper {
namespace {

using nlohmann::json;

// `path`: it is about the one that was asked for, which the asker can show as it was given.
json ErrorAnswer(const std::string& text, bool path = false) {
  json answer = {{"error", text}};
  if (path) answer["about_path"] = true;
  return answer;
}

// JSON's strings are UTF-8, names need not be.
std::string PathOf(const json& asked) {
  if (!asked.contains("path_hex")) return asked.at("path").get<std::string>();
  const auto hex = asked.at("path_hex").get<std::string>();
  std::string path;
  for (std::size_t i = 0; i + 1 < hex.size(); i += 2) {
    path += static_cast<char>(std::strtoul(hex.substr(i, 2).c_str(), nullptr, 16));
  }
  return path;
}

std::string Describe(const std::error_code& error) {
  switch (ToErrno(error)) {
    case ENOENT:
      return "nothing is kept of it";
    case EEXIST:
      return "something is there already";
    case EBUSY:
      return "it is open for writing";
    default:
      return error.message();
  }
}

std::optional<std::int64_t> TimeOf(const json& asked) {
  const auto at = asked.find("at_ns");
  if (at == asked.end()) return std::nullopt;
  return at->get<std::int64_t>();
}

// Why there are no versions of a path.
json NoVersions(const std::string& path, const std::error_code& why, index::Catalogue& catalogue) {
  const auto inodes = catalogue.InodesAt(path);
  const bool folder = path == "." || (inodes && !inodes.value().folders.empty());
  if (!folder) return ErrorAnswer(Describe(why), true);
  return ErrorAnswer("it is a folder: name a file in it (.btfc/versions of the mount shows all)",
                     true);
}

}  // namespace

json AnswerLog(const json& asked, index::Catalogue& catalogue) {
  const auto path = PathOf(asked);
  const auto history = catalogue.VersionsAt(path);
  if (!history) return NoVersions(path, history.error(), catalogue);
  json versions = json::array();
  for (const auto& version : history.value()) {
    versions.push_back({{"root", index::ToHex(version.id)},
                        {"size", version.id.size},
                        {"time_ns", version.time_ns},
                        {"mtime_ns", version.mtime_ns},
                        {"host", version.host},
                        {"current", version.current},
                        {"removed", version.removed},
                        {"present", version.present}});
  }
  return {{"versions", versions}};
}

json AnswerRestore(const json& asked, index::Catalogue& catalogue) {
  const auto path = PathOf(asked);
  const auto history = catalogue.VersionsAt(path);
  if (!history) return NoVersions(path, history.error(), catalogue);
  const auto time = TimeOf(asked);
  const auto& versions = history.value();
  const auto chosen =
      std::find_if(versions.begin(), versions.end(), [&](const index::VersionInfo& version) {
        return time ? version.time_ns <= *time : !version.current;
      });
  if (chosen == versions.end()) {
    return ErrorAnswer(fmt::format("no version from {} is kept; the oldest one is from {}",
                                   time ? HumanTime(*time) : "before the current one",
                                   HumanTime(versions.back().time_ns)),
                       true);
  }
  const auto restored = catalogue.Restore(path, chosen->ino, chosen->commit);
  if (!restored) return ErrorAnswer(Describe(restored.error()), true);
  return {{"time_ns", chosen->time_ns}, {"host", chosen->host}, {"present", chosen->present}};
}

json AnswerUndelete(const json& asked, index::Catalogue& catalogue) {
  const auto path = PathOf(asked);
  const auto undeleted = catalogue.Undelete(path, TimeOf(asked));
  if (!undeleted) return ErrorAnswer(Describe(undeleted.error()), true);
  return {{"count", undeleted.value()}};
}

json AnswerRemove(const json& asked, index::Catalogue& catalogue) {
  const auto host = asked.at("host").get<std::string>();
  const auto devices = catalogue.Devices();
  if (!devices) return ErrorAnswer(devices.error().message());
  std::set<index::NodeKey> keys;
  const index::DeviceInfo* chosen = nullptr;
  for (const auto& device : devices.value()) {
    if (device.name != host && !(host.size() >= 8 && ToHex(device.id).starts_with(host))) continue;
    if (!device.removed) keys.insert(device.node_key);
    chosen = &device;
  }
  if (chosen == nullptr) {
    return ErrorAnswer(fmt::format("no host of this cluster is called '{}'", host));
  }
  if (keys.empty()) return ErrorAnswer(fmt::format("'{}' was removed already", host));
  if (keys.size() > 1) {
    return ErrorAnswer(fmt::format(
        "several hosts are called '{}': give the beginning of the device's id instead (btfc status "
        "--json)",
        host));
  }
  for (const auto& device : devices.value()) {
    if (device.node_key == *keys.begin()) chosen = &device;
  }
  const auto removed = catalogue.RemoveMember(chosen->id);
  if (!removed && ToErrno(removed.error()) == EINVAL) {
    return ErrorAnswer("this is the host itself: remove it from another one");
  }
  if (!removed) return ErrorAnswer(removed.error().message());
  return {{"removed", chosen->name}};
}

}  // namespace btfc::mount_helper
