#include "fs/fusermount.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <vector>

extern char** environ;  // NOLINT: POSIX leaves the declaration to the program

namespace btfc::fs {
namespace {

constexpr char kProgram[] = "fusermount3";
constexpr int kHelperSocket = 3;  // its number in the helper

// What the helper says on its error output, without its name, as one line.
std::string ReadAll(int fd) {
  std::string text;
  std::array<char, 512> buffer{};
  for (;;) {
    const ssize_t got = ::read(fd, buffer.data(), buffer.size());
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) break;
    text.append(buffer.data(), static_cast<std::size_t>(got));
  }
  while (!text.empty() && text.back() == '\n') text.pop_back();
  const std::string prefix = std::string(kProgram) + ": ";
  if (text.starts_with(prefix)) text.erase(0, prefix.size());
  return text;
}

struct Finished {
  int status = -1;      // as exit() got it
  std::string message;  // its error output
};

// Runs the helper to its end. `socket`, if not -1, is its _FUSE_COMMFD.
Result<Finished> RunHelper(std::vector<std::string> arguments, int socket) {
  std::array<int, 2> errors{};
  if (::pipe2(errors.data(), O_CLOEXEC) != 0) return Errno(errno);
  std::vector<std::string> environment;
  for (char** variable = environ; *variable != nullptr; ++variable) {
    if (!std::string_view(*variable).starts_with("_FUSE_COMMFD="))
      environment.emplace_back(*variable);
  }
  if (socket >= 0) environment.push_back(fmt::format("_FUSE_COMMFD={}", kHelperSocket));
  std::vector<char*> argv;
  std::vector<char*> envp;
  argv.reserve(arguments.size() + 1);
  envp.reserve(environment.size() + 1);
  for (std::string& word : arguments) argv.push_back(word.data());
  for (std::string& word : environment) envp.push_back(word.data());
  argv.push_back(nullptr);
  envp.push_back(nullptr);

  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, errors[1], STDERR_FILENO);
  if (socket >= 0) posix_spawn_file_actions_adddup2(&actions, socket, kHelperSocket);
  pid_t child = -1;
  const int problem = ::posix_spawnp(&child, kProgram, &actions, nullptr, argv.data(), envp.data());
  posix_spawn_file_actions_destroy(&actions);
  ::close(errors[1]);
  if (problem != 0) {
    ::close(errors[0]);
    return Errno(problem);
  }
  Finished finished;
  finished.message = ReadAll(errors[0]);
  ::close(errors[0]);
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  finished.status = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  return finished;
}

// The descriptor that the helper sent; -1 if it sent none.
int ReceiveDescriptor(int socket) {
  char byte = 0;
  iovec iov{&byte, 1};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> control{};
  msghdr message{};
  message.msg_iov = &iov;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  ssize_t got = 0;
  while ((got = ::recvmsg(socket, &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT)) < 0 &&
         errno == EINTR) {
  }
  if (got <= 0) return -1;
  const cmsghdr* header = CMSG_FIRSTHDR(&message);
  if (header == nullptr || header->cmsg_type != SCM_RIGHTS) return -1;
  int descriptor = -1;
  std::memcpy(&descriptor, CMSG_DATA(header), sizeof(descriptor));
  return descriptor;
}

std::string MissingHelper(int problem) {
  return problem == ENOENT
             ? "fusermount3 is not installed (package fuse3); only root can mount without it"
             : fmt::format("fusermount3 cannot be started: {}", std::strerror(problem));
}

}  // namespace

std::string EscapeOption(std::string_view value) {
  std::string escaped;
  for (const char c : value) {
    if (c == ',' || c == '\\') escaped += '\\';
    escaped += c;
  }
  return escaped;
}

Result<int> FusermountAttach(const std::filesystem::path& path, const std::string& options,
                             std::string* why) {
  std::array<int, 2> sockets{};
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets.data()) != 0) {
    *why = fmt::format("no socket for fusermount3: {}", std::strerror(errno));
    return Errno(errno);
  }
  auto finished = RunHelper({kProgram, "-o", options, "--", path.string()}, sockets[0]);
  ::close(sockets[0]);
  const int device = finished ? ReceiveDescriptor(sockets[1]) : -1;
  ::close(sockets[1]);
  if (!finished) {
    *why = MissingHelper(finished.error().value());
    return finished.error();
  }
  if (device < 0) {
    *why = finished.value().message.empty()
               ? fmt::format("fusermount3 did not mount on {}", path.string())
               : fmt::format("fusermount3 did not mount: {}", finished.value().message);
    return Errno(EPERM);
  }
  return device;
}

Result<void> FusermountDetach(const std::filesystem::path& path, bool lazily) {
  std::vector<std::string> arguments = {kProgram, "-u", "-q"};
  if (lazily) arguments.emplace_back("-z");
  arguments.emplace_back("--");
  arguments.push_back(path.string());
  BTFC_TRY(finished, RunHelper(std::move(arguments), -1));
  if (finished.status != 0) return Errno(EBUSY);
  return Ok();
}

}  // namespace btfc::fs
