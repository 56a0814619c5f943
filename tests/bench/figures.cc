#include "figures.h"

#include <sys/stat.h>

#include <algorithm>
#include <stdexcept>

namespace btfc::bench {

double Seconds(Clock::duration time) { return std::chrono::duration<double>(time).count(); }

double BoundSeconds(double bytes, double mbit_per_s) { return bytes * 8 / (mbit_per_s * 1e6); }

double Percentile(std::vector<double> values, double share) {
  std::sort(values.begin(), values.end());
  return values.at(static_cast<std::size_t>(share * static_cast<double>(values.size() - 1)));
}

void Need(bool condition, const std::string& what) {
  if (!condition) throw std::runtime_error(what);
}

void Await(const std::function<bool()>& condition, const std::string& what) {
  Need(cluster::Eventually(condition, kPatience), what);
}

bool Readable(const std::filesystem::path& file, std::size_t size) {
  struct stat status {};
  return stat(file.c_str(), &status) == 0 && static_cast<std::size_t>(status.st_size) == size;
}

std::size_t CountNames(const std::filesystem::path& folder) {
  std::size_t count = 0;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(folder, error)) {
    if (entry.path().filename().native().front() != '.') ++count;
  }
  return count;
}

void AwaitEverywhere(BenchCluster& hosts, const std::string& file, std::size_t size) {
  for (std::size_t i = 0; i < hosts.size(); ++i) {
    Await([&] { return Readable(hosts.folder(i) / file, size); }, file + " never came");
  }
  for (std::size_t i = 0; i < hosts.size(); ++i) {
    Await([&] { return hosts.Complete(i); }, file + " is never complete");
  }
}

}  // namespace btfc::bench
