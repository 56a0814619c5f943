#include "mount-helper/commands.h"

#include <fmt/format.h>
#include <sys/xattr.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <thread>

#include "mount-helper/ask.h"
#include "mount-helper/cluster_files.h"
#include "mount-helper/control.h"
#include "mount-helper/hints.h"
#include "mount-helper/mounts.h"
#include "mount-helper/options.h"
#include "mount-helper/rebuild.h"
#include "mount-helper/status.h"

namespace btfc::mount_helper {
int Complain(const std::string& text) {
  fmt::print(stderr, "btfc: {}\n", text);
  return 1;
}

namespace {

using nlohmann::json;

constexpr auto kPatience = std::chrono::seconds(10);
constexpr auto kVerifyLook = std::chrono::milliseconds(100);
constexpr auto kCacheAttribute = "user.btfc.cache";  // of every mount's root

std::filesystem::path Absolute(const std::string& path) {
  std::error_code error;
  auto absolute = (std::filesystem::current_path(error) / path).lexically_normal();
  if (!absolute.has_filename() && absolute.has_relative_path()) absolute = absolute.parent_path();
  // A symlink itself may be meant, those on the way to it are not. What was deleted is not there.
  const auto parent = std::filesystem::weakly_canonical(absolute.parent_path(), error);
  return error ? absolute : parent / absolute.filename();
}

// The mount a person means, or in `why` what to say.
std::optional<MountedFolder> FindMount(const std::string& path, std::string* why) {
  std::error_code error;
  if (!path.empty()) {
    if (auto mount = MountOf(Absolute(path))) return mount;
    if (auto mount = MountOf(WithoutSymlinks(Absolute(path)))) return mount;
    *why = fmt::format("{} is not in a mounted btfc folder", path);
    return std::nullopt;
  }
  if (auto mount = MountOf(std::filesystem::current_path(error))) return mount;
  auto mounts = ListMounts();
  if (mounts.size() == 1) return mounts.front();
  *why =
      mounts.empty() ? "no btfc folder is mounted" : "several btfc folders are mounted; name one:";
  for (const auto& mount : mounts) *why += " " + mount.mount_point.string();
  return std::nullopt;
}

std::filesystem::path CacheOf(const MountedFolder& mount) {
  std::array<char, 4096> value{};
  const auto length =
      getxattr(mount.mount_point.c_str(), kCacheAttribute, value.data(), value.size());
  if (length > 0) return std::string(value.data(), static_cast<std::size_t>(length));
  return DefaultCache(HomeFolder(), mount.source);
}

// The cache folder, whether or not its cluster is mounted.
std::optional<std::filesystem::path> FindCache(const Where& where, std::string* why) {
  if (!where.cache.empty()) return Absolute(where.cache);
  if (const auto mount = FindMount(where.mount_point, why)) return CacheOf(*mount);
  if (where.mount_point.empty()) return std::nullopt;
  auto cache = DefaultCache(HomeFolder(), Absolute(where.mount_point).filename().string());
  std::error_code error;
  if (!std::filesystem::exists(cache, error)) return std::nullopt;
  return cache;
}

// `path`: what the question is about, if it is a path.
std::optional<json> Ask(const std::filesystem::path& cache, const json& request,
                        const std::string& path = "") {
  const auto answer = AskDaemon(cache, request, kPatience);
  if (!answer) {
    const int number = ToErrno(answer.error());
    if (number == ENOENT || number == ECONNREFUSED) {
      Complain(fmt::format("no daemon runs on the cache {} (is it mounted?)", cache.string()));
    } else {
      Complain(fmt::format("the daemon of {} does not answer: {}", cache.string(),
                           answer.error().message()));
    }
    return std::nullopt;
  }
  if (answer.value().contains("error")) {
    const auto text = answer.value()["error"].get<std::string>();
    Complain(answer.value().contains("about_path") ? fmt::format("{}: {}", path, text) : text);
    return std::nullopt;
  }
  return answer.value();
}

bool IsUtf8(const std::string& text) {
  try {
    return !json(text).dump().empty();
  } catch (const json::exception&) {
    return false;
  }
}

}  // namespace

std::optional<json> AskAtMount(const json& request, const Where& where) {
  std::string why;
  const auto cache = FindCache(where, &why);
  if (!cache) {
    Complain(why);
    return std::nullopt;
  }
  return Ask(*cache, request);
}

std::optional<json> AskAboutPath(json request, const std::string& path, const Where& where) {
  std::string why;
  const auto mount = FindMount(path, &why);
  if (!mount) {
    Complain(why);
    return std::nullopt;
  }
  const auto cache = where.cache.empty() ? CacheOf(*mount) : Absolute(where.cache);
  std::string hex;
  const auto inside = Absolute(path).lexically_relative(mount->mount_point).native();
  if (IsUtf8(inside)) {
    request["path"] = inside;
  } else {
    for (const char c : inside) hex += fmt::format("{:02x}", static_cast<unsigned char>(c));
    request["path_hex"] = hex;
  }
  return Ask(cache, request, path);
}

namespace {

// The cluster's name here and its mount point, as far as they can be told.
std::pair<std::string, std::filesystem::path> ClusterAt(const Where& where,
                                                        const std::filesystem::path& cache) {
  if (const auto status = AskDaemon(cache, {{"command", "status"}}, kPatience)) {
    const auto& answer = status.value();
    if (answer.contains("cluster") && answer.contains("mount_point")) {
      return {answer["cluster"].get<std::string>(), answer["mount_point"].get<std::string>()};
    }
  }
  if (where.mount_point.empty()) return {cache.filename().string(), {}};
  const auto mount_point = Absolute(where.mount_point);
  return {mount_point.filename().string(), mount_point};
}

// `mount.btfc -o key=` may have put it elsewhere, which the daemon knows if there is one.
std::filesystem::path KeyFileOf(const std::filesystem::path& cache) {
  const auto status = AskDaemon(cache, {{"command", "status"}}, kPatience);
  if (status && status.value().contains("key")) return status.value()["key"].get<std::string>();
  return cache / "cluster.key";
}

}  // namespace

int StatusCommand(const Where& where) {
  const auto status = AskAtMount({{"command", "status"}}, where);
  if (!status) return 1;
  fmt::print("{}", where.json ? status->dump(2) + "\n" : DescribeStatus(*status));
  return 0;
}

int PeersCommand(const Where& where) {
  const auto status = AskAtMount({{"command", "status"}}, where);
  if (!status) return 1;
  fmt::print("{}", where.json ? status->at("peers").dump(2) + "\n" : DescribePeers(*status));
  return 0;
}

int KeyCommand(const Where& where) {
  std::string why;
  const auto cache = FindCache(where, &why);
  if (!cache) return Complain(why);
  const auto file = KeyFileOf(*cache);
  const auto key = torrent::ReadClusterKey(file, &why);
  if (!key) return Complain(why);
  std::string id;
  for (const auto byte : key.value().cluster_id) id += fmt::format("{:02x}", byte);
  if (where.json) {
    fmt::print("{}\n", json{{"file", file.string()}, {"cluster", id}}.dump(
                           2, ' ', false, json::error_handler_t::replace));
  } else {
    const auto [spec, mount_point] = ClusterAt(where, *cache);
    if (key.value().invited) {
      fmt::print("{}\n  cluster {}\nAn invitation for this host alone, which may only read.\n",
                 file.string(), id.substr(0, 16));
      return 0;
    }
    fmt::print("{}\n  cluster {}\nWhoever has this file is a member. To add a host:\n{}\n",
               file.string(), id.substr(0, 16),
               HowToAddAHost(file, spec, mount_point, HomeFolder()));
  }
  return 0;
}

int JoinCommand(const std::string& key_file, const Where& where) {
  const auto name =
      where.mount_point.empty() ? "btfc" : Absolute(where.mount_point).filename().string();
  const auto cache = where.cache.empty() ? DefaultCache(HomeFolder(), name) : Absolute(where.cache);
  std::string why;
  if (!where.mount_point.empty() && IsMounted(Absolute(where.mount_point))) {
    return Complain(where.mount_point + " is mounted already: a host joins before its first mount");
  }
  const auto joined = JoinCluster(key_file, cache, &why);
  if (!joined) return Complain(why.empty() ? joined.error().message() : why);
  const bool usual = cache == DefaultCache(HomeFolder(), cache.filename().string());
  const auto mount_point = where.mount_point.empty()
                               ? std::string("MOUNTPOINT")
                               : ShellPath(Absolute(where.mount_point), HomeFolder());
  fmt::print("joined; the key is in {}. Mount with: mount.btfc {} {}{}\n", cache.string(),
             ShellWord(cache.filename().string()), mount_point,
             usual ? "" : " -o cache=" + ShellWord(cache.native()));
  return 0;
}

int InviteCommand(const std::string& to, bool read_only, const Where& where) {
  if (!read_only) {
    return Complain(
        "a host that may write needs the cluster's key itself: see `btfc key`; for one "
        "that may only read: `btfc invite --read-only`");
  }
  std::string why;
  const auto cache = FindCache(where, &why);
  if (!cache) return Complain(why);
  const auto key = torrent::ReadClusterKey(KeyFileOf(*cache), &why);
  if (!key) return Complain(why);
  const auto invitation = torrent::InviteReadOnly(key.value());
  if (!invitation) {
    return Complain(key.value().invited ? "this host may only read, and cannot invite others"
                                        : invitation.error().message());
  }
  const auto written = torrent::WriteClusterKey(invitation.value(), to);
  if (!written) return Complain(fmt::format("{}: {}", to, written.error().message()));
  const auto [spec, mount_point] = ClusterAt(where, *cache);
  fmt::print("{} is for one host, which may read everything and write nothing. There:\n{}\n", to,
             HowToAddAHost(to, spec, mount_point, HomeFolder()));
  return 0;
}

int RebuildCommand(const Where& where, bool alone) {
  std::string why;
  const auto cache = FindCache(where, &why);
  if (!cache) return Complain(why);
  const auto aside = SetIndexAside(*cache, alone, &why);
  if (!aside) return Complain(why);
  fmt::print("the index is set aside. Mount the folder now: {}\n",
             alone ? "what can be read of the old index is taken up"
                   : "the index comes from the other hosts, and what only this one had is added");
  return 0;
}

int ImportCommand(const Where& where) {
  const auto answer = AskAtMount({{"command", "import"}}, where);
  if (!answer) return 1;
  fmt::print("importing what lies below the mount; `btfc status` shows how far it is\n");
  return 0;
}

int VerifyCommand(const Where& where) {
  if (!AskAtMount({{"command", "verify"}}, where)) return 1;
  for (;;) {
    const auto status = AskAtMount({{"command", "status"}}, where);
    if (!status) return 1;
    const auto& scrub = status->at("scrub");
    if (scrub.at("running").get<bool>()) {
      std::this_thread::sleep_for(kVerifyLook);  // the daemon tells nobody when it is done
      continue;
    }
    if (where.json) {
      fmt::print("{}\n", json{{"scrub", scrub}, {"lost", status->at("lost")}}.dump(2));
      return status->at("lost").empty() ? 0 : 1;
    }
    const auto count = [&scrub](const char* key) { return scrub.at(key).get<std::uint64_t>(); };
    const auto bad = count("damaged") + count("missing") + count("unreadable");
    fmt::print("{} file contents ({}) were read: {}\n", count("objects"),
               HumanBytes(count("bytes")),
               bad == 0 ? "all are whole" : fmt::format("{} damaged or missing", bad));
    for (const auto& path : status->at("lost")) {
      fmt::print("  {} waits for a host that has its content\n", path.get<std::string>());
    }
    return status->at("lost").empty() ? 0 : 1;
  }
}

}  // namespace btfc::mount_helper
