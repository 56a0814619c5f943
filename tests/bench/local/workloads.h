// What is timed in each place. Every group leaves the folder empty.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "local/sides.h"

namespace btfc::bench {

// Something timed, in seconds. Units: how many of something it was, for the table.
struct Figure {
  std::string name;
  double seconds = 0;
  double units = 1;
  std::string unit;  // "MiB", "file" ...
};

struct Scale {
  double size = 1;    // of files and numbers
  bool cold = false;  // may empty the kernel's page cache (root)
};

using Group = std::vector<Figure> (*)(Side& side, const Scale& scale);

// bulk, random, small, tree, git, folder; see local.cc for what each is wanted to reach.
const std::map<std::string, Group>& Groups();

// Figures of a daemon that has many files: they have no native counterpart.
struct Footprint {
  double files = 0;
  double resident_mib = 0;
  double idle_cpu_percent = 0;
};
Footprint MeasureFootprint(Side& side, const Scale& scale);

}  // namespace btfc::bench
