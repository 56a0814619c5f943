// What the scenarios have in common: clocks, waits, figures and how they are printed.
#pragma once

#include <chrono>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "bench_cluster.h"

namespace btfc::bench {

using Clock = std::chrono::steady_clock;

inline constexpr std::size_t kMiB = 1024 * 1024;

// One line of the report.
struct Figure {
  std::string what;
  std::string bound;   // what the cables alone need; empty if that means nothing here
  std::string wanted;  // of btfc
  std::string value;
  std::string more;
};

double Seconds(Clock::duration time);
double BoundSeconds(double bytes, double mbit_per_s);
double Percentile(std::vector<double> values, double share);
void Need(bool condition, const std::string& what);
void Await(const std::function<bool()>& condition, const std::string& what);

// A file of that size can be read here.
bool Readable(const std::filesystem::path& file, std::size_t size);
// How many names a user sees; what begins with a dot is the system's own.
std::size_t CountNames(const std::filesystem::path& folder);
// All hosts have the file and everything else that they know of.
void AwaitEverywhere(BenchCluster& hosts, const std::string& file, std::size_t size);

}  // namespace btfc::bench
