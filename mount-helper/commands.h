// The commands of `btfc`, the program a person asks about a mounted cluster.
#pragma once

#include <string>

namespace btfc::mount_helper {

// Where a command finds its daemon: a mount point (or any path in it), or a cache folder.
struct Where {
  std::string mount_point;  // empty: the current folder's mount, else the only one there is
  std::string cache;        // empty: as the mount says
  bool json = false;
};

// Each prints its answer, or one line of what is wrong on standard error, and answers the exit code
// (0, or 1).
int StatusCommand(const Where& where);
int PeersCommand(const Where& where);
int KeyCommand(const Where& where);
int JoinCommand(const std::string& key_file, const Where& where);
int LogCommand(const std::string& file, const Where& where);
int ImportCommand(const Where& where);

}  // namespace btfc::mount_helper
