#include "resources.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string_view>

namespace btfc::cluster {
namespace {

std::vector<std::string> Lines(const std::string& file) {
  std::ifstream stream(file);
  std::vector<std::string> lines;
  for (std::string line; std::getline(stream, line);) lines.push_back(line);
  return lines;
}

void AddChildren(pid_t of, std::set<pid_t>& to) {
  std::error_code error;
  const auto tasks = fmt::format("/proc/{}/task", of);
  for (const auto& task : std::filesystem::directory_iterator(tasks, error)) {
    std::ifstream stream(task.path() / "children");
    for (pid_t child = 0; stream >> child;) {
      if (to.insert(child).second) AddChildren(child, to);
    }
  }
}

}  // namespace

Resources ResourcesOf(pid_t process) {
  Resources resources;
  const auto folder = fmt::format("/proc/{}", process);
  // The one that reads the folder is closed again before it is asked for.
  std::vector<std::filesystem::path> links;
  std::error_code error;
  for (const auto& link : std::filesystem::directory_iterator(folder + "/fd", error)) {
    links.push_back(link.path());
  }
  for (const auto& link : links) {
    auto target = std::filesystem::read_symlink(link, error).native();
    if (error) continue;
    const bool numbered = target.starts_with("socket:") || target.starts_with("pipe:");
    resources.descriptors.push_back(numbered ? target.substr(0, target.find('[')) : target);
  }
  std::sort(resources.descriptors.begin(), resources.descriptors.end());
  for (const auto& line : Lines(folder + "/status")) {
    const auto value = [&] { return std::stoull(line.substr(line.find(':') + 1)); };
    if (line.starts_with("Threads:")) resources.threads = static_cast<unsigned>(value());
    if (line.starts_with("VmRSS:")) resources.resident_bytes = value() * 1024;
  }
  return resources;
}

std::string Surplus(const std::vector<std::string>& less, const std::vector<std::string>& more) {
  std::vector<std::string> surplus;
  std::set_difference(more.begin(), more.end(), less.begin(), less.end(),
                      std::back_inserter(surplus));
  return fmt::format("{}", fmt::join(surplus, "\n"));
}

std::vector<std::string> Mounts() {
  auto mounts = Lines("/proc/self/mounts");
  std::sort(mounts.begin(), mounts.end());
  return mounts;
}

std::set<pid_t> Descendants() {
  std::set<pid_t> all;
  AddChildren(getpid(), all);
  return all;
}

}  // namespace btfc::cluster
