#include "mount-helper/status.h"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <array>
#include <nlohmann/json.hpp>

namespace btfc::mount_helper {
namespace {

using nlohmann::json;

constexpr std::size_t kConflictsShown = 100;
// Above this two hosts' clocks make "the later wins" surprising.
constexpr std::int64_t kClockWarning_ns = 60'000'000'000;

json PeersOf(const torrent::SwarmStatus& swarm) {
  json peers = json::array();
  for (const auto& peer : swarm.peers) {
    peers.push_back({{"device", index::ToHex(peer.device)},
                     {"name", peer.name},
                     {"address", peer.address},
                     {"in_sync", peer.in_sync},
                     {"clock_offset_ns", peer.clock_offset_ns},
                     {"sent_bytes", peer.sent_bytes},
                     {"received_bytes", peer.received_bytes}});
  }
  return peers;
}

json FetchingOf(const torrent::SwarmStatus& swarm) {
  json fetching = json::array();
  for (const auto& transfer : swarm.fetching) {
    fetching.push_back({{"object", index::ToHex(transfer.id)},
                        {"size", transfer.id.size},
                        {"done_bytes", transfer.done_bytes},
                        {"sources", transfer.sources}});
  }
  return fetching;
}

json DevicesOf(index::Catalogue& catalogue) {
  json devices = json::array();
  const auto known = catalogue.Devices();
  if (!known) return devices;
  for (const auto& device : known.value()) {
    devices.push_back({{"device", index::ToHex(device.id)},
                       {"name", device.name},
                       {"known", device.known},
                       {"self", device.self}});
  }
  return devices;
}

json WarningsOf(const torrent::SwarmStatus& swarm) {
  json warnings = json::array();
  for (const auto& peer : swarm.peers) {
    if (std::abs(peer.clock_offset_ns) <= kClockWarning_ns) continue;
    warnings.push_back(fmt::format("the clock of {} is {} s {} this host's", peer.name,
                                   std::abs(peer.clock_offset_ns) / 1'000'000'000,
                                   peer.clock_offset_ns > 0 ? "ahead of" : "behind"));
  }
  if (swarm.bad_messages > 0) {
    warnings.push_back(fmt::format(
        "{} malformed messages from peers were dropped; the log names them", swarm.bad_messages));
  }
  return warnings;
}

void AddCounts(json& status, index::Catalogue& catalogue) {
  const auto counts = catalogue.Count();
  if (!counts) {
    status["warnings"].push_back("the index does not answer: " + counts.error().message());
    return;
  }
  const auto& c = counts.value();
  status["files"] = c.files;
  status["folders"] = c.folders;
  status["bytes"] = c.bytes;
  status["missing_objects"] = c.missing_objects;
  status["missing_bytes"] = c.missing_bytes;
  status["conflicts"] = c.conflicts;
  status["conflict_paths"] = json::array();
  if (c.conflicts == 0) return;
  if (const auto paths = catalogue.Conflicts(kConflictsShown))
    status["conflict_paths"] = paths.value();
}

std::string Plural(std::uint64_t n, std::string_view one, std::string_view many) {
  return fmt::format("{} {}", n, n == 1 ? one : many);
}

std::string Headline(const json& status) {
  const auto missing = status.value("missing_objects", 0ULL);
  const auto writing = status.value("writing", 0ULL);
  std::string line = missing == 0 ? "everything is here"
                                  : fmt::format("{} ({}) still to come",
                                                Plural(missing, "file content", "file contents"),
                                                HumanBytes(status.value("missing_bytes", 0ULL)));
  if (status.value("lazy", false) && missing > 0) {
    line =
        fmt::format("lazy: {} fetched when read", Plural(missing, "file content", "file contents"));
  }
  std::uint64_t behind = 0;
  for (const auto& peer : status.value("peers", json::array()))
    behind += !peer.value("in_sync", false);
  if (behind > 0) line += fmt::format(", {} catching up", Plural(behind, "host", "hosts"));
  if (writing > 0) line += fmt::format(", {} being written", Plural(writing, "file", "files"));
  return line;
}

}  // namespace

json GatherStatus(index::Catalogue& catalogue, const fs::Files& files,
                  const torrent::Swarm& swarm) {
  const auto swarm_status = swarm.Status();
  const auto files_status = files.GetStatus();
  json status = {{"port", swarm_status.port},
                 {"peers", PeersOf(swarm_status)},
                 {"devices", DevicesOf(catalogue)},
                 {"fetching", FetchingOf(swarm_status)},
                 {"fetch_queue", swarm_status.waiting},
                 {"refused_peers", swarm_status.refused_peers},
                 {"bad_messages", swarm_status.bad_messages},
                 {"writing", files_status.writing},
                 {"waiting_reads", files_status.waiting},
                 {"warnings", WarningsOf(swarm_status)}};
  AddCounts(status, catalogue);
  return status;
}

std::string DescribeStatus(const json& status) {
  std::string text = fmt::format("{} on {}: {}\n", status.value("cluster", ""),
                                 status.value("mount_point", ""), Headline(status));
  const auto peers = status.value("peers", json::array());
  const auto devices = status.value("devices", json::array());
  const auto others = devices.empty() ? 0 : devices.size() - 1;
  text += fmt::format("  hosts     {} connected of {} known, port {}\n", peers.size(),
                      std::max(others, peers.size()), status.value("port", 0));
  text += fmt::format("  contents  {} in {}, {}\n",
                      Plural(status.value("files", 0ULL), "file", "files"),
                      Plural(status.value("folders", 0ULL), "folder", "folders"),
                      HumanBytes(status.value("bytes", 0ULL)));
  for (const auto& transfer : status.value("fetching", json::array())) {
    text += fmt::format("  fetching  {} of {} from {}\n",
                        HumanBytes(transfer.value("done_bytes", 0ULL)),
                        HumanBytes(transfer.value("size", 0ULL)),
                        Plural(transfer.value("sources", 0ULL), "host", "hosts"));
  }
  if (status.contains("import"))
    text += fmt::format("  import    {}\n", status["import"].get<std::string>());
  for (const auto& path : status.value("conflict_paths", json::array())) {
    text += fmt::format("  conflict  {}\n", path.get<std::string>());
  }
  for (const auto& warning : status.value("warnings", json::array())) {
    text += fmt::format("  warning   {}\n", warning.get<std::string>());
  }
  return text;
}

std::string DescribePeers(const json& status) {
  const auto peers = status.value("peers", json::array());
  if (peers.empty()) {
    return "no other host is connected (same cluster.key there? same network, or peer=HOST?)\n";
  }
  std::string text;
  for (const auto& peer : peers) {
    text += fmt::format(
        "{:<20} {:<24} {:<12} sent {:>10}  received {:>10}  {}\n", peer.value("name", ""),
        peer.value("address", ""), peer.value("in_sync", false) ? "in sync" : "catching up",
        HumanBytes(peer.value("sent_bytes", 0ULL)), HumanBytes(peer.value("received_bytes", 0ULL)),
        peer.value("device", "").substr(0, 8));
  }
  return text;
}

std::string HumanBytes(std::uint64_t bytes) {
  static constexpr std::array kUnits = {"KiB", "MiB", "GiB", "TiB", "PiB"};
  if (bytes < 1024) return fmt::format("{} B", bytes);
  auto value = static_cast<double>(bytes) / 1024;
  std::size_t unit = 0;
  for (; value >= 1024 && unit + 1 < kUnits.size(); ++unit) value /= 1024;
  return fmt::format("{:.1f} {}", value, kUnits.at(unit));
}

std::string HumanTime(std::int64_t time_ns) {
  return fmt::format("{:%Y-%m-%d %H:%M:%S}",
                     fmt::localtime(static_cast<std::time_t>(time_ns / 1'000'000'000)));
}

}  // namespace btfc::mount_helper
