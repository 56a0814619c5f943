// Nothing of a daemon stays behind: while it works, what a load took comes back; when it is
// unmounted, everything; and a process in which it ran again and again is what it was.
#include <fcntl.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <malloc.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <set>
#include <thread>

#include "lab.h"
#include "mount-helper/daemon.h"
#include "one_host.h"
#include "resources.h"

namespace btfc::cluster {
namespace {

constexpr unsigned kSmallFiles = 100;
constexpr unsigned kOpenAtOnce = 60;
constexpr std::size_t kHeapGrowth = 128 << 10;  // caches of libraries
constexpr unsigned kPoolThreads = 4;            // which a pool starts when more is to do at once
constexpr std::size_t kIndexDescriptorsMax = 40;
constexpr auto kSettling = std::chrono::seconds(120);  // serving an object ends when it is idle

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool kOwnHeap = true;  // mallinfo2 says nothing of a sanitizer's heap
#else
constexpr bool kOwnHeap = false;
#endif

// What every part of a daemon has something to do with: small files, some in frames, some as
// torrents, open at once and mapped, renamed, edited and removed. What must work and did not, or
// nothing.
std::string Work(const std::filesystem::path& mount, const std::string& name, unsigned seed) {
  const auto folder = mount / name;
  std::error_code error;
  std::filesystem::create_directory(folder, error);
  for (unsigned i = 0; i < kSmallFiles; ++i) {
    const std::size_t size = i % 10 == 0 ? 100'000 : 2000;
    WriteFile(folder / fmt::format("f{}", i), RandomBytes(size, seed + i));
  }
  WriteFile(folder / "large", RandomBytes(4 << 20, seed));
  WriteFile(folder / "large", RandomBytes(5 << 20, seed + 1));
  std::vector<int> open_files;
  for (unsigned i = 0; i < kOpenAtOnce; ++i) {
    const auto file = folder / fmt::format("f{}", i);
    open_files.push_back(open(file.c_str(), i % 2 == 0 ? O_RDONLY : O_RDWR));
    if (open_files.back() < 0) return fmt::format("open {}: {}", file.native(), strerror(errno));
    void* const mapped = mmap(nullptr, 1000, PROT_READ, MAP_SHARED, open_files.back(), 0);
    if (mapped == MAP_FAILED) return fmt::format("mmap {}: {}", file.native(), strerror(errno));
    if (std::memcmp(mapped, RandomBytes(1000, seed + i).data(), 1000) != 0) return "wrong bytes";
    munmap(mapped, 1000);
    if (i % 4 == 1 && pwrite(open_files.back(), "edited", 6, 500) != 6) return "pwrite";
  }
  unlink((folder / "f0").c_str());  // while it is open
  for (const int fd : open_files) close(fd);
  std::filesystem::rename(folder / "f1", folder / "f2", error);
  std::filesystem::rename(folder, mount / (name + " renamed"), error);
  if (error) return error.message();
  // Versions, as files, once the first one is made.
  std::size_t versions = 0;
  const bool made = Eventually([&] {
    for (const auto& version : std::filesystem::directory_iterator(
             mount / ".btfc/versions" / (name + " renamed") / "large", error)) {
      versions += ReadFile(version).size() > 0 ? 1 : 0;
    }
    return versions > 0 || error;
  });
  if (!made || error) return "no versions: " + error.message();
  std::filesystem::remove_all(mount / (name + " renamed"), error);
  return error ? error.message() : "";
}

// Of the control socket: some that ask, one that hangs up in the middle, one that says nonsense.
void Ask(const Host& host) {
  for (int i = 0; i < 5; ++i) EXPECT_FALSE(host.Status().empty());
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const auto path = (host.cache() / "control.sock").native();
  ASSERT_LT(path.size(), sizeof address.sun_path);
  std::memcpy(address.sun_path, path.c_str(), path.size());
  for (const std::string_view words : {"{\"comm", "nonsense"}) {
    const int client = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ASSERT_EQ(0, connect(client, reinterpret_cast<sockaddr*>(&address), sizeof address));
    EXPECT_EQ(static_cast<ssize_t>(words.size()), write(client, words.data(), words.size()));
    close(client);
  }
}

// What is left in a cache that is not the cluster's: no socket, nothing half made.
std::string Strays(const std::filesystem::path& cache) {
  const std::set<std::string> known = {
      "btfc.log",         "cluster.key", "index.db",   "index.db.ops",
      "index.db-reserve", "lock",        "lost+found", "node.key",
      "objects",          "partial",     "swarm",      "work"};
  std::string strays;
  for (const auto& entry : std::filesystem::directory_iterator(cache)) {
    if (!known.contains(entry.path().filename())) strays += entry.path().native() + "\n";
  }
  for (const auto* folder : {"lost+found", "partial", "work"}) {
    for (const auto& entry : std::filesystem::directory_iterator(cache / folder)) {
      strays += entry.path().native() + "\n";
    }
  }
  return strays;
}

bool HoldsContents(const Resources& resources) {
  return std::any_of(resources.descriptors.begin(), resources.descriptors.end(),
                     [](const std::string& target) {
                       return target.find("/cache/objects/") != std::string::npos ||
                              target.find("/cache/partial/") != std::string::npos ||
                              target.find("/cache/work/") != std::string::npos;
                     });
}

// All but the index's connections: a new one is opened when several read at once, and kept.
std::size_t CountOf(const Resources& resources) {
  return static_cast<std::size_t>(std::count_if(
      resources.descriptors.begin(), resources.descriptors.end(),
      [](const std::string& target) { return target.find("/index.db") == std::string::npos; }));
}

// --- while it runs

TEST(LeaksTest, WhatALoadTookComesBack) {
  BTFC_NEEDS_LAB();
  Lab lab(3);
  ASSERT_TRUE(lab.StartAll());
  // Files, peers that come and go, clients.
  const auto load = [&](unsigned seed) {
    for (unsigned i = 0; i < 2; ++i) {
      ASSERT_EQ("", Work(lab[i].mount(), fmt::format("work{}", i), seed + 1000 * i));
      Ask(lab[i]);
    }
    ASSERT_TRUE(lab.EventuallyEqual());
    EXPECT_EQ(0, lab[2].Stop());
    ASSERT_TRUE(lab[2].Start());
    ASSERT_TRUE(Eventually([&] { return lab[2].Connected(2) && lab[0].Connected(2); }));
    ASSERT_TRUE(lab.EventuallyEqual());
  };
  std::array<Resources, 2> now;
  // Objects that were served are closed when they have been idle for a while.
  const auto nothing_held = [&] {
    for (std::size_t i = 0; i < 2; ++i) {
      now[i] = ResourcesOf(lab[i].pid());
      if (HoldsContents(now[i])) return false;
    }
    return true;
  };
  // The first load starts what is started when it is needed, and then kept.
  ASSERT_NO_FATAL_FAILURE(load(1));
  ASSERT_TRUE(Eventually(nothing_held, kSettling)) << Surplus({}, now[0].descriptors) << "\n\n"
                                                   << Surplus({}, now[1].descriptors) << "\n"
                                                   << lab[0].Status() << lab[1].Status();
  const auto before = now;
  for (const unsigned seed : {2, 3}) ASSERT_NO_FATAL_FAILURE(load(seed));
  EXPECT_TRUE(Eventually(
      [&] {
        return nothing_held() && CountOf(now[0]) <= CountOf(before[0]) &&
               CountOf(now[1]) <= CountOf(before[1]);
      },
      kSettling));
  for (std::size_t i = 0; i < 2; ++i) {
    EXPECT_LE(CountOf(now[i]), CountOf(before[i]))
        << Surplus(before[i].descriptors, now[i].descriptors);
    EXPECT_LE(now[i].descriptors.size() - CountOf(now[i]), kIndexDescriptorsMax);
    EXPECT_LE(now[i].threads, before[i].threads + kPoolThreads);
  }
}

// --- after umount

class UnmountedTest : public OneHostTest {};

TEST_F(UnmountedTest, NothingIsLeft) {
  auto& other = lab().Add();
  ASSERT_TRUE(other.Start());
  WriteFile(other / "fetched", RandomBytes(3 << 20, 5));
  std::filesystem::copy_file(other.cache() / "cluster.key", host().cache() / "cluster.key");
  const auto temporary = host().folder() / "tmp";
  std::filesystem::create_directory(temporary);
  const auto processes = Descendants();
  const auto mounts = Mounts();
  for (unsigned cycle = 0; cycle < 3; ++cycle) {
    SCOPED_TRACE(cycle);
    // In the background, as a person mounts it.
    const auto mounted = Shell(fmt::format("TMPDIR={} {} lab {} {}", temporary.native(),
                                           BTFC_MOUNT_PROGRAM, Point().native(), Cache()),
                               host().net());
    ASSERT_EQ(0, mounted.code) << mounted.output;
    ASSERT_EQ("", Work(Point(), "work", 10 * cycle));
    EXPECT_TRUE(Eventually([&] { return ReadFile(Point() / "fetched").size() == 3 << 20; }));
    Ask(host());
    ASSERT_NO_FATAL_FAILURE(Unmount());
    EXPECT_TRUE(Eventually([&] { return Descendants() == processes; }));
    EXPECT_EQ("", Surplus(mounts, Mounts()));
    EXPECT_EQ("", Strays(host().cache()));
    EXPECT_TRUE(std::filesystem::is_empty(Point()));
    EXPECT_TRUE(std::filesystem::is_empty(temporary));
  }
  EXPECT_EQ(0, other.Stop());
}

// --- one process

// Mounts, works and unmounts again and again. One line for each thing that is not as it was.
std::string CyclesInThisProcess(const Host& host, int cycles) {
  mount_helper::MountRequest request;
  request.spec = "lab";
  request.mount_point = host.mount();
  request.cache = host.cache();
  request.foreground = true;
  std::string complaints;
  Resources first;
  std::size_t heap = 0;
  const auto mounts = Mounts();
  for (int cycle = 0; cycle < cycles; ++cycle) {
    std::string wrong = "it did not mount";
    std::thread user([&] {
      if (!Eventually([&] { return host.Connected(); }, std::chrono::seconds(60))) return;
      wrong = Work(host.mount(), "inside", 100 * static_cast<unsigned>(cycle));
      if (ReadFile(host.mount() / "fetched").size() != 3 << 20) wrong += " fetched";
      if (umount2(host.mount().c_str(), 0) != 0) wrong += fmt::format(" umount2: {}", errno);
    });
    mount_helper::Reporter reporter;
    const auto code = mount_helper::RunDaemon(request, reporter);
    user.join();
    if (!wrong.empty() || code != 0) return fmt::format("cycle {}: {} {}", cycle, code, wrong);
    auto now = ResourcesOf(getpid());
    const std::size_t allocated = mallinfo2().uordblks;
    if (cycle == 0) {
      first = now;
      continue;
    }
    if (cycle == 1) heap = allocated;
    // A thread that was joined may be seen for a moment.
    Eventually([&] { return (now = ResourcesOf(getpid())).threads <= first.threads; });
    if (now.threads != first.threads) {
      complaints += fmt::format("threads: {} -> {}\n", first.threads, now.threads);
    }
    complaints += Surplus(first.descriptors, now.descriptors);
    complaints += Surplus(mounts, Mounts());
    if (!kOwnHeap && cycle > 1 && allocated > heap + kHeapGrowth) {
      complaints += fmt::format("heap: {} -> {} bytes\n", heap, allocated);
    }
  }
  return complaints;
}

TEST(CyclesTest, AProcessIsWhatItWasBeforeTheMount) {
  BTFC_NEEDS_LAB();
  Lab lab(2);
  ASSERT_TRUE(lab[0].Start());
  WriteFile(lab[0] / "fetched", RandomBytes(3 << 20, 5));
  lab.ShareKey(lab[1]);
  const auto said = lab[1].folder() / "said";
  const pid_t child = fork();
  if (child == 0) {
    const int log = open((lab[1].folder() / "log").c_str(), O_WRONLY | O_CREAT, 0600);
    if (setns(lab[1].net(), CLONE_NEWNET) != 0 || dup2(log, 1) < 0 || dup2(log, 2) < 0) _exit(2);
    close(log);
    WriteFile(said, CyclesInThisProcess(lab[1], 6));
    _exit(0);
  }
  int status = 0;
  ASSERT_EQ(child, waitpid(child, &status, 0));
  EXPECT_EQ(0, status);
  EXPECT_EQ("", ReadFile(said));
}

}  // namespace
}  // namespace btfc::cluster
