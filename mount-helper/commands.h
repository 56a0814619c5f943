// The commands of `btfc`, the program a person asks about a mounted cluster.
#pragma once

#include <cstdint>
#include <optional>
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
// `time`: empty, a local time, or how long ago, see ParseTime.
int RestoreCommand(const std::string& file, const std::string& time, const Where& where);
int UndeleteCommand(const std::string& path, const std::string& time, const Where& where);
int RemoveCommand(const std::string& host, const Where& where);
int ImportCommand(const Where& where);
// Writes an invitation for a host that may only read to the file `to`.
int InviteCommand(const std::string& to, bool read_only, const Where& where);
int RebuildCommand(const Where& where, bool alone);
// Reads all contents again; 1 if some are damaged and no host has sent them.
int VerifyCommand(const Where& where);

// "2026-11-22 18:30", "2026-11-22", "2h" (ago). Of a time that is given to the second, the end of
// it.
std::optional<std::int64_t> ParseTime(const std::string& text, std::int64_t now_ns);

}  // namespace btfc::mount_helper
