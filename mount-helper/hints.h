// Commands that a person can copy, and names that a terminal can show.
#pragma once

#include <filesystem>
#include <string>

namespace btfc::mount_helper {

// With '?' for each control character: names may hold line ends and what moves a terminal's cursor.
std::string OneLine(std::string text);

// One word for a shell: quoted if it has to be.
std::string ShellWord(const std::string& word);
// The same for a path; what lies in `home` begins with ~, so that it fits other hosts' users.
std::string ShellPath(const std::filesystem::path& path, const std::filesystem::path& home);

// What makes another host a member and mounts there, once it has the key in its home folder: two
// lines. `mount_point`: of this host; empty if it is not known.
std::string HowToAddAHost(const std::filesystem::path& key_file, const std::string& spec,
                          const std::filesystem::path& mount_point,
                          const std::filesystem::path& home);

}  // namespace btfc::mount_helper
