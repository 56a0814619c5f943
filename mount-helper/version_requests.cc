#include "mount-helper/version_requests.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>

#include "mount-helper/status.h"

namespace btfc::mount_helper {
namespace {

using nlohmann::json;

json ErrorAnswer(const std::string& text) { return {{"error", text}}; }

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

}  // namespace

json AnswerLog(const json& asked, index::Catalogue& catalogue) {
  const auto path = asked.at("path").get<std::string>();
  const auto shown = asked.value("shown", path);
  const auto history = catalogue.VersionsAt(path);
  if (!history) return ErrorAnswer(fmt::format("{}: {}", shown, Describe(history.error())));
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
  const auto path = asked.at("path").get<std::string>();
  const auto shown = asked.value("shown", path);
  const auto history = catalogue.VersionsAt(path);
  if (!history) return ErrorAnswer(fmt::format("{}: {}", shown, Describe(history.error())));
  const auto time = TimeOf(asked);
  const auto& versions = history.value();
  const auto chosen =
      std::find_if(versions.begin(), versions.end(), [&](const index::VersionInfo& version) {
        return time ? version.time_ns <= *time : !version.current;
      });
  if (chosen == versions.end()) {
    return ErrorAnswer(fmt::format("{}: no version from {} is kept; the oldest one is from {}",
                                   path, time ? HumanTime(*time) : "before the current one",
                                   HumanTime(versions.back().time_ns)));
  }
  const auto restored = catalogue.Restore(path, chosen->ino, chosen->commit);
  if (!restored) return ErrorAnswer(fmt::format("{}: {}", shown, Describe(restored.error())));
  return {{"time_ns", chosen->time_ns}, {"host", chosen->host}, {"present", chosen->present}};
}

json AnswerUndelete(const json& asked, index::Catalogue& catalogue) {
  const auto path = asked.at("path").get<std::string>();
  const auto shown = asked.value("shown", path);
  const auto undeleted = catalogue.Undelete(path, TimeOf(asked));
  if (!undeleted) return ErrorAnswer(fmt::format("{}: {}", shown, Describe(undeleted.error())));
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
