// What is measured between hosts. Each function starts its hosts, measures and ends them.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "figures.h"

namespace btfc::bench {

using MakeCluster = std::function<std::unique_ptr<BenchCluster>(int hosts)>;
using Scenario = std::vector<Figure> (*)(const MakeCluster& make);

// scenarios_small.cc
std::vector<Figure> Latency(const MakeCluster& make);
std::vector<Figure> SmallFiles(const MakeCluster& make);
std::vector<Figure> RenameAndDelete(const MakeCluster& make);
std::vector<Figure> Heal(const MakeCluster& make);
// scenarios_large.cc
std::vector<Figure> FanOut(const MakeCluster& make);
std::vector<Figure> Delta(const MakeCluster& make);
std::vector<Figure> LateJoiner(const MakeCluster& make);
// Of btfc alone. scenarios_local.cc
std::vector<Figure> RandomReads(const MakeCluster& make);
std::vector<Figure> Sequential(const MakeCluster& make);

}  // namespace btfc::bench
