#include "mount-helper/hints.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>

#include "mount-helper/options.h"

namespace btfc::mount_helper {
namespace {

bool IsPlain(char c) {
  return std::isalnum(static_cast<unsigned char>(c)) != 0 ||
         std::string_view("_@%+=:,./-").find(c) != std::string_view::npos;
}

}  // namespace

std::string OneLine(std::string text) {
  for (char& c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte == 0x7f) c = '?';
  }
  return text;
}

std::string ShellWord(const std::string& word) {
  if (!word.empty() && std::all_of(word.begin(), word.end(), IsPlain)) return word;
  std::string quoted = "'";
  for (const char c : word) {
    if (c == '\'') {
      quoted += "'\\''";
    } else {
      quoted += c;
    }
  }
  return quoted + "'";
}

std::string ShellPath(const std::filesystem::path& path, const std::filesystem::path& home) {
  if (home.empty() || home == "/") return ShellWord(path.native());
  const auto inside = path.lexically_relative(home);
  if (inside.empty() || *inside.begin() == "..") return ShellWord(path.native());
  return inside == "." ? "~" : "~/" + ShellWord(inside.native());
}

std::string HowToAddAHost(const std::filesystem::path& key_file, const std::string& spec,
                          const std::filesystem::path& mount_point,
                          const std::filesystem::path& home) {
  const auto cache = ShellPath(DefaultCache(home, spec), home);
  const auto there = mount_point.empty() ? "MOUNTPOINT" : ShellPath(mount_point, home);
  const auto command =
      fmt::format("btfc join cluster.key --cache {} && mkdir -p {} && mount.btfc {} {}", cache,
                  there, ShellWord(spec), there);
  return fmt::format("  scp {} HOST:cluster.key\n  ssh HOST {}", ShellWord(key_file.native()),
                     ShellWord(command));
}

}  // namespace btfc::mount_helper
