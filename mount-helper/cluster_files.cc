#include "mount-helper/cluster_files.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstring>
#include <fstream>

namespace btfc::mount_helper {
namespace {

// There from before a new cluster's key is made until its first mount.
std::filesystem::path NewClusterMark(const std::filesystem::path& cache) {
  return cache / "cluster.new";
}

Result<void> Refuse(std::string* why, std::string text, int number) {
  *why = std::move(text);
  return Errno(number);
}

}  // namespace

Result<void> MakeCacheFolder(const std::filesystem::path& cache, std::string* why) {
  std::error_code error;
  std::filesystem::create_directories(cache.parent_path(), error);
  if (mkdir(cache.c_str(), 0700) != 0 && errno != EEXIST) {
    const int number = errno;
    return Refuse(
        why,
        fmt::format("cannot make the cache folder {}: {}", cache.string(), std::strerror(number)),
        number);
  }
  struct stat status {};
  if (stat(cache.c_str(), &status) != 0 || !S_ISDIR(status.st_mode)) {
    return Refuse(why, fmt::format("the cache {} is not a folder", cache.string()), ENOTDIR);
  }
  if ((status.st_mode & 077U) != 0 && chmod(cache.c_str(), 0700) != 0) {
    return Refuse(why,
                  fmt::format("the cache folder {} is open to other users and cannot be closed "
                              "(chmod 700): {}",
                              cache.string(), std::strerror(errno)),
                  EPERM);
  }
  return Ok();
}

Result<Membership> LoadMembership(const std::filesystem::path& cache,
                                  const std::filesystem::path& key, const std::string& spec,
                                  std::string* why) {
  Membership membership;
  membership.key_file = key.empty() ? cache / "cluster.key" : key;
  std::error_code error;
  if (std::filesystem::exists(membership.key_file, error)) {
    BTFC_TRY(cluster, torrent::ReadClusterKey(membership.key_file, why));
    membership.cluster = std::move(cluster);
    membership.new_cluster = key.empty() && std::filesystem::exists(NewClusterMark(cache), error);
  } else if (!key.empty() || std::filesystem::exists(cache / "index.db", error)) {
    // Never a new cluster over old files: they would be cut off from their hosts.
    *why = fmt::format(
        "the cluster's key {} is missing; copy it from another host of the cluster (mode 0600)",
        membership.key_file.string());
    return Errno(ENOENT);
  } else {
    BTFC_TRY(cluster, torrent::MakeClusterKey(spec));
    membership.cluster = std::move(cluster);
    std::ofstream(NewClusterMark(cache)).flush();
    const auto written = torrent::WriteClusterKey(membership.cluster, membership.key_file);
    if (!written) {
      *why = fmt::format("cannot write {}: {}", membership.key_file.string(),
                         written.error().message());
      return written.as_failure();
    }
    membership.new_cluster = true;
  }
  BTFC_TRY(node, torrent::LoadOrMakeNode(cache, membership.cluster, why));
  membership.node = std::move(node);
  return membership;
}

void NoteMounted(const std::filesystem::path& cache) {
  std::error_code error;
  std::filesystem::remove(NewClusterMark(cache), error);
}

Result<void> JoinCluster(const std::filesystem::path& key_file, const std::filesystem::path& cache,
                         std::string* why) {
  BTFC_TRY(key, torrent::ReadClusterKey(key_file, why));
  BOOST_OUTCOME_TRYV(MakeCacheFolder(cache, why));
  const auto target = cache / "cluster.key";
  std::error_code error;
  if (std::filesystem::exists(target, error)) {
    BTFC_TRY(present, torrent::ReadClusterKey(target, why));
    if (present.cluster_id == key.cluster_id) return Ok();
    return Refuse(why,
                  fmt::format("{} belongs to another cluster already; give another SPEC or cache=",
                              cache.string()),
                  EEXIST);
  }
  const auto written = torrent::WriteClusterKey(key, target);
  if (!written)
    *why = fmt::format("cannot write {}: {}", target.string(), written.error().message());
  return written;
}

}  // namespace btfc::mount_helper
