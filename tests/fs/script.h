// System calls done twice, in the mount and in an ordinary folder, and what came of them.
#pragma once

#include <sys/stat.h>

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

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

// Runs the steps in a child process inside `folder` as this user (0: stay root), and answers what
// it wrote down. `prepare` as for InProcess.
std::vector<std::string> RunScript(const std::filesystem::path& folder, const Steps& steps,
                                   unsigned uid = 0, const std::function<void()>& prepare = {});

}  // namespace btfc::fs::test
