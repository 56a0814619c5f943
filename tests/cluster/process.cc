#include "process.h"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <utility>

namespace btfc::cluster {
namespace {

using Clock = std::chrono::steady_clock;

[[noreturn]] void Exec(const std::vector<std::string>& command, int net, int output) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (net >= 0 && setns(net, CLONE_NEWNET) != 0) _exit(126);
  dup2(output, STDOUT_FILENO);
  dup2(output, STDERR_FILENO);
  const int null = open("/dev/null", O_RDONLY);
  dup2(null, STDIN_FILENO);
  std::vector<char*> arguments;
  arguments.reserve(command.size() + 1);
  for (const auto& word : command) arguments.push_back(const_cast<char*>(word.c_str()));
  arguments.push_back(nullptr);
  execvp(arguments[0], arguments.data());
  _exit(127);
}

int CodeOf(int status) {
  return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

}  // namespace

Finished RunProgram(const std::vector<std::string>& command, int net,
                    std::chrono::seconds patience) {
  std::array<int, 2> ends{};
  if (pipe2(ends.data(), O_CLOEXEC) != 0) return {};
  const pid_t child = fork();
  if (child == 0) Exec(command, net, ends[1]);
  close(ends[1]);
  Finished finished;
  const auto deadline = Clock::now() + patience;
  std::array<char, 64 * 1024> buffer;
  while (true) {
    const auto left =
        std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Clock::now());
    pollfd poll_for{ends[0], POLLIN, 0};
    if (left.count() <= 0 || poll(&poll_for, 1, static_cast<int>(left.count())) == 0) {
      kill(child, SIGKILL);
      break;
    }
    const auto got = read(ends[0], buffer.data(), buffer.size());
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) break;
    finished.output.append(buffer.data(), static_cast<std::size_t>(got));
  }
  close(ends[0]);
  int status = 0;
  waitpid(child, &status, 0);
  finished.code = CodeOf(status);
  return finished;
}

Finished Shell(const std::string& line, int net, std::chrono::seconds patience) {
  return RunProgram({"sh", "-c", line}, net, patience);
}

Daemon::Daemon(const std::vector<std::string>& command, int net, const std::string& log) {
  const int output = open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  pid_ = fork();
  if (pid_ == 0) Exec(command, net, output);
  close(output);
}

Daemon::Daemon(Daemon&& other) noexcept
    : pid_(std::exchange(other.pid_, -1)), exit_code_(other.exit_code_) {}

Daemon& Daemon::operator=(Daemon&& other) noexcept {
  std::swap(pid_, other.pid_);
  std::swap(exit_code_, other.exit_code_);
  return *this;
}

Daemon::~Daemon() {
  if (pid_ <= 0) return;
  kill(pid_, SIGKILL);
  waitpid(pid_, nullptr, 0);
}

bool Daemon::running() { return pid_ > 0 && Wait(std::chrono::milliseconds(0)) == -1; }

void Daemon::Signal(int number) const {
  if (pid_ > 0) kill(pid_, number);
}

int Daemon::Wait(std::chrono::milliseconds patience) {
  if (pid_ <= 0) return exit_code_;
  const auto ended = [this] {
    int status = 0;
    if (waitpid(pid_, &status, WNOHANG) != pid_) return false;
    pid_ = -1;
    exit_code_ = CodeOf(status);
    return true;
  };
  return Eventually(ended, patience) ? exit_code_ : -1;
}

bool HasEnded(pid_t process) {
  waitpid(process, nullptr, WNOHANG);
  return kill(process, 0) != 0;
}

}  // namespace btfc::cluster
