#include "mount-helper/status.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <set>

namespace btfc::mount_helper {
namespace {

using nlohmann::json;

constexpr std::size_t kConflictsShown = 100;
constexpr std::size_t kListed = 20;  // files that are named in a list
constexpr std::size_t kWritingMax = 1000;
// Above this two hosts' clocks make "the later wins" surprising.
constexpr std::int64_t kClockWarning_ns = 60'000'000'000;

// Connected hosts that have every name and every content that this host knows.
bool HasEverything(const torrent::PeerStatus& peer) {
  return peer.in_sync && peer.missing && peer.missing->objects == 0;
}

json PeersOf(const torrent::SwarmStatus& swarm) {
  json peers = json::array();
  for (const auto& peer : swarm.peers) {
    peers.push_back({{"device", index::ToHex(peer.device)},
                     {"name", peer.name},
                     {"address", peer.address},
                     {"in_sync", peer.in_sync},
                     {"lazy", peer.lazy},
                     {"complete", HasEverything(peer)},
                     {"missing_objects", peer.missing ? json(peer.missing->objects) : json()},
                     {"missing_bytes", peer.missing ? json(peer.missing->bytes) : json()},
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
  if (swarm.no_room) {
    warnings.push_back(
        "the disk is too full for some of what is to come: that is fetched where it is read");
  }
  for (const auto& name : swarm.unresolved_peers) {
    warnings.push_back(fmt::format("peer={}: no host of that name is known", name));
  }
  for (const auto& name : swarm.absent_listen) {
    warnings.push_back(fmt::format("listen={}: this host has no such address or interface", name));
  }
  if (swarm.bad_messages > 0) {
    warnings.push_back(fmt::format(
        "{} malformed messages from peers were dropped; the log names them", swarm.bad_messages));
  }
  return warnings;
}

void AddCounts(json& status, index::Catalogue& catalogue) {
  for (const auto* key :
       {"files", "folders", "bytes", "missing_objects", "missing_bytes", "conflicts"}) {
    status[key] = 0;
  }
  status["conflict_paths"] = json::array();
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
  if (c.conflicts == 0) return;
  if (const auto paths = catalogue.Conflicts(kConflictsShown))
    status["conflict_paths"] = paths.value();
}

// The first contents that are still to come, with what is here of them. A content without a path
// was deleted meanwhile.
json ComingOf(index::Catalogue& catalogue, const fs::Files& files,
              const torrent::SwarmStatus& swarm) {
  json coming = json::array();
  std::set<index::ContentId> named;
  std::set<index::Ino> written;
  for (const auto& file : files.ListWriting(kWritingMax)) written.insert(file.ino);
  // What a file was that is being written to is not here, and does not come.
  const auto only_written = [&](const index::ContentId& id) {
    const auto of = catalogue.FilesOf(id, kListed);
    return of && !of.value().empty() &&
           std::ranges::all_of(of.value(), [&](index::Ino ino) { return written.contains(ino); });
  };
  const auto add = [&](const index::ContentId& id, const torrent::TransferStatus* transfer) {
    if (coming.size() >= kListed || !named.insert(id).second) return;
    const auto path = catalogue.PathOfContent(id);
    if (!path) return;
    coming.push_back({{"path", path.value()},
                      {"size", id.size},
                      {"done_bytes", transfer == nullptr ? 0 : transfer->done_bytes},
                      {"sources", transfer == nullptr ? 0 : transfer->sources}});
  };
  for (const auto& transfer : swarm.fetching) add(transfer.id, &transfer);
  const auto missing = catalogue.Missing(std::nullopt, kListed);
  if (!missing) return coming;
  for (const auto& id : missing.value()) {
    if (!only_written(id)) add(id, nullptr);
  }
  return coming;
}

json OpenFilesOf(index::Catalogue& catalogue, const fs::Files& files) {
  json open = json::array();
  for (const auto& file : files.ListWriting(kListed)) {
    const auto path = catalogue.PathOf(file.ino);
    open.push_back(
        {{"path", path ? path.value() : ""}, {"since_ns", file.since_ns}, {"open", file.open}});
  }
  return open;
}

// Versions that cannot be told to others yet. Each is a warning, too.
void AddFailing(json& status, index::Catalogue& catalogue, const fs::Files& files) {
  json failing = json::array();
  const auto all = files.ListFailing();
  for (const auto& file : all) {
    if (failing.size() >= kListed) break;
    const auto path = catalogue.PathOf(file.ino);
    failing.push_back({{"path", path ? path.value() : ""},
                       {"reason", file.failure.message()},
                       {"since_ns", file.since_ns}});
    status["warnings"].push_back(
        fmt::format("{} cannot be committed: {}; it stays as it is, is tried again, and other "
                    "hosts have what it was before",
                    path ? path.value() : "a file", file.failure.message()));
  }
  if (all.size() > failing.size()) {
    status["warnings"].push_back(
        fmt::format("{} more files cannot be committed", all.size() - failing.size()));
  }
  status["failing"] = std::move(failing);
}

// One word for scripts and for the first glance.
const char* HealthOf(const json& status, const torrent::SwarmStatus& swarm) {
  if (!status["warnings"].empty()) return "warning";
  if (status["missing_objects"] != 0 && status["lazy"] == false) return "receiving";
  if (status["writing"] != 0) return "writing";
  const auto behind = [](const auto& peer) {
    return !(peer.lazy ? peer.in_sync : HasEverything(peer));
  };
  if (std::ranges::any_of(swarm.peers, behind)) return "sending";
  if (status["missing_objects"] != 0) return "lazy";
  return swarm.peers.empty() ? "alone" : "complete";
}

json RefusedOf(const torrent::SwarmStatus& status) {
  json addresses = json::array();
  for (const auto& from : status.refused) {
    addresses.push_back({{"address", from.ip}, {"connections", from.connections}});
  }
  return addresses;
}

}  // namespace

json GatherStatus(index::Catalogue& catalogue, const fs::Files& files, const torrent::Swarm& swarm,
                  bool lazy) {
  const auto swarm_status = swarm.Status();
  const auto files_status = files.GetStatus();
  json status = {{"lazy", lazy},
                 {"port", swarm_status.port},
                 {"peers", PeersOf(swarm_status)},
                 {"devices", DevicesOf(catalogue)},
                 {"fetching", FetchingOf(swarm_status)},
                 {"fetch_queue", swarm_status.waiting},
                 {"coming", ComingOf(catalogue, files, swarm_status)},
                 {"complete_peers", std::ranges::count_if(swarm_status.peers, HasEverything)},
                 {"refused_peers", swarm_status.refused_peers},
                 {"refused_from", RefusedOf(swarm_status)},
                 {"late_connections", swarm_status.late_connections},
                 {"bad_messages", swarm_status.bad_messages},
                 {"writing", files_status.writing},
                 {"open_files", OpenFilesOf(catalogue, files)},
                 {"waiting_reads", files_status.waiting},
                 {"warnings", WarningsOf(swarm_status)}};
  if (const auto left = catalogue.WasLeftBehind(); left && left.value()) {
    status["warnings"].push_back(
        "this host was away for too long, and exchanges no names with the others: umount, and "
        "mount "
        "again; its index is made anew then, and what only this host has is kept");
  }
  AddCounts(status, catalogue);
  AddFailing(status, catalogue, files);
  status["health"] = HealthOf(status, swarm_status);
  return status;
}

void AddScrub(json& status, fs::Scrub& scrub) {
  const auto report = scrub.Report();
  status["scrub"] = {{"running", report.running},       {"objects", report.objects},
                     {"bytes", report.bytes},           {"damaged", report.damaged},
                     {"missing", report.missing},       {"unreadable", report.unreadable},
                     {"strays_removed", report.strays}, {"ended_ns", report.ended_ns}};
  auto lost = json::array();
  for (const auto& content : scrub.Lost()) {
    for (const auto& path : content.paths) lost.push_back(path);
  }
  for (const auto& path : lost) {
    status["warnings"].push_back(
        fmt::format("the content of {} was damaged or lost here; waiting for a host that has it",
                    path.get<std::string>()));
  }
  if (!lost.empty()) status["health"] = "warning";
  status["lost"] = std::move(lost);
}

}  // namespace btfc::mount_helper
