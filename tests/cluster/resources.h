// What processes hold of the machine: to compare before and after.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <set>
#include <string>
#include <vector>

namespace btfc::cluster {

struct Resources {
  // What each descriptor leads to, sorted: "/path", "socket:[...]" without its number ...
  std::vector<std::string> descriptors;
  unsigned threads = 0;
  std::uint64_t resident_bytes = 0;
};

// As /proc shows it now. Empty if there is no such process.
Resources ResourcesOf(pid_t process);

// What `more` has that `less` has not, one a line.
std::string Surplus(const std::vector<std::string>& less, const std::vector<std::string>& more);

// The mounts that this process sees.
std::vector<std::string> Mounts();

// All processes below this one.
std::set<pid_t> Descendants();

}  // namespace btfc::cluster
