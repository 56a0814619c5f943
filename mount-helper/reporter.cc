#include "mount-helper/reporter.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/wait.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string_view>

namespace btfc::mount_helper {
namespace {

// Lines on the pipe: a letter, the text. A failure's text begins with its code and a space.
constexpr char kSay = 's';
constexpr char kMounted = 'm';
constexpr char kReady = 'r';
constexpr char kFail = 'f';

[[noreturn]] void ObeyLine(std::string_view line) {
  if (line.front() == kReady) std::exit(kExitOk);
  char* rest = nullptr;
  const std::string text(line.substr(1));
  const auto code = static_cast<int>(std::strtol(text.c_str(), &rest, 10));
  fmt::print(stderr, "mount.btfc:{}\n", rest);
  std::exit(code);
}

// What a signal handler may look at.
volatile pid_t starting_daemon = 0;
volatile std::sig_atomic_t interrupted = 0;
volatile std::sig_atomic_t mounted = 0;

// Before the mount is there the daemon ends, too, and that is waited for; later it goes on alone.
void OnInterrupt(int /*signal*/) {
  if (mounted != 0 && interrupted == 0) {
    constexpr std::string_view kLine =
        "mount.btfc: the folder is mounted; the import goes on in the background\n";
    [[maybe_unused]] const auto sent = write(STDERR_FILENO, kLine.data(), kLine.size());
    _exit(kExitOk);
  }
  interrupted = 1;
  kill(starting_daemon, SIGTERM);
}

void HandleInterrupts(pid_t child) {
  starting_daemon = child;
  struct sigaction action {};
  action.sa_handler = OnInterrupt;
  action.sa_flags = SA_RESTART;
  for (const int number : {SIGINT, SIGTERM, SIGHUP}) sigaction(number, &action, nullptr);
}

[[noreturn]] void Relay(int pipe, pid_t child) {
  const std::unique_ptr<FILE, int (*)(FILE*)> lines(fdopen(pipe, "r"), fclose);
  char* text = nullptr;
  std::size_t capacity = 0;
  while (lines && getline(&text, &capacity, lines.get()) > 0) {
    std::string_view line(text);
    if (line.ends_with('\n')) line.remove_suffix(1);
    if (line.empty()) continue;
    if (line.front() == kMounted) {
      mounted = 1;
      continue;
    }
    if (interrupted != 0) continue;  // it ends
    if (line.front() != kSay) ObeyLine(line);
    fmt::print("{}\n", line.substr(1));
    std::fflush(stdout);
  }
  int status = 0;
  waitpid(child, &status, 0);
  if (interrupted != 0) {
    fmt::print(stderr, "mount.btfc: interrupted; nothing is mounted\n");
    std::exit(kExitInterrupted);
  }
  fmt::print(stderr, "mount.btfc: the daemon ended before the mount answered ({} {})\n",
             WIFSIGNALED(status) ? "signal" : "exit code",
             WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
  std::exit(kExitBug);
}

}  // namespace

void Reporter::Send(char kind, const std::string& line) {
  const auto message = fmt::format("{}{}\n", kind, line);
  // The parent may have been interrupted; the mount goes on without it.
  [[maybe_unused]] const auto sent = write(pipe_.get(), message.data(), message.size());
}

void Reporter::Say(const std::string& line) {
  if (pipe_) {
    Send(kSay, line);
  } else {
    fmt::print("{}\n", line);
    std::fflush(stdout);
  }
}

void Reporter::Mounted() {
  if (pipe_) Send(kMounted, "");
}

void Reporter::Ready() {
  if (pipe_) Send(kReady, "");
}

void Reporter::Fail(ExitCode code, const std::string& line) {
  if (pipe_) {
    Send(kFail, fmt::format("{} {}", static_cast<int>(code), line));
  } else {
    fmt::print(stderr, "mount.btfc: {}\n", line);
  }
}

Reporter GoToBackground() {
  std::array<int, 2> ends{};
  if (pipe2(ends.data(), O_CLOEXEC) != 0) {
    fmt::print(stderr, "mount.btfc: no pipe: {}\n", std::strerror(errno));
    std::exit(kExitSystem);
  }
  const pid_t child = fork();
  if (child < 0) {
    fmt::print(stderr, "mount.btfc: no second process: {}\n", std::strerror(errno));
    std::exit(kExitSystem);
  }
  if (child > 0) {
    close(ends[1]);
    HandleInterrupts(child);
    Relay(ends[0], child);
  }
  close(ends[0]);
  setsid();
  // The folder that it was called in can be unmounted. All paths are absolute by now.
  [[maybe_unused]] const int moved = chdir("/");
  return Reporter(fs::Fd(ends[1]));
}

void DetachStandardStreams() {
  const fs::Fd null(open("/dev/null", O_RDWR | O_CLOEXEC));
  for (const int stream : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) dup2(null.get(), stream);
}

}  // namespace btfc::mount_helper
