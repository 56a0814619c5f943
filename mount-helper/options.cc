#include "mount-helper/options.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <pwd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <cstdlib>
#include <functional>
#include <map>
#include <optional>
#include <string_view>

#include "mount-helper/hints.h"

namespace btfc::mount_helper {
namespace {

// An option's handler answers what is wrong with the value, or nothing.
using Complaint = std::optional<std::string>;
using WithValue = std::function<Complaint(MountRequest&, const std::string&)>;
using Flag = std::function<void(MountRequest&)>;

template <class T>
std::optional<T> Number(std::string_view text) {
  T value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

Complaint SetPort(MountRequest& request, const std::string& value) {
  const auto port = Number<std::uint16_t>(value);
  if (!port || *port == 0) return "a port is a number from 1 to 65535";
  request.port = *port;
  return {};
}

// Seconds, or with a suffix: 500ms, 30s, 2m.
Complaint SetReadTimeout(MountRequest& request, const std::string& value) {
  const auto digits = value.find_first_not_of("0123456789");
  const auto number = Number<std::uint32_t>(std::string_view(value).substr(0, digits));
  const auto unit = digits == std::string::npos ? "s" : value.substr(digits);
  static const std::map<std::string, std::int64_t> kUnits = {{"ms", 1}, {"s", 1000}, {"m", 60'000}};
  const auto factor = kUnits.find(unit);
  if (!number || *number == 0 || factor == kUnits.end()) {
    return "a time is a number of seconds above 0, or 500ms, 30s, 2m";
  }
  request.read_timeout = std::chrono::milliseconds(*number * factor->second);
  return {};
}

// An age (30d, 12h; 0 keeps nothing) and, after a colon, the room: 10% of the disk, or 20G.
Complaint SetVersions(MountRequest& request, const std::string& value) {
  constexpr std::string_view kRule = "it is an age, and room if you like: 30d, 12h:5%, 7d:20G, 0";
  static const std::map<std::string, std::int64_t> kAges = {{"h", 3600}, {"d", 86400}};
  static const std::map<std::string, std::uint64_t> kSizes = {
      {"M", 1ULL << 20U}, {"G", 1ULL << 30U}, {"T", 1ULL << 40U}};
  const auto colon = value.find(':');
  const std::string age = value.substr(0, colon);
  const auto age_digits = age.find_first_not_of("0123456789");
  const auto number = Number<std::uint32_t>(std::string_view(age).substr(0, age_digits));
  const auto unit = kAges.find(age_digits == std::string::npos ? "d" : age.substr(age_digits));
  constexpr std::uint32_t kAgeMax = 36500;
  if (!number || *number > kAgeMax || unit == kAges.end()) return std::string(kRule);
  request.versions.age_ns = *number * unit->second * 1'000'000'000;
  if (colon == std::string::npos) return {};
  const std::string room = value.substr(colon + 1);
  const auto room_digits = room.find_first_not_of("0123456789");
  const auto amount = Number<std::uint32_t>(std::string_view(room).substr(0, room_digits));
  if (!amount || *amount == 0 || room_digits == std::string::npos) return std::string(kRule);
  if (room.substr(room_digits) == "%" && *amount <= 100) {
    request.versions.percent = *amount;
    request.versions.bytes = 0;
    return {};
  }
  const auto size = kSizes.find(room.substr(room_digits));
  if (size == kSizes.end()) return std::string(kRule);
  request.versions.bytes = *amount * size->second;
  return {};
}

// Days, or "never".
Complaint SetForget(MountRequest& request, const std::string& value) {
  constexpr std::int64_t kDay_ns = std::int64_t{86400} * 1'000'000'000;
  constexpr auto kDaysMax = static_cast<std::uint32_t>(index::VersionLimits::kForEver_ns / kDay_ns);
  const std::string_view days(value.data(), value.size() - (value.ends_with("d") ? 1 : 0));
  const auto number = value == "never" ? kDaysMax : Number<std::uint32_t>(days);
  if (!number || *number == 0 || *number > kDaysMax)
    return "it is a number of days: 180d; or never";
  request.versions.absence_ns = *number * kDay_ns;
  return {};
}

Complaint SetImport(MountRequest& request, const std::string& value) {
  static const std::map<std::string, ImportMode> kModes = {
      {"copy", ImportMode::kCopy}, {"link", ImportMode::kLink}, {"none", ImportMode::kNone}};
  const auto mode = kModes.find(value);
  if (mode == kModes.end()) return "it is one of copy, link, none";
  request.import = mode->second;
  return {};
}

Complaint SetOwner(MountRequest& request, const std::string& value) {
  if (value != "map" && value != "numeric") return "it is map or numeric";
  request.numeric_owner = value == "numeric";
  return {};
}

WithValue Append(std::vector<std::string> MountRequest::*list) {
  return [list](MountRequest& request, const std::string& value) -> Complaint {
    (request.*list).push_back(value);
    return {};
  };
}

bool IsAddress(int family, const std::string& text) {
  std::array<unsigned char, sizeof(in6_addr)> address{};
  return inet_pton(family, text.c_str(), address.data()) == 1;
}

// With or without the interface of a link-local one: fe80::1%eth0.
bool IsIpv6(const std::string& text) {
  const auto scope = text.find('%');
  return scope + 1 != text.size() && IsAddress(AF_INET6, text.substr(0, scope));
}

Complaint CheckHostName(const std::string& host) {
  constexpr std::size_t kNameMax = 253;
  const auto fits = [](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '-' || c == '_' || c == '.';
  };
  if (host.find_first_not_of("0123456789.") == std::string::npos) {
    if (IsAddress(AF_INET, host)) return {};
    return fmt::format("'{}' is no IPv4 address", host);
  }
  if (host.size() > kNameMax || host.front() == '.' || host.find("..") != std::string::npos ||
      !std::all_of(host.begin(), host.end(), fits)) {
    return fmt::format("'{}' is no name of a host", host);
  }
  return {};
}

// HOST, HOST:PORT, [ADDRESS]:PORT or a bare IPv6 address, which has several colons and no port.
Complaint AddPeer(MountRequest& request, const std::string& value) {
  constexpr auto kRule = "a peer is HOST, HOST:PORT or [IPV6]:PORT";
  std::string host = value;
  std::optional<std::string> port;
  const auto colons = std::count(value.begin(), value.end(), ':');
  if (value.front() == '[') {
    const auto end = value.find(']');
    if (end == std::string::npos) return fmt::format("the ] is missing; {}", kRule);
    host = value.substr(1, end - 1);
    if (!IsIpv6(host)) return fmt::format("'{}' is no IPv6 address; {}", host, kRule);
    if (end + 1 < value.size() && value[end + 1] != ':') return kRule;
    if (end + 1 < value.size()) port = value.substr(end + 2);
  } else if (colons > 1) {
    if (!IsIpv6(value)) return fmt::format("it is no IPv6 address; {}", kRule);
  } else {
    host = value.substr(0, value.find(':'));
    if (colons == 1) port = value.substr(host.size() + 1);
    if (host.empty()) return fmt::format("the host is missing; {}", kRule);
    if (auto wrong = CheckHostName(host)) return fmt::format("{}; {}", *wrong, kRule);
  }
  if (port) {
    const auto number = Number<std::uint16_t>(*port);
    if (!number || *number == 0) {
      return fmt::format("'{}' is no port: a number from 1 to 65535", *port);
    }
  }
  request.peers.push_back(value);
  return {};
}

Complaint AddTracker(MountRequest& request, const std::string& value) {
  if (value.find("://") == std::string::npos) return "a tracker is a URL, http://... or udp://...";
  request.trackers.push_back(value);
  return {};
}

WithValue SetPath(std::filesystem::path MountRequest::*path) {
  return [path](MountRequest& request, const std::string& value) -> Complaint {
    request.*path = value;
    return {};
  };
}

const std::map<std::string, WithValue, std::less<>>& ValueOptions() {
  static const std::map<std::string, WithValue, std::less<>> kOptions = {
      {"cache", SetPath(&MountRequest::cache)},
      {"key", SetPath(&MountRequest::key)},
      {"port", SetPort},
      {"listen", Append(&MountRequest::listen)},
      {"peer", AddPeer},
      {"tracker", AddTracker},
      {"read_timeout", SetReadTimeout},
      {"import", SetImport},
      {"versions", SetVersions},
      {"forget", SetForget},
      {"owner", SetOwner},
  };
  return kOptions;
}

const std::map<std::string, Flag, std::less<>>& FlagOptions() {
  static const std::map<std::string, Flag, std::less<>> kOptions = {
      {"lpd", [](MountRequest& r) { r.lpd = true; }},
      {"nolpd", [](MountRequest& r) { r.lpd = false; }},
      {"dht", [](MountRequest& r) { r.dht = true; }},
      {"nodht", [](MountRequest& r) { r.dht = false; }},
      {"lazy", [](MountRequest& r) { r.lazy = true; }},
      {"ro", [](MountRequest& r) { r.read_only = true; }},
      {"rw", [](MountRequest& r) { r.read_only = false; }},
      {"allow_other", [](MountRequest& r) { r.allow_other = true; }},
      // mount(8) takes "suid" and "dev" for what is so anyway, and hands them to no helper.
      {"allow_suid", [](MountRequest& r) { r.kernel_options.emplace_back("suid"); }},
      {"allow_dev", [](MountRequest& r) { r.kernel_options.emplace_back("dev"); }},
  };
  return kOptions;
}

// Kept for mount(2) or fusermount3.
constexpr std::array kKernelOptions = {
    "suid",        "nosuid",    "dev",           "nodev",       "exec",      "noexec",
    "atime",       "noatime",   "diratime",      "nodiratime",  "relatime",  "norelatime",
    "sync",        "async",     "dirsync",       "strictatime", "lazytime",  "nolazytime",
    "nosymfollow", "symfollow", "nostrictatime", "iversion",    "noiversion"};

// mount(8) and systemd hand these to every helper; they say nothing to a filesystem.
constexpr std::array kIgnoredOptions = {
    "defaults", "auto",   "noauto", "user",    "nouser",
    "users",    "owner",  "group",  "nousers", "noowner",
    "nogroup",  "nomand", "nofail", "_netdev", "default_permissions",
    "loud",     "silent"};

template <class List>
bool Contains(const List& list, std::string_view word) {
  return std::find(list.begin(), list.end(), word) != list.end();
}

bool IsForOthers(std::string_view option) {
  return Contains(kIgnoredOptions, option) || option.starts_with("x-") ||
         option.starts_with("X-") || option.starts_with("comment=") ||
         option.starts_with("user=") || option.starts_with("helper=") ||
         option.starts_with("uhelper=");
}

Complaint ApplyOption(MountRequest& request, const std::string& option) {
  const auto equals = option.find('=');
  const auto name = option.substr(0, equals);
  if (const auto handler = ValueOptions().find(name); handler != ValueOptions().end()) {
    if (equals == std::string::npos && name == "owner") return {};  // mount(8)'s word
    const auto value = equals == std::string::npos ? "" : option.substr(equals + 1);
    if (value.empty()) return fmt::format("option {}= needs a value", name);
    if (const auto wrong = handler->second(request, value)) {
      return fmt::format("option {}: '{}' does not fit: {}", name, value, *wrong);
    }
    return {};
  }
  if (const auto handler = FlagOptions().find(option); handler != FlagOptions().end()) {
    handler->second(request);
    return {};
  }
  if (Contains(kKernelOptions, option)) {
    request.kernel_options.push_back(option);
    return {};
  }
  if (IsForOthers(option)) return {};
  if (option == "remount") {
    return "a folder that is mounted takes no other options: umount it, and mount it with them";
  }
  return fmt::format("unknown option '{}' (mount.btfc --help lists them)", option);
}

Complaint ApplyOptions(MountRequest& request, std::string_view list) {
  while (!list.empty()) {
    const auto comma = list.find(',');
    const auto option = std::string(list.substr(0, comma));
    if (!option.empty()) {
      if (auto wrong = ApplyOption(request, option)) return wrong;
    }
    list.remove_prefix(comma == std::string_view::npos ? list.size() : comma + 1);
  }
  return {};
}

Complaint CheckSpec(const std::string& spec) {
  if (spec.empty() || spec == "." || spec == ".." || spec.find('/') != std::string::npos ||
      spec.size() > 128) {
    return fmt::format(
        "'{}' is no name for a cluster: 1 to 128 bytes without '/' (mount.btfc [SPEC] MOUNTPOINT)",
        spec);
  }
  return {};
}

bool IsWithin(const std::filesystem::path& inner, const std::filesystem::path& outer) {
  return std::mismatch(outer.begin(), outer.end(), inner.begin(), inner.end()).first == outer.end();
}

// Each would have to be there before the other.
Complaint CheckApart(const MountRequest& request) {
  if (!IsWithin(request.cache, request.mount_point) &&
      !IsWithin(request.mount_point, request.cache)) {
    return {};
  }
  return fmt::format("the cache {} and the mount point {} must not lie within each other",
                     request.cache.string(), request.mount_point.string());
}

Complaint Complete(MountRequest& request, const std::vector<std::string>& words,
                   const std::filesystem::path& home, const std::filesystem::path& current) {
  if (words.empty()) return "the mount point is missing (mount.btfc [SPEC] MOUNTPOINT)";
  if (words.size() > 2) return fmt::format("'{}' is one word too many", words[2]);
  if (words.back().empty()) return "the mount point is empty";
  request.mount_point = (current / words.back()).lexically_normal();
  if (!request.mount_point.has_filename() && request.mount_point.has_relative_path()) {
    request.mount_point = request.mount_point.parent_path();  // a slash at the end
  }
  request.spec = words.size() == 2 ? words.front() : request.mount_point.filename().string();
  // mount(8) makes a whole path of a name that leads to something in the folder it is called in:
  // `mount -t btfc btfc ~/btfc` at home.
  if (request.spec.starts_with('/')) {
    request.spec = std::filesystem::path(request.spec).lexically_normal().filename().string();
  }
  if (auto wrong = CheckSpec(request.spec)) return wrong;
  if (request.cache.empty()) {
    if (home.empty()) return "no home folder is known for this user: give cache=DIR";
    request.cache = DefaultCache(home, request.spec);
  }
  request.cache = (current / request.cache).lexically_normal();
  if (!request.cache.has_filename()) request.cache = request.cache.parent_path();
  if (!request.key.empty()) request.key = (current / request.key).lexically_normal();
  return CheckApart(request);
}

// One argument that is not a positional word. `next` gives its value and moves on.
Complaint ApplySwitch(MountRequest& request, std::string_view argument,
                      const std::function<std::optional<std::string>()>& next) {
  if (argument == "--foreground") {
    request.foreground = true;
    return {};
  }
  if (argument.starts_with("--")) return fmt::format("unknown argument '{}'", argument);
  for (std::size_t i = 1; i < argument.size(); ++i) {
    const char letter = argument[i];
    if (letter == 'f') request.fake = true;
    if (letter == 'v') request.verbose = true;
    if (std::string_view("fvsn").find(letter) != std::string_view::npos) continue;
    if (std::string_view("otN").find(letter) == std::string_view::npos) {
      return fmt::format("unknown argument '-{}'", letter);
    }
    auto value =
        i + 1 < argument.size() ? std::optional(std::string(argument.substr(i + 1))) : next();
    if (!value) return fmt::format("argument '-{}' needs a value", letter);
    return letter == 'o' ? ApplyOptions(request, *value) : Complaint{};
  }
  return {};
}

}  // namespace

std::variant<MountRequest, HelpRequest, UsageError> ParseMountArguments(
    const std::vector<std::string>& arguments, const std::filesystem::path& home,
    const std::filesystem::path& current_folder) {
  MountRequest request;
  std::vector<std::string> words;
  bool only_words = false;
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    const auto& argument = arguments[i];
    if (only_words || argument.size() < 2 || argument[0] != '-') {
      words.push_back(argument);
      continue;
    }
    if (argument == "--") {
      only_words = true;
      continue;
    }
    if (argument == "--help" || argument == "-h") return HelpRequest{false};
    if (argument == "--version" || argument == "-V") return HelpRequest{true};
    const auto next = [&]() -> std::optional<std::string> {
      if (i + 1 == arguments.size()) return std::nullopt;
      return arguments[++i];
    };
    if (const auto wrong = ApplySwitch(request, argument, next)) return UsageError{OneLine(*wrong)};
  }
  if (const auto wrong = Complete(request, words, home, current_folder))
    return UsageError{OneLine(*wrong)};
  return request;
}

std::string MountUsage() {
  return "usage: mount.btfc [SPEC] MOUNTPOINT [-o OPTION[,OPTION]...] [--foreground]\n"
         "Mounts a folder that is the same on every host of a private cluster.\n"
         "SPEC is the cluster's name; without it, the mount point's last component.\n"
         "\n"
         "  cache=DIR          state and contents of this host (~/.btfccache/SPEC)\n"
         "  key=FILE           the cluster's key (cluster.key in the cache folder)\n"
         "  port=N             TCP port, the next free one if it is taken (51413)\n"
         "  listen=ADDRESS     address or interface to listen on; may be repeated (all but "
         "loopback)\n"
         "  peer=HOST[:PORT]   another host of the cluster; may be repeated\n"
         "  tracker=URL        a BitTorrent tracker to find others by; may be repeated\n"
         "  lpd | nolpd        find hosts on the local network (lpd)\n"
         "  dht | nodht        find hosts by the distributed hash table (nodht)\n"
         "  versions=AGE[:ROOM] how long earlier versions are kept, and in how much room "
         "(30d:10%)\n"
         "  forget=DAYS        how long a silent host is waited for before traces of what was "
         "deleted go (never)\n"
         "  read_timeout=TIME  how long a read waits for bytes that nobody delivers (60s)\n"
         "  import=copy|link|none  what to do with files in the mount point at the first mount "
         "(copy)\n"
         "  lazy               fetch what is read instead of mirroring everything\n"
         "  owner=map|numeric  how owners of other hosts' files are shown (map)\n"
         "  allow_other        let other users in, too\n"
         "  allow_suid, allow_dev  set-user-id bits and device nodes count (root's mounts only)\n"
         "  ro, noatime, noexec, nosuid, nodev ...  as for every filesystem\n"
         "\n"
         "  --foreground       stay in the foreground, log to standard error\n"
         "  --help, --version\n";
}

std::filesystem::path HomeFolder() {
  if (const char* home = std::getenv("HOME"); home != nullptr && *home == '/') return home;
  const passwd* entry = getpwuid(geteuid());
  return entry != nullptr ? entry->pw_dir : "";
}

std::filesystem::path DefaultCache(const std::filesystem::path& home, const std::string& spec) {
  return home / ".btfccache" / spec;
}

}  // namespace btfc::mount_helper
