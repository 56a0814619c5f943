// Several processes change one tree at random while another host mirrors it; then both have the
// same.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/fs.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <string>
#include <vector>

#include "lab.h"

namespace btfc::cluster {
namespace {

// Calls fail all the time, as others are at work on the same names. What must not come is EIO.
class Worker {
 public:
  explicit Worker(unsigned seed) : random_(seed) {}

  bool Run(int steps) {
    for (int i = 0; i < steps && !broken_; ++i) Step();
    return !broken_;
  }

 private:
  unsigned Below(unsigned limit) { return static_cast<unsigned>(random_() % limit); }
  std::string Name() {
    std::string path;
    for (unsigned depth = Below(3); depth > 0; --depth)
      path += "d" + std::to_string(Below(4)) + "/";
    return path + (Below(3) == 0 ? "d" : "f") + std::to_string(Below(6));
  }
  void Note(long result) {
    if (result >= 0) return;
    const int broken[] = {EIO, ENOTCONN, EBADF, EFAULT, ENOSYS, ESTALE};
    for (const int error : broken) {
      if (errno != error) continue;
      std::perror("a call that must not fail so");
      broken_ = true;
    }
  }

  void Step() {
    const std::string one = Name();
    const std::string two = Name();
    switch (Below(12)) {
      case 0:
        return Note(::mkdir(one.c_str(), 0755));
      case 1:
        return Note(Below(2) == 0 ? ::rmdir(one.c_str()) : ::unlink(one.c_str()));
      case 2:
        return Note(::link(one.c_str(), two.c_str()));
      case 3:
        return Note(::symlink(one.c_str(), two.c_str()));
      case 4:
        return Note(::rename(one.c_str(), two.c_str()));
      case 5:
        return Note(::renameat2(AT_FDCWD, one.c_str(), AT_FDCWD, two.c_str(), RENAME_EXCHANGE));
      case 6:
        return Note(::chmod(one.c_str(), 0700 | Below(0100)));
      case 7:
        return Note(::setxattr(one.c_str(), "user.x", "value", 1 + Below(5), 0));
      case 8:
        return Note(::truncate(one.c_str(), Below(400'000)));
      default:
        return Change(one);
    }
  }

  void Change(const std::string& name) {
    const int fd = ::open(name.c_str(), O_RDWR | O_CREAT | (Below(4) == 0 ? O_TRUNC : 0), 0644);
    Note(fd);
    if (fd < 0) return;
    const std::string bytes(1 + Below(Below(3) == 0 ? 300'000 : 2000),
                            static_cast<char>('a' + Below(26)));
    Note(::pwrite(fd, bytes.data(), bytes.size(), Below(100'000)));
    if (Below(3) == 0) {
      Note(::fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, Below(50'000),
                       1 + Below(50'000)));
    }
    struct stat st {};
    if (Below(3) == 0 && ::fstat(fd, &st) == 0 && st.st_size >= 4096) {
      // Others may cut it under the mapping, so only what is written here is touched by write.
      auto* map = ::mmap(nullptr, 4096, PROT_READ, MAP_SHARED, fd, 0);
      Note(map == MAP_FAILED ? -1 : 0);
      if (map != MAP_FAILED) ::munmap(map, 4096);
    }
    if (Below(10) == 0) Note(::fsync(fd));
    Note(::close(fd));
  }

  std::mt19937 random_;
  bool broken_ = false;
};

void Unleash(const std::vector<std::filesystem::path>& folders, int processes, int steps,
             unsigned seed) {
  std::vector<pid_t> pids;
  for (const auto& folder : folders) {
    for (int i = 0; i < processes; ++i) {
      const pid_t pid = ::fork();
      if (pid == 0) {
        if (::chdir(folder.c_str()) != 0) ::_exit(2);
        ::_exit(Worker(seed + static_cast<unsigned>(pids.size())).Run(steps) ? 0 : 1);
      }
      pids.push_back(pid);
    }
  }
  for (const pid_t pid : pids) {
    int status = 0;
    ASSERT_EQ(::waitpid(pid, &status, 0), pid);
    EXPECT_EQ(status, 0);
  }
}

TEST(StressTest, ManyProcessesWhileAnotherHostMirrors) {
  BTFC_NEEDS_LAB();
  const bool is_long = std::getenv("BTFC_LONG") != nullptr;
  const int processes = is_long ? 8 : 4;
  const int steps = is_long ? 20'000 : 500;
  Lab lab(2);
  ASSERT_TRUE(lab.StartAll());
  Unleash({lab[0].mount()}, processes, steps, 1);
  ASSERT_TRUE(lab.EventuallyEqual(std::chrono::seconds(300)));
  const std::string before = Describe(lab[0].mount());
  // The other host, killed and started again, still has it.
  lab[1].Kill();
  ASSERT_TRUE(lab[1].Start());
  ASSERT_TRUE(lab.EventuallyEqual(std::chrono::seconds(300)));
  EXPECT_EQ(Describe(lab[1].mount()), before);
}

}  // namespace
}  // namespace btfc::cluster
