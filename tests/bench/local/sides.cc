#include "local/sides.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <stdexcept>
#include <thread>

#include "process.h"

namespace btfc::bench {
namespace {

using cluster::Daemon;
using cluster::Eventually;
using cluster::RunProgram;

constexpr long kFuseMagic = 0x65735546;
constexpr auto kQuietFor = std::chrono::milliseconds(100);
constexpr auto kPatience = std::chrono::seconds(120);

void Need(bool condition, const std::string& what) {
  if (!condition) throw std::runtime_error(what);
}

bool Mounted(const std::filesystem::path& point) {
  struct statfs status {};
  return ::statfs(point.c_str(), &status) == 0 && status.f_type == kFuseMagic;
}

void SyncDisk(const std::filesystem::path& on) {
  const int fd = ::open(on.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return;
  ::syncfs(fd);
  ::close(fd);
}

// One that nobody listens on just now.
int FreePort() {
  const int probe = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof address;
  auto* any = reinterpret_cast<sockaddr*>(&address);
  const bool bound = ::bind(probe, any, length) == 0 && ::getsockname(probe, any, &length) == 0;
  ::close(probe);
  Need(bound, "no free port");
  return ntohs(address.sin_port);
}

class Native : public Side {
 public:
  explicit Native(std::filesystem::path folder) : folder_(std::move(folder)) {
    std::filesystem::create_directories(folder_);
  }
  std::string name() const override { return "native"; }
  std::filesystem::path folder() const override { return folder_; }
  void Refresh() override {}
  void Settle() override { SyncDisk(folder_); }
  pid_t daemon() const override { return -1; }

 private:
  const std::filesystem::path folder_;
};

// A daemon in the foreground and its mount.
class Mount : public Side {
 public:
  Mount(std::string name, const std::filesystem::path& home, std::vector<std::string> command)
      : name_(std::move(name)), home_(home), point_(home / "mnt"), command_(std::move(command)) {
    std::filesystem::create_directories(point_);
  }
  ~Mount() override { Unmount(); }
  std::string name() const override { return name_; }
  std::filesystem::path folder() const override { return point_; }
  pid_t daemon() const override { return daemon_.pid(); }

  void Refresh() override {
    Settle();
    Need(Unmount(), name_ + " is busy");
    Start();
  }

  void Settle() override {
    Need(Eventually([this] { return Quiet(); }, kPatience), name_ + " never comes to rest");
    SyncDisk(home_);
  }

 protected:
  void Start() {
    daemon_ = Daemon(command_, -1, (home_ / "log").native());
    const bool mounted =
        Eventually([this] { return !daemon_.running() || Mounted(point_); }, kPatience);
    Need(mounted && daemon_.running(),
         fmt::format("{} does not start: see {}", name_, (home_ / "log").native()));
  }
  virtual bool Quiet() {
    const double before = CpuSeconds(daemon());
    std::this_thread::sleep_for(kQuietFor);
    return CpuSeconds(daemon()) - before < 0.02;
  }

 private:
  bool Unmount() {
    if (daemon_.pid() < 0) return true;
    if (!RunProgram({"fusermount3", "-u", point_.native()}).ok()) return false;
    daemon_.Wait(kPatience);
    daemon_ = Daemon();
    return true;
  }

  const std::string name_;
  const std::filesystem::path home_;
  const std::filesystem::path point_;
  const std::vector<std::string> command_;
  Daemon daemon_;
};

class Btfc : public Mount {
 public:
  Btfc(const std::filesystem::path& home, const std::string& options)
      : Mount("btfc", home,
              {BTFC_MOUNT_PROGRAM, "bench", (home / "mnt").native(), "--foreground", "-o",
               fmt::format("nolpd,port={},listen=127.0.0.1,cache={}{}{}", FreePort(),
                           (home / "cache").native(), options.empty() ? "" : ",", options)}),
        cache_(home / "cache") {
    Start();
  }

 protected:
  bool Quiet() override {
    const auto asked = RunProgram({BTFC_PROGRAM, "status", "--json", "--cache", cache_.native()});
    const auto status = nlohmann::json::parse(asked.output, nullptr, false);
    return status.is_object() && status["writing"] == 0 && Mount::Quiet();
  }

 private:
  const std::filesystem::path cache_;
};

class PassthroughHp : public Mount {
 public:
  PassthroughHp(const std::filesystem::path& home, const std::filesystem::path& program)
      : Mount("passthrough_hp", home,
              {program.native(), "--foreground", (home / "source").native(),
               (home / "mnt").native()}) {
    std::filesystem::create_directories(home / "source");
    Start();
  }
};

class Memory : public Mount {
 public:
  explicit Memory(const std::filesystem::path& home)
      : Mount("memory", home, {BTFC_MEMORY_FS, (home / "mnt").native()}) {
    Start();
  }
  // A new mount would be empty. Some of what was used a moment ago stays, so "first use" is too
  // good.
  void Refresh() override { std::ofstream("/proc/sys/vm/drop_caches") << "2" << std::flush; }
};

}  // namespace

std::unique_ptr<Side> MakeNative(const std::filesystem::path& scratch) {
  return std::make_unique<Native>(scratch / "native");
}

std::unique_ptr<Side> MakeBtfc(const std::filesystem::path& scratch, const std::string& options) {
  return std::make_unique<Btfc>(scratch / "btfc", options);
}

std::unique_ptr<Side> MakePassthroughHp(const std::filesystem::path& scratch,
                                        const std::filesystem::path& program) {
  return std::make_unique<PassthroughHp>(scratch / "hp", program);
}

std::unique_ptr<Side> MakeMemory(const std::filesystem::path& scratch) {
  return std::make_unique<Memory>(scratch / "memory");
}

double CpuSeconds(pid_t process) {
  std::ifstream file(fmt::format("/proc/{}/stat", process));
  std::string line;
  std::getline(file, line);
  // After the name in parentheses, which may hold anything.
  std::istringstream rest(line.substr(line.rfind(')') + 1));
  std::string skipped;
  for (int i = 0; i < 11; ++i) rest >> skipped;
  double user = 0, system = 0;
  rest >> user >> system;
  return (user + system) / static_cast<double>(::sysconf(_SC_CLK_TCK));
}

double ResidentMiB(pid_t process) {
  std::ifstream file(fmt::format("/proc/{}/status", process));
  std::string key;
  double value = 0;
  for (std::string line; std::getline(file, line);) {
    std::istringstream words(line);
    words >> key >> value;
    if (key == "RssAnon:") return value / 1024;
  }
  return 0;
}

}  // namespace btfc::bench
