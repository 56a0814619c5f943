// Random histories of a whole cluster. BTFC_SIMULATION_SEEDS: how many seeds (default: as many as
// take about half a minute; with BTFC_LONG ten thousand). BTFC_SIMULATION_FIRST: the first one.
// BTFC_SIMULATION_SEED: one seed alone, with its trace.
#include "simulation.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>

namespace btfc::index {
namespace {

constexpr std::uint64_t kDefaultSeeds = 30;
constexpr std::uint64_t kLongSeeds = 10000;

// Seeds that once found something wrong.
constexpr std::uint64_t kEarlierFailures[] = {9, 12, 161, 2722, 2837, 2882, 70076, 102815};
constexpr std::uint64_t kEarlierFailuresCollecting[] = {4401, 200576, 603332};

std::optional<std::uint64_t> Setting(const char* name) {
  const char* text = std::getenv(name);
  if (text == nullptr || *text == '\0') return {};
  return std::strtoull(text, nullptr, 10);
}

// The trace of one seed; a failed run fails the test.
std::vector<std::string> RunSeed(std::uint64_t seed, bool collecting = false) {
  const auto folder = std::filesystem::path(testing::TempDir()) /
                      ("simulation-" + std::to_string(::getpid()) + "-" + std::to_string(seed));
  std::filesystem::remove_all(folder);
  std::filesystem::create_directories(folder);
  std::vector<std::string> trace;
  {
    std::optional<Simulation> simulation;
    try {
      simulation.emplace(seed, folder, collecting);
      simulation->Run();
    } catch (const std::exception& error) {
      ADD_FAILURE() << "seed " << seed << ": " << error.what()
                    << "\nagain: BTFC_SIMULATION_SEED=" << seed
                    << " simulation_tests --gtest_filter=Simulation."
                    << (collecting ? "Collecting" : "Seeds");
    }
    if (simulation) trace = simulation->trace();
  }
  std::filesystem::remove_all(folder);
  return trace;
}

void RunSeeds(bool collecting) {
  if (const auto seed = Setting("BTFC_SIMULATION_SEED")) {
    for (const std::string& line : RunSeed(*seed, collecting)) std::printf("%s\n", line.c_str());
    return;
  }
  const std::uint64_t first = Setting("BTFC_SIMULATION_FIRST").value_or(1);
  const std::uint64_t count =
      Setting("BTFC_SIMULATION_SEEDS")
          .value_or(std::getenv("BTFC_LONG") != nullptr ? kLongSeeds : kDefaultSeeds);
  for (std::uint64_t seed = first; seed < first + count && !testing::Test::HasFailure(); ++seed) {
    RunSeed(seed, collecting);
  }
}

TEST(Simulation, Seeds) { RunSeeds(false); }

// With hosts that let go of the rows of what was deleted.
TEST(Simulation, Collecting) { RunSeeds(true); }

TEST(Simulation, EarlierFailures) {
  for (const std::uint64_t seed : kEarlierFailures) RunSeed(seed);
  for (const std::uint64_t seed : kEarlierFailuresCollecting) RunSeed(seed, true);
}

TEST(Simulation, SameSeedSameTrace) {
  for (const std::uint64_t seed : {1U, 2U, 3U}) {
    const auto trace = RunSeed(seed);
    EXPECT_FALSE(trace.empty());
    EXPECT_EQ(RunSeed(seed), trace) << seed;
  }
}

}  // namespace
}  // namespace btfc::index
