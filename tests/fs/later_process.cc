#include "later_process.h"

#include <fcntl.h>
#include <grp.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <iostream>
#include <utility>

namespace btfc::fs::test {
namespace {

constexpr int kThrew = 98;
constexpr int kNotTheUser = 99;

int Do(const std::function<int()>& work, unsigned uid, const std::function<void()>& prepare) {
  try {
    if (prepare) prepare();
    if (uid != 0 && (::setgroups(0, nullptr) != 0 || ::setgid(uid) != 0 || ::setuid(uid) != 0)) {
      return kNotTheUser;
    }
    return work();
  } catch (const std::exception& problem) {
    std::cerr << problem.what() << std::endl;
    return kThrew;
  }
}

}  // namespace

LaterProcess::LaterProcess(const std::function<int()>& work, unsigned uid,
                           const std::function<void()>& prepare) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return;
  pid_ = ::fork();
  if (pid_ == 0) {
    ::close(ends[1]);
    char told = 0;
    ssize_t got = 0;
    while ((got = ::read(ends[0], &told, 1)) < 0 && errno == EINTR) {
    }
    ::close(ends[0]);
    ::_exit(got == 1 ? Do(work, uid, prepare) : 0);
  }
  ::close(ends[0]);
  told_ = ends[1];
}

LaterProcess::~LaterProcess() {
  if (told_ >= 0) ::close(told_);
  if (pid_ > 0) Wait();
}

void LaterProcess::Tell() {
  const char now = 'n';
  [[maybe_unused]] const auto put = ::write(told_, &now, 1);
  ::close(std::exchange(told_, -1));
}

int LaterProcess::Wait() {
  int status = 0;
  const pid_t pid = std::exchange(pid_, -1);
  while (::waitpid(pid, &status, 0) < 0) {
    if (errno != EINTR) return -1;
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

int InProcess(const std::function<int()>& work, unsigned uid,
              const std::function<void()>& prepare) {
  LaterProcess process(work, uid, prepare);
  process.Tell();
  return process.Wait();
}

}  // namespace btfc::fs::test
