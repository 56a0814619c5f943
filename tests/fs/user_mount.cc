#include "user_mount.h"

#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <iostream>
#include <system_error>

namespace btfc::fs::test {

UserMount::UserMount(unsigned uid) : folder_("of-user"), scratch_("device") {
  EXPECT_EQ(::chown(folder_.path().c_str(), uid, uid), 0);
  int ready[2];
  int until[2];
  if (::pipe2(ready, O_CLOEXEC) != 0 || ::pipe2(until, O_CLOEXEC) != 0) return;
  keeper_ = ::fork();
  if (keeper_ == 0) {
    ::close(until[1]);
    Serve(uid, ready[1], until[0]);
  }
  ::close(ready[1]);
  ::close(until[0]);
  until_ = until[1];
  char answer = 0;
  ok_ = ::read(ready[0], &answer, 1) == 1;
  ::close(ready[0]);
}

UserMount::~UserMount() {
  if (until_ >= 0) ::close(until_);
  if (keeper_ <= 0) return;
  int status = 0;
  while (::waitpid(keeper_, &status, 0) < 0 && errno == EINTR) {
  }
  EXPECT_EQ(status, 0) << "the process that served the mount";
}

void UserMount::Serve(unsigned uid, int ready, int until) const {
  int code = 1;
  try {
    OpenFuseToAll(scratch_.path());
    Replace("/etc/fuse.conf", "user_allow_other\n");
    const std::string number = std::to_string(uid);
    Replace("/etc/passwd",
            ReadWhole("/etc/passwd") + "tester:x:" + number + ":" + number + "::/:\n");
    if (::setgroups(0, nullptr) != 0 || ::setgid(uid) != 0 || ::setuid(uid) != 0) {
      throw std::system_error(errno, std::generic_category(), "becoming a user");
    }
    ::umask(022);
    Mounted mounted("of-user", {}, folder_.path());
    char byte = 'y';
    if (::write(ready, &byte, 1) == 1) {
      while (::read(until, &byte, 1) < 0 && errno == EINTR) {
      }
      code = 0;
    }
  } catch (const std::exception& problem) {
    std::cerr << problem.what() << std::endl;
  }
  ::_exit(code);
}

// fusermount3 wants to know the user's name.
void UserMount::Replace(const std::string& file, const std::string& bytes) const {
  const std::string instead = scratch_ / std::filesystem::path(file).filename();
  WriteWhole(instead, bytes);
  if (::mount(instead.c_str(), file.c_str(), nullptr, MS_BIND, nullptr) != 0) {
    throw std::system_error(errno, std::generic_category(), file);
  }
}

std::function<void()> UserMount::Enter() const {
  return [name = "/proc/" + std::to_string(keeper_) + "/ns/mnt"] {
    const int fd = ::open(name.c_str(), O_RDONLY | O_CLOEXEC);
    // A sanitizer's own thread would share the working folder, and the kernel refuse.
    if (fd < 0 || ::unshare(CLONE_FS) != 0 || ::setns(fd, CLONE_NEWNS) != 0) {
      throw std::system_error(errno, std::generic_category(), "entering the namespace");
    }
    ::close(fd);
  };
}

}  // namespace btfc::fs::test
