#include "index/cpu.h"

#include <fcntl.h>
#include <sched.h>
#include <unistd.h>

#include <array>
#include <charconv>
#include <string>
#include <string_view>

namespace btfc::index {
namespace {

// Of proc_pid_stat(5), counted from the one behind the name in brackets.
constexpr int kProcessorField = 36;

// Moves the thread at once; the second call only allows what was allowed.
void MoveTo(const cpu_set_t& cpus, const cpu_set_t& allowed) {
  if (CPU_COUNT(&cpus) == 0) return;
  if (::sched_setaffinity(0, sizeof cpus, &cpus) != 0) return;
  ::sched_setaffinity(0, sizeof allowed, &allowed);
}

}  // namespace

void LeaveCpu(int cpu) {
  cpu_set_t allowed;
  if (cpu < 0 || cpu >= CPU_SETSIZE || ::sched_getcpu() != cpu) return;
  if (::sched_getaffinity(0, sizeof allowed, &allowed) != 0) return;
  cpu_set_t others = allowed;
  CPU_CLR(static_cast<unsigned>(cpu), &others);
  MoveTo(others, allowed);
}

void GoToCpu(int cpu) {
  cpu_set_t allowed;
  if (cpu < 0 || cpu >= CPU_SETSIZE || ::sched_getcpu() == cpu) return;
  if (::sched_getaffinity(0, sizeof allowed, &allowed) != 0) return;
  cpu_set_t there;
  CPU_ZERO(&there);
  if (CPU_ISSET(static_cast<unsigned>(cpu), &allowed)) CPU_SET(static_cast<unsigned>(cpu), &there);
  MoveTo(there, allowed);
}

int CpuOf(pid_t tid) {
  const int fd = ::open(("/proc/" + std::to_string(tid) + "/stat").c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return -1;
  std::array<char, 1024> text;
  const auto size = ::read(fd, text.data(), text.size());
  ::close(fd);
  if (size <= 0) return -1;
  std::string_view rest(text.data(), static_cast<std::size_t>(size));
  const auto name_end = rest.rfind(") ");
  if (name_end == rest.npos) return -1;
  rest.remove_prefix(name_end + 2);
  for (int field = 0; field < kProcessorField; ++field) {
    const auto space = rest.find(' ');
    if (space == rest.npos) return -1;
    rest.remove_prefix(space + 1);
  }
  int cpu = -1;
  std::from_chars(rest.data(), rest.data() + rest.size(), cpu);
  return cpu;
}

}  // namespace btfc::index
