// How a starting daemon talks to the person who mounts: through the process that was called.
#pragma once

#include <string>

#include "fs/fd.h"

namespace btfc::mount_helper {

// Exit codes of mount(8).
enum ExitCode : int {
  kExitOk = 0,
  kExitUsage = 1,   // wrong call or permission
  kExitSystem = 2,  // no memory, no fork, no /dev/fuse
  kExitBug = 4,
  kExitInterrupted = 8,
  kExitFailed = 32,  // the mount failed
};

// One line each. Used by the daemon's main thread, and by the import's until Ready.
class Reporter {
 public:
  // Straight to standard output and error.
  Reporter() = default;
  // Through a pipe to the parent process.
  explicit Reporter(fs::Fd pipe) : pipe_(std::move(pipe)) {}

  void Say(const std::string& line);
  // The folder is mounted, but who mounts is still shown something: an interrupt of the parent is
  // none of the daemon any more.
  void Mounted();
  // The mount answers: the parent exits with 0.
  void Ready();
  // The parent prints the line and exits with this code.
  void Fail(ExitCode code, const std::string& line);

 private:
  void Send(char kind, const std::string& line);
  fs::Fd pipe_;
};

// Forks. In the child answers the reporter to use; the parent never returns: it relays the child's
// lines and exits with what the child reports (kExitBug if it died without a word). Interrupted
// before the mount is there, it ends the child and exits with kExitInterrupted.
Reporter GoToBackground();

// In the child, once the parent was told: no terminal, no standard streams any more.
void DetachStandardStreams();

}  // namespace btfc::mount_helper
