// What mount.btfc was asked to do: its command line, in mount(8)'s dialect and in ours.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <string>
#include <variant>
#include <vector>

#include "fs/version_keeper.h"

namespace btfc::mount_helper {

enum class ImportMode : std::uint8_t { kCopy, kLink, kNone };

struct MountRequest {
  std::string spec;                   // the cluster's name
  std::filesystem::path mount_point;  // absolute, as given otherwise
  std::filesystem::path cache;        // absolute
  std::filesystem::path key;          // empty: cluster.key in the cache
  std::uint16_t port = 51413;
  std::vector<std::string> listen;
  std::vector<std::string> peers;
  std::vector<std::string> trackers;
  bool lpd = true;
  bool dht = false;
  bool lazy = false;
  bool read_only = false;
  bool allow_other = false;
  bool numeric_owner = false;
  std::chrono::milliseconds read_timeout{60'000};
  ImportMode import = ImportMode::kCopy;
  fs::VersionPolicy versions;
  std::vector<std::string> kernel_options;  // nosuid, noatime ... in the order given
  bool foreground = false;
  bool fake = false;  // -f of mount(8): check everything, mount nothing
  bool verbose = false;
};

struct HelpRequest {
  bool version = false;  // --version rather than --help
};

struct UsageError {
  std::string message;  // one line that names what is wrong
};

// `arguments` without the program's name; `home` is the mounting user's home folder.
std::variant<MountRequest, HelpRequest, UsageError> ParseMountArguments(
    const std::vector<std::string>& arguments, const std::filesystem::path& home,
    const std::filesystem::path& current_folder);

std::string MountUsage();

// $HOME, else what the password database says of the calling user; empty if neither knows.
std::filesystem::path HomeFolder();

// ~/.btfccache/SPEC
std::filesystem::path DefaultCache(const std::filesystem::path& home, const std::string& spec);

}  // namespace btfc::mount_helper
