#include "shared_mapping.h"

#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

namespace btfc::fs::test {
namespace {

constexpr std::size_t kBytesMax = 4096;

struct Command {
  char operation = 0;
  std::size_t offset = 0;
  std::size_t length = 0;
  std::array<char, kBytesMax> bytes{};
};
struct Answer {
  int error = 0;
  std::array<char, kBytesMax> bytes{};
};

bool Send(int channel, const void* message, std::size_t size) {
  return ::send(channel, message, size, MSG_NOSIGNAL) == static_cast<ssize_t>(size);
}
bool Receive(int channel, void* message, std::size_t size) {
  return ::recv(channel, message, size, 0) == static_cast<ssize_t>(size);
}

int Do(const Command& command, char* map, std::size_t size, Answer& answer) {
  switch (command.operation) {
    case 'r':
      std::copy_n(map + command.offset, command.length, answer.bytes.data());
      return 0;
    case 's':
      std::copy_n(command.bytes.data(), command.length, map + command.offset);
      return 0;
    case 'm':
      return ::msync(map, size, MS_SYNC) == 0 ? 0 : errno;
    default:
      return ::munmap(map, size) == 0 ? 0 : errno;
  }
}

// The child. It was forked from a process with many threads: system calls only.
[[noreturn]] void Serve(int fd, std::size_t size, int protection, int channel) {
  Answer answer;
  void* const map = ::mmap(nullptr, size, protection, MAP_SHARED, fd, 0);
  if (map == MAP_FAILED) answer.error = errno;
  constexpr int kChannel = 3;
  ::dup2(channel, kChannel);
  ::close_range(kChannel + 1, ~0U, 0);
  Command command;
  while (Send(kChannel, &answer, sizeof answer) && Receive(kChannel, &command, sizeof command)) {
    answer.error = Do(command, static_cast<char*>(map), size, answer);
  }
  ::_exit(0);
}

}  // namespace

SharedMapping::SharedMapping(int fd, std::size_t size, int protection) {
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) {
    error_ = errno;
    return;
  }
  child_ = ::fork();
  if (child_ == 0) Serve(fd, size, protection, ends[1]);
  ::close(ends[1]);
  channel_ = ends[0];
  Answer answer;
  error_ = Receive(channel_, &answer, sizeof answer) ? answer.error : EPIPE;
}

SharedMapping::~SharedMapping() {
  ::close(channel_);
  while (child_ > 0 && ::waitpid(child_, nullptr, 0) < 0 && errno == EINTR) {
  }
}

std::string SharedMapping::Read(std::size_t offset, std::size_t length) {
  Command command{'r', offset, length, {}};
  Answer answer;
  const bool answered = error_ == 0 && length <= kBytesMax &&
                        Send(channel_, &command, sizeof command) &&
                        Receive(channel_, &answer, sizeof answer);
  return answered ? std::string(answer.bytes.data(), length) : "no mapping";
}

int SharedMapping::Store(std::size_t offset, std::string_view bytes) {
  if (bytes.size() > kBytesMax) return E2BIG;
  return Ask('s', offset, bytes);
}

int SharedMapping::Sync() { return Ask('m', 0, {}); }
int SharedMapping::Unmap() { return Ask('u', 0, {}); }

int SharedMapping::Ask(char operation, std::size_t offset, std::string_view bytes) {
  if (error_ != 0) return error_;
  Command command{operation, offset, bytes.size(), {}};
  std::copy(bytes.begin(), bytes.end(), command.bytes.begin());
  Answer answer;
  const bool answered =
      Send(channel_, &command, sizeof command) && Receive(channel_, &answer, sizeof answer);
  return answered ? answer.error : EPIPE;
}

}  // namespace btfc::fs::test
