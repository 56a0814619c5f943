// What is there is what the log says.
#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "load.h"
#include "opened_file.h"

namespace btfc::cluster {
namespace {

// Nothing, and errno, if a call fails: a file that cannot be read is not an empty one.
std::optional<std::string> ReadWhole(const std::filesystem::path& path) {
  const OpenedFile file(path, O_RDONLY);
  if (file.fd() < 0) return std::nullopt;
  std::string bytes;
  std::vector<char> part(64U << 10U);
  for (;;) {
    const auto got = ::read(file.fd(), part.data(), part.size());
    if (got < 0) return std::nullopt;
    if (got == 0) return bytes;
    bytes.append(part.data(), static_cast<std::size_t>(got));
  }
}

}  // namespace

bool Application::Check() {
  const auto there = ReadAll(mount_);
  if (!complaint_.empty()) return false;
  if (!Settle(there)) return false;
  for (const auto& [name, bytes] : files_) {
    const auto found = there.find(name);
    if (found == there.end()) return Complain(name + " is missing");
    if (found->second != bytes) {
      return Complain(fmt::format("{} holds {} bytes that are not the {} written", name,
                                  found->second.size(), bytes.size()));
    }
  }
  for (const auto& [name, bytes] : there) {
    if (!files_.contains(name)) return Complain(name + " was made by nobody");
  }
  return true;
}

bool Application::CheckOn(const std::filesystem::path& mount) {
  if (ReadAll(mount) == files_) return true;
  return Complain("another host has something else");
}

// Which outcome of the last call it was.
bool Application::Settle(const std::map<std::string, Bytes>& there) {
  std::error_code error;
  std::filesystem::directory_iterator entry(Path(""), error);
  for (const std::filesystem::directory_iterator end; !error && entry != end;
       entry.increment(error)) {
    if (entry->is_directory(error)) sub_ = entry->path().filename();
  }
  if (error) return Complain("cannot list: " + error.message());
  if (open_.empty()) return true;
  const auto fits = [&](const Outcome& outcome) {
    return std::all_of(outcome.begin(), outcome.end(), [&](const auto& expected) {
      const auto found = there.find(expected.first);
      if (!expected.second) return found == there.end();
      return found != there.end() && (*expected.second)(found->second);
    });
  };
  const auto outcome = std::find_if(open_.begin(), open_.end(), fits);
  if (outcome == open_.end()) {
    std::string names;
    for (const auto& expected : open_.front()) {
      const auto found = there.find(expected.first);
      names += fmt::format(
          " {} ({})", expected.first,
          found == there.end() ? "missing" : std::to_string(found->second.size()) + " bytes");
    }
    return Complain("the last call left something half made:" + names);
  }
  for (const auto& expected : *outcome) {
    if (expected.second) {
      files_[expected.first] = there.at(expected.first);
    } else {
      files_.erase(expected.first);
    }
  }
  open_.clear();
  return true;
}

bool Application::Complain(const std::string& why) {
  if (complaint_.empty()) complaint_ = name_ + ": " + why;
  return false;
}

std::map<std::string, Application::Bytes> Application::ReadAll(const std::filesystem::path& mount) {
  std::map<std::string, Bytes> there;
  std::error_code error;
  std::filesystem::recursive_directory_iterator entry(mount / name_, error);
  for (const std::filesystem::recursive_directory_iterator end; !error && entry != end;
       entry.increment(error)) {
    if (!entry->is_regular_file(error)) continue;
    const auto bytes = ReadWhole(entry->path());
    if (!bytes) {
      Complain(fmt::format("cannot read {}: {}", entry->path().native(), std::strerror(errno)));
      return there;
    }
    there[entry->path().lexically_relative(mount / name_)] = *bytes;
  }
  if (error) Complain("cannot list: " + error.message());
  return there;
}

}  // namespace btfc::cluster
