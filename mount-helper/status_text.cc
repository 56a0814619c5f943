// The status for a person.
#include <fmt/chrono.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>

#include "mount-helper/hints.h"
#include "mount-helper/status.h"

namespace btfc::mount_helper {
namespace {

using nlohmann::json;

std::string Plural(std::uint64_t n, std::string_view one, std::string_view many) {
  return fmt::format("{} {}", n, n == 1 ? one : many);
}

std::string Amount(std::uint64_t objects, std::uint64_t bytes) {
  return fmt::format("{} ({})", Plural(objects, "file content", "file contents"),
                     HumanBytes(bytes));
}

// A line below a heading.
std::string Item(const std::string& text) { return "              " + text + "\n"; }

// "and 12 more", if a list of `shown` does not name all.
std::string More(std::uint64_t all, std::size_t shown) {
  return all > shown ? Item(fmt::format("and {} more", all - shown)) : "";
}

json List(const json& status, const char* key) { return status.value(key, json::array()); }

// Whether what is here is elsewhere, too.
std::string OthersHave(const json& status) {
  const auto peers = List(status, "peers");
  const auto complete = status.value("complete_peers", 0ULL);
  if (complete == peers.size()) {
    return peers.size() == 1 ? "and on the other connected host"
                             : fmt::format("and on all {} connected hosts", peers.size());
  }
  const auto lazy = static_cast<std::uint64_t>(
      std::ranges::count_if(peers, [](const auto& peer) { return peer.value("lazy", false); }));
  auto text = fmt::format("and on {} of {} connected {}", complete, peers.size(),
                          peers.size() == 1 ? "host" : "hosts");
  if (lazy > 0) text += fmt::format(" ({} lazy)", lazy);
  return text;
}

std::string Headline(const json& status) {
  const auto missing = status.value("missing_objects", 0ULL);
  const auto writing = status.value("writing", 0ULL);
  std::string line = "everything is here";
  if (missing > 0 && status.value("lazy", false)) {
    line = fmt::format("lazy, {} fetched when read",
                       Amount(missing, status.value("missing_bytes", 0ULL)));
  } else if (missing > 0) {
    line = Amount(missing, status.value("missing_bytes", 0ULL)) + " still to come";
  }
  if (List(status, "peers").empty()) {
    line += "; no other host is connected";
  } else {
    line += (missing > 0 ? "; the rest is here " : " ") + OthersHave(status);
  }
  if (writing > 0) line += fmt::format("; {} being written", Plural(writing, "file", "files"));
  return line;
}

constexpr std::size_t kRefusedShown = 5;  // addresses

std::string RefusedFrom(const json& status) {
  std::string text;
  std::size_t shown = 0;
  const auto from = List(status, "refused_from");
  for (const auto& address : from) {
    if (shown++ == kRefusedShown) break;
    text += (text.empty() ? " from " : ", ") + OneLine(address.value("address", ""));
  }
  return text + (from.size() > kRefusedShown ? ", ..." : "");
}

std::string Hosts(const json& status) {
  const auto peers = List(status, "peers");
  const auto devices = List(status, "devices");
  const auto others = devices.empty() ? 0 : devices.size() - 1;
  auto text = fmt::format("  hosts     {} connected of {} known, port {}\n", peers.size(),
                          std::max(others, peers.size()), status.value("port", 0));
  for (const auto& peer : peers) {
    text += Item(fmt::format("{:<16} {}", OneLine(peer.value("name", "")), PeerState(peer)));
  }
  if (const auto refused = status.value("refused_peers", 0ULL); refused > 0) {
    text += Item(fmt::format("{}{} refused: another cluster's key, or none",
                             Plural(refused, "connection", "connections"), RefusedFrom(status)));
  }
  return text;
}

std::string Coming(const json& status) {
  const auto missing = status.value("missing_objects", 0ULL);
  const auto coming = List(status, "coming");
  if (missing == 0) return "";
  const bool lazy = status.value("lazy", false);
  auto text = fmt::format("  {} {}{}\n", lazy ? "elsewhere" : "coming   ",
                          Amount(missing, status.value("missing_bytes", 0ULL)),
                          lazy ? ", fetched when read" : "");
  for (const auto& file : coming) {
    const auto size = HumanBytes(file.value("size", 0ULL));
    const auto sources = file.value("sources", 0ULL);
    const auto done = file.value("done_bytes", 0ULL);
    const auto state = sources > 0 ? fmt::format("{} of {} from {}", HumanBytes(done), size,
                                                 Plural(sources, "host", "hosts"))
                                   : fmt::format("{}{}", size, lazy ? "" : ", waits");
    text += Item(fmt::format("{}  {}", OneLine(file.value("path", "")), state));
  }
  return text + More(missing, coming.size());
}

std::string Open(const json& status) {
  const auto files = List(status, "open_files");
  std::string text;
  for (const auto& file : files) {
    const auto since = file.value("since_ns", std::int64_t{0});
    text += fmt::format("  writing   {}  {}{}\n", OneLine(file.value("path", "")),
                        file.value("open", false) ? "open since " : "closed, opened ",
                        since == 0 ? "before the last start" : HumanTime(since));
  }
  return text + More(status.value("writing", 0ULL), files.size());
}

}  // namespace

std::string PeerState(const json& peer) {
  if (peer.value("complete", false)) return "has everything";
  if (!peer.value("in_sync", false)) return "catching up";
  const auto missing = peer.value("missing_objects", json());
  if (!missing.is_number()) return "catching up";
  const auto amount = Amount(missing.get<std::uint64_t>(),
                             peer.value("missing_bytes", json(0)).get<std::uint64_t>());
  return peer.value("lazy", false) ? fmt::format("lazy, without {}", amount)
                                   : fmt::format("{} still to go there", amount);
}

std::string DescribeStatus(const json& status) {
  auto text = fmt::format("{} on {}: {}: {}\n", status.value("cluster", ""),
                          status.value("mount_point", ""), status.value("health", "unknown"),
                          Headline(status));
  text += Hosts(status);
  text += fmt::format("  contents  {} in {}, {}\n",
                      Plural(status.value("files", 0ULL), "file", "files"),
                      Plural(status.value("folders", 0ULL), "folder", "folders"),
                      HumanBytes(status.value("bytes", 0ULL)));
  text += Coming(status);
  text += Open(status);
  if (status.contains("import"))
    text += fmt::format("  import    {}\n", OneLine(status["import"].get<std::string>()));
  const auto conflicts = List(status, "conflict_paths");
  for (const auto& path : conflicts) {
    text += fmt::format("  conflict  {}\n", OneLine(path.get<std::string>()));
  }
  text += More(status.value("conflicts", 0ULL), conflicts.size());
  for (const auto& warning : List(status, "warnings")) {
    text += fmt::format("  warning   {}\n", OneLine(warning.get<std::string>()));
  }
  return text;
}

std::string DescribePeers(const json& status) {
  const auto peers = List(status, "peers");
  if (peers.empty()) {
    return "no other host is connected (same cluster.key there? same network, or peer=HOST?)\n";
  }
  std::string text;
  for (const auto& peer : peers) {
    text += fmt::format(
        "{:<20} {:<24} {}, sent {}, received {}, device {}\n", OneLine(peer.value("name", "")),
        peer.value("address", ""), PeerState(peer), HumanBytes(peer.value("sent_bytes", 0ULL)),
        HumanBytes(peer.value("received_bytes", 0ULL)), peer.value("device", "").substr(0, 8));
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
