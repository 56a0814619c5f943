// System calls done twice, in the mount and in an ordinary folder, and what came of them.
#pragma once

#include <sys/stat.h>

#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "later_process.h"

namespace btfc::fs::test {

// Writes down what calls return. Works in a process of its own, below the folder it is run in.
class Script {
 public:
  // Writes down a result: the value, or the name of errno if it is negative.
  long Note(const std::string& what, long result);
  void Say(const std::string& line) { lines_.push_back(line); }

  int Open(const std::string& path, int flags, mode_t mode = 0644);
  void Close(int fd);
  // Opens, writes, closes.
  void Put(const std::string& path, const std::string& bytes, mode_t mode = 0644);
  // Type, permissions, links, owner, and the size of what is no folder.
  void Stat(const std::string& path);
  void Content(const std::string& path);
  void Xattr(const std::string& path, const std::string& name);
  // Everything below the folder: figures, contents, targets, extended attributes.
  void Tree(const std::string& path = ".");

  const std::vector<std::string>& lines() const { return lines_; }

 private:
  std::vector<std::string> lines_;
};

using Steps = std::function<void(Script&)>;

// Steps that a process of their own will do inside `folder`, as this user (0: root). As for
// LaterProcess: to be made before this one has threads; `prepare` runs before, as root.
class LaterScript {
 public:
  LaterScript(const std::filesystem::path& folder, const Steps& steps, unsigned uid = 0,
              const std::function<void()>& prepare = {});
  ~LaterScript();
  LaterScript(const LaterScript&) = delete;
  LaterScript& operator=(const LaterScript&) = delete;

  // Once: what they wrote down.
  std::vector<std::string> Run();

 private:
  int output_ = -1;
  std::optional<LaterProcess> process_;
};

}  // namespace btfc::fs::test
