// The figures that btfc promises, measured between real mounts in network namespaces, each beside
// its bound (the time that the bytes alone need on the cables) and beside Syncthing's, which does
// the same on the same machines.
#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <string>
#include <vector>

#include "scenarios.h"

namespace btfc::bench {
namespace {

struct Entry {
  const char* name;
  Scenario run;
  bool rival;  // others can do it, too
};

constexpr Entry kScenarios[] = {
    {"latency", Latency, true}, {"small", SmallFiles, true},   {"rename", RenameAndDelete, true},
    {"heal", Heal, true},       {"fanout", FanOut, true},      {"delta", Delta, true},
    {"late", LateJoiner, true}, {"reads", RandomReads, false}, {"sequential", Sequential, false},
};

struct Options {
  std::vector<std::string> names;  // empty: all
  bool btfc = true;
  bool rival = true;
};

void PrintLine(const std::string& what, const std::string& btfc, const std::string& wanted,
               const std::string& bound, const std::string& rival) {
  fmt::print("{:<46} {:>10} {:>8} {:>8} {:>14}\n", what, btfc, wanted, bound, rival);
  std::fflush(stdout);
}

// Nothing, with the reason printed, if it could not be measured.
std::optional<std::vector<Figure>> Measure(const Entry& scenario, const MakeCluster& make) {
  try {
    return scenario.run(make);
  } catch (const std::exception& error) {
    fmt::print(stderr, "bench: {}: {}\n", scenario.name, error.what());
    return std::nullopt;
  }
}

// False if something failed.
bool Run(const Entry& scenario, const Options& options, bool installed) {
  std::optional<std::vector<Figure>> ours, theirs;
  bool ok = true;
  if (options.btfc) {
    ours = Measure(scenario, MakeBtfc);
    ok = ours.has_value();
  }
  const bool compare = options.rival && scenario.rival && installed;
  if (compare) {
    theirs = Measure(scenario, MakeSyncthing);
    ok = ok && theirs.has_value();
  }
  const auto& shown = ours ? ours : theirs;
  if (!shown) {
    PrintLine(scenario.name, "failed", "", "", "");
    return ok;
  }
  for (std::size_t i = 0; i < shown->size(); ++i) {
    const Figure& figure = (*shown)[i];
    std::string rival = !options.rival ? "" : !scenario.rival ? "-" : "not installed";
    if (compare) rival = theirs ? (*theirs)[i].value : "failed";
    PrintLine(figure.what,
              ours           ? figure.value
              : options.btfc ? "failed"
                             : "",
              figure.wanted, figure.bound, rival);
    if (ours && !figure.more.empty()) fmt::print("    {}\n", figure.more);
    if (theirs && !(*theirs)[i].more.empty()) {
      fmt::print("    Syncthing: {}\n", (*theirs)[i].more);
    }
  }
  std::fflush(stdout);
  return ok;
}

std::optional<Options> Parse(const std::vector<std::string>& words) {
  Options options;
  for (const auto& word : words) {
    const bool known = std::any_of(std::begin(kScenarios), std::end(kScenarios),
                                   [&](const Entry& entry) { return word == entry.name; });
    if (known) {
      options.names.push_back(word);
    } else if (word == "--only-btfc") {
      options.rival = false;
    } else if (word == "--only-syncthing") {
      options.btfc = false;
    } else {
      return std::nullopt;
    }
  }
  return options;
}

int Main(const std::vector<std::string>& words) {
  const auto options = Parse(words);
  if (!options) {
    std::string names;
    for (const Entry& scenario : kScenarios) names += std::string(" ") + scenario.name;
    fmt::print(stderr, "usage: bench [--only-btfc|--only-syncthing] [SCENARIO...]\nscenarios:{}\n",
               names);
    return 2;
  }
  if (const auto why = cluster::WhyNoLab()) {
    fmt::print(stderr, "bench: {}\n", *why);
    return 1;
  }
  const bool installed = SyncthingInstalled();
  PrintLine("", "btfc", "wanted", "bound", "Syncthing");
  bool ok = true;
  for (const Entry& scenario : kScenarios) {
    const auto& names = options->names;
    if (!names.empty() && std::find(names.begin(), names.end(), scenario.name) == names.end()) {
      continue;
    }
    ok = Run(scenario, *options, installed) && ok;
  }
  return ok ? 0 : 1;
}

}  // namespace
}  // namespace btfc::bench

int main(int argc, char** argv) { return btfc::bench::Main({argv + 1, argv + argc}); }
