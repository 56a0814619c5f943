// btfc log, restore, undelete: what files were.
#include <fmt/format.h>

#include <charconv>
#include <chrono>
#include <cstdio>
#include <ctime>
#include <nlohmann/json.hpp>

#include "mount-helper/ask.h"
#include "mount-helper/commands.h"
#include "mount-helper/status.h"

namespace btfc::mount_helper {
namespace {

using nlohmann::json;

constexpr std::int64_t kSecond = 1'000'000'000;  // ns

std::int64_t Now() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

}  // namespace

// A version's time has a fraction of the second that people are shown: the whole second counts.
std::optional<std::int64_t> ParseTime(const std::string& text, std::int64_t now_ns) {
  std::int64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error == std::errc() && end + 1 == text.data() + text.size() && number >= 0) {
    const std::int64_t unit = *end == 's'   ? 1
                              : *end == 'm' ? 60
                              : *end == 'h' ? 3600
                              : *end == 'd' ? 86400
                                            : 0;
    constexpr std::int64_t kAgesMax = 100 * 365;
    if (unit != 0 && number <= kAgesMax * 86400 / unit) return now_ns - number * unit * kSecond;
  }
  for (const char* format :
       {"%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M", "%Y-%m-%d"}) {
    tm time{};
    time.tm_isdst = -1;
    const char* rest = ::strptime(text.c_str(), format, &time);
    if (rest == nullptr || *rest != '\0') continue;
    const std::time_t seconds = ::mktime(&time);
    if (seconds == -1) continue;
    return std::int64_t{seconds} * kSecond + kSecond - 1;
  }
  return std::nullopt;
}

namespace {

// Asks about a path in a mounted folder; with `time`, if any, as "at_ns".
std::optional<json> AskAbout(const char* command, const std::string& file, const std::string& time,
                             const Where& where) {
  json request = {{"command", command}};
  if (!time.empty()) {
    const auto at = ParseTime(time, Now());
    if (!at) {
      Complain(fmt::format(
          "'{}' is no time: give \"2026-11-22 18:30\", or how long ago: 90s, 10m, 2h, 3d", time));
      return std::nullopt;
    }
    request["at_ns"] = *at;
  }
  return AskAboutPath(std::move(request), file, where);
}

}  // namespace

int LogCommand(const std::string& file, const Where& where) {
  const auto answer = AskAbout("log", file, {}, where);
  if (!answer) return 1;
  const auto& versions = answer->at("versions");
  if (where.json) {
    fmt::print("{}\n", versions.dump(2));
    return 0;
  }
  for (const auto& version : versions) {
    const bool current = version.at("current").get<bool>();
    const bool present = version.at("present").get<bool>();
    fmt::print("{} {:<16} {:>10}  {}{}{}\n", HumanTime(version.at("time_ns").get<std::int64_t>()),
               version.at("host").get<std::string>(),
               HumanBytes(version.at("size").get<std::uint64_t>()),
               version.at("root").get<std::string>().substr(0, 12), current ? "  current" : "",
               current || present ? "" : "  not kept here");
  }
  return 0;
}

int RestoreCommand(const std::string& file, const std::string& time, const Where& where) {
  const auto answer = AskAbout("restore", file, time, where);
  if (!answer) return 1;
  fmt::print("{} is again what it was at {} ({}){}\n", file,
             HumanTime(answer->at("time_ns").get<std::int64_t>()),
             answer->at("host").get<std::string>(),
             answer->at("present").get<bool>() ? "" : "; its bytes have to come from another host");
  return 0;
}

int UndeleteCommand(const std::string& path, const std::string& time, const Where& where) {
  const auto answer = AskAbout("undelete", path, time, where);
  if (!answer) return 1;
  const auto count = answer->at("count").get<std::uint64_t>();
  fmt::print("{} is back{}\n", path, count > 1 ? fmt::format(", {} files and folders", count) : "");
  return 0;
}

int RemoveCommand(const std::string& host, const Where& where) {
  const auto answer = AskAtMount({{"command", "remove"}, {"host", host}}, where);
  if (!answer) return 1;
  fmt::print(
      "{} is no member any more. Who had its cluster.key can still join as a new host:\n"
      "if it fell into other hands, move to a new cluster with a new key.\n",
      answer->at("removed").get<std::string>());
  return 0;
}

}  // namespace btfc::mount_helper
