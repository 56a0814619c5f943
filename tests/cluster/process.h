// Programs that a test starts: waited for, or killed when the test ends.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <string>
#include <vector>

#include "tests/support/eventually.h"

namespace btfc::cluster {

using test::Eventually;

struct Finished {
  int code = -1;       // exit code, or 128 + signal
  std::string output;  // standard output and error
  bool ok() const { return code == 0; }
};

// Runs to its end, in the network namespace `net` if that is a descriptor (>= 0). Killed after
// `patience`: code 128 + SIGKILL.
Finished RunProgram(const std::vector<std::string>& command, int net = -1,
                    std::chrono::seconds patience = std::chrono::seconds(120));
// Through sh -c.
Finished Shell(const std::string& line, int net = -1,
               std::chrono::seconds patience = std::chrono::seconds(120));

// A daemon: dies with the test.
class Daemon {
 public:
  Daemon() = default;
  // Standard output and error go to the file `log`, appended.
  Daemon(const std::vector<std::string>& command, int net, const std::string& log);
  Daemon(Daemon&& other) noexcept;
  Daemon& operator=(Daemon&& other) noexcept;
  ~Daemon();

  pid_t pid() const { return pid_; }
  bool running();
  void Signal(int number) const;
  // The exit code (128 + signal), or -1 if it still runs after `patience`.
  int Wait(std::chrono::milliseconds patience);

 private:
  pid_t pid_ = -1;
  int exit_code_ = -1;
};

// Whether a process that this one inherited (a daemon in the background) has ended.
bool HasEnded(pid_t process);

}  // namespace btfc::cluster
