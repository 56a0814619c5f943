// Long random sequences of system calls on a small tree, in the mount and in an ordinary folder:
// every result, and the tree that comes of them, must be the same.
#include <fcntl.h>
#include <fmt/format.h>
#include <linux/fs.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <string>

#include "native_twin.h"

namespace btfc::fs::test {
namespace {

// The same calls on either side: whatever is drawn depends on the seed alone.
class Walk {
 public:
  Walk(Script& script, unsigned seed) : script_(script), random_(seed) {}

  void Run(int steps) {
    for (int i = 0; i < steps; ++i) {
      Step();
      if (i % 50 == 49) script_.Tree();
    }
    for (int& fd : open_) Drop(fd);
    script_.Tree();
  }

 private:
  unsigned Below(unsigned limit) {
    return static_cast<unsigned>(random_() % limit);  // not a distribution: the same everywhere
  }
  // Few names, so that calls meet: files, folders and links alike.
  std::string Name() {
    static const char* const kNames[] = {"a", "b", "c", "d"};
    std::string path;
    for (unsigned depth = Below(3); depth > 0; --depth) path += std::string(kNames[Below(4)]) + "/";
    return path + kNames[Below(4)];
  }
  std::string Bytes() {
    return std::string(1 + Below(Below(4) == 0 ? 60'000 : 300), static_cast<char>('a' + Below(26)));
  }
  off_t Offset() { return Below(2) == 0 ? 0 : static_cast<off_t>(Below(50'000)); }
  int& Slot() { return open_[Below(4)]; }
  static void Drop(int& fd) {
    if (fd >= 0) ::close(fd);
    fd = -1;
  }
  void Note(const std::string& what, long result) { script_.Note(what, result); }

  void Step() {
    const unsigned what = Below(20);
    if (what < 10) return ChangeNames(what);
    if (what < 17) return ChangeBytes(what);
    ChangeAttributes(what);
  }

  void ChangeNames(unsigned what) {
    const std::string one = Name();
    const std::string two = Name();
    switch (what) {
      case 0:
        return Note("mkdir " + one, ::mkdir(one.c_str(), 0755));
      case 1:
        return Note("rmdir " + one, ::rmdir(one.c_str()));
      case 2:
        return Note("unlink " + one, ::unlink(one.c_str()));
      case 3:
        return Note("link " + one + " " + two, ::link(one.c_str(), two.c_str()));
      case 4:
        return Note("symlink " + one + " " + two, ::symlink(one.c_str(), two.c_str()));
      case 5: {
        const unsigned flags = Below(2) == 0 ? RENAME_NOREPLACE : RENAME_EXCHANGE;
        return Note("rename with flags " + one + " " + two,
                    ::renameat2(AT_FDCWD, one.c_str(), AT_FDCWD, two.c_str(), flags));
      }
      case 6:
        return Note("mkfifo " + one, ::mkfifo(one.c_str(), 0644));
      default:
        return Note("rename " + one + " " + two, ::rename(one.c_str(), two.c_str()));
    }
  }

  void ChangeBytes(unsigned what) {
    const std::string name = Name();
    int& fd = Slot();
    switch (what) {
      case 10:
      case 11:
      case 12: {
        // A fifo without another end would wait.
        static const int kFlags[] = {O_RDWR | O_CREAT, O_RDWR | O_CREAT | O_TRUNC,
                                     O_WRONLY | O_APPEND, O_RDWR | O_CREAT | O_EXCL, O_RDWR};
        Drop(fd);
        struct stat st {};
        if (::stat(name.c_str(), &st) == 0 && S_ISFIFO(st.st_mode)) return;
        fd = script_.Open(name, kFlags[Below(5)] | O_NONBLOCK);
        return;
      }
      case 13: {
        const std::string bytes = Bytes();
        return Note("write", ::pwrite(fd, bytes.data(), bytes.size(), Offset()));
      }
      case 14:
        return Note("truncate " + name, ::truncate(name.c_str(), Offset()));
      case 15: {
        const int mode = Below(2) == 0 ? FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE : 0;
        const off_t at = Offset();
        return Note("fallocate", ::fallocate(fd, mode, at, 1 + Below(20'000)));
      }
      default:
        return Store(fd);
    }
  }

  // Through a mapping that may outlive its descriptor.
  void Store(int& fd) {
    struct stat st {};
    const unsigned at = Below(1000);
    const bool close_first = Below(2) == 0;
    if (fd < 0 || ::fstat(fd, &st) != 0 || st.st_size <= at) return;
    auto* map = static_cast<char*>(::mmap(nullptr, static_cast<std::size_t>(st.st_size),
                                          PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
    Note("mmap", map == MAP_FAILED ? -1 : 0);
    if (map == MAP_FAILED) return;
    if (close_first) Drop(fd);
    map[at] = '!';
    ::munmap(map, static_cast<std::size_t>(st.st_size));
  }

  void ChangeAttributes(unsigned what) {
    const std::string name = Name();
    switch (what) {
      case 17:
        return Note("chmod " + name, ::chmod(name.c_str(), 0700 | Below(0100)));
      case 18: {
        const std::string value = std::to_string(Below(1000));
        return Note("setxattr " + name,
                    ::setxattr(name.c_str(), "user.x", value.data(), value.size(), 0));
      }
      default: {
        const timespec times[2] = {{Below(1000), 0}, {Below(1000), 0}};
        Note("utimens " + name, ::utimensat(AT_FDCWD, name.c_str(), times, 0));
        struct stat st {};
        if (::stat(name.c_str(), &st) == 0) script_.Say(fmt::format("{}", st.st_mtim.tv_sec));
        return;
      }
    }
  }

  Script& script_;
  std::mt19937 random_;
  int open_[4] = {-1, -1, -1, -1};
};

constexpr int kSteps = 400;

// tests/run --long: a hundred times as far.
int Steps() { return std::getenv("BTFC_LONG") != nullptr ? 100 * kSteps : kSteps; }

const Case kWalks[] = {
    {"One", [](Script& s) { Walk(s, 1).Run(Steps()); }},
    {"Two", [](Script& s) { Walk(s, 2).Run(Steps()); }},
    {"Three", [](Script& s) { Walk(s, 3).Run(Steps()); }},
};
using MountRandom = NativeTwin;

TEST_P(MountRandom, AsRoot) { Compare(kWalks, 0); }
TEST_P(MountRandom, AsUser) { Compare(kWalks, kUser); }

INSTANTIATE_TEST_SUITE_P(Mode, MountRandom, kEveryWay, WayName);

}  // namespace
}  // namespace btfc::fs::test
