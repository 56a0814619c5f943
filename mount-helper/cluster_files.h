// The files in the cache folder that say which cluster this is and who this host is.
#pragma once

#include <filesystem>
#include <string>

#include "index/result.h"
#include "torrent/identity.h"

namespace btfc::mount_helper {

struct Membership {
  torrent::ClusterKey cluster;
  torrent::NodeIdentity node;
  std::filesystem::path key_file;
  bool new_cluster = false;  // it was made here, and has never been mounted
};

// Makes `cache` and what leads to it (mode 0700). `why` says a failure for a person.
Result<void> MakeCacheFolder(const std::filesystem::path& cache, std::string* why);

// Reads the cluster's key, or makes a new cluster where there is neither key nor index. `key` may
// be empty: cluster.key in the cache.
Result<Membership> LoadMembership(const std::filesystem::path& cache,
                                  const std::filesystem::path& key, const std::string& spec,
                                  std::string* why);

// It has been mounted: who mounts it again need not be told what a new cluster is.
void NoteMounted(const std::filesystem::path& cache);

// `btfc join`: puts a copy of `key_file` into the cache. Fine if the same key is there already.
Result<void> JoinCluster(const std::filesystem::path& key_file, const std::filesystem::path& cache,
                         std::string* why);

}  // namespace btfc::mount_helper
