#include "lab.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <cstring>
#include <fstream>
#include <random>
#include <sstream>
#include <thread>
#include <utility>

namespace btfc::cluster {
namespace {

constexpr auto kPatience = std::chrono::seconds(90);

void Must(const Finished& finished, const std::string& what) {
  if (!finished.ok()) throw std::runtime_error(what + ": " + finished.output);
}

void Ip(const std::string& arguments, int net = -1) {
  Must(Shell("ip " + arguments, net), "ip " + arguments);
}

// Network and mounts of this process become its own; both go when it ends.
void EnterOwnNamespaces() {
  static const bool kDone = [] {
    if (unshare(CLONE_NEWNET | CLONE_NEWNS) != 0) throw std::runtime_error("unshare failed");
    if (mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) {
      throw std::runtime_error("mounts cannot be made private");
    }
    Ip("link set lo up");
    // A daemon that went to the background becomes a child of this process again.
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    return true;
  }();
  (void)kDone;
}

// A namespace without a name, kept by the descriptor.
int NewNetworkNamespace() {
  const int own = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
  if (own < 0 || unshare(CLONE_NEWNET) != 0) throw std::runtime_error("no network namespace");
  const int made = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
  if (setns(own, CLONE_NEWNET) != 0) throw std::runtime_error("cannot go back");
  close(own);
  return made;
}

}  // namespace

std::optional<std::string> WhyNoLab() {
  if (geteuid() != 0) return "needs root, for network namespaces";
  if (access("/dev/fuse", R_OK | W_OK) != 0) return "there is no /dev/fuse";
  return std::nullopt;
}

Host::Host(int number, const std::filesystem::path& folder)
    : number_(number),
      folder_(folder),
      mount_(folder / "btfc"),
      cache_(folder / "cache"),
      net_(NewNetworkNamespace()) {
  std::filesystem::create_directories(mount_);
  std::filesystem::create_directories(cache_);
  chmod(cache_.c_str(), 0700);
  const auto outer = fmt::format("h{}", number);
  Ip(fmt::format("link add {} type veth peer name eth0 netns /proc/{}/fd/{}", outer, getpid(),
                 net_));
  Ip(fmt::format("link set {} master br0 up", outer));
  Ip("link set lo up", net_);
  Ip(fmt::format("address add {}/16 dev eth0", address()), net_);
  Ip("link set eth0 up", net_);
  Ip("route add default dev eth0", net_);  // multicast, for peer discovery
}

Host::~Host() {
  daemon_ = Daemon();
  umount2(mount_.c_str(), MNT_DETACH);
  Shell(fmt::format("ip link delete h{}", number_));
  close(net_);
}

std::string Host::address() const { return fmt::format("10.99.0.{}", number_); }

bool Host::Start(const std::string& options) {
  std::vector<std::string> command = {
      BTFC_MOUNT_PROGRAM,        "lab", mount_.native(), "--foreground", "-v", "-o",
      "cache=" + cache_.native()};
  if (!options.empty()) command.insert(command.end(), {"-o", options});
  if (!environment_.empty()) command.insert(command.begin(), {"env", environment_});
  daemon_ = Daemon(command, net_, (folder_ / "log").native());
  return Eventually([this] { return !daemon_.running() || !Status().empty(); }, kPatience) &&
         daemon_.running();
}

int Host::Stop() {
  if (umount2(mount_.c_str(), 0) != 0) return -1;
  return daemon_.Wait(kPatience);
}

void Host::Kill() {
  daemon_.Signal(SIGKILL);
  daemon_.Wait(kPatience);
  umount2(mount_.c_str(), MNT_DETACH);
}

nlohmann::json Host::Status() const {
  const auto asked = RunProgram({BTFC_PROGRAM, "status", "--json", "--cache", cache_.native()});
  if (!asked.ok()) return {};
  auto status = nlohmann::json::parse(asked.output, nullptr, false);
  return status.is_discarded() ? nlohmann::json() : status;
}

bool Host::Connected(std::size_t peers) const {
  const auto status = Status();
  return !status.empty() && status["peers"].size() >= peers;
}

bool Host::Complete() const {
  const auto status = Status();
  if (status.empty() || status["missing_objects"] != 0 || status["writing"] != 0) return false;
  return std::all_of(status["peers"].begin(), status["peers"].end(),
                     [](const auto& peer) { return peer["in_sync"] == true; });
}

std::string Host::Log() const { return ReadFile(folder_ / "log"); }

int Host::Listen(std::uint16_t port) const {
  int listener = -1;
  // A thread of its own, which the network namespace is changed for.
  std::thread([&] {
    if (setns(net_, CLONE_NEWNET) != 0) return;
    listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in any{};
    any.sin_family = AF_INET;
    any.sin_port = htons(port);
    if (bind(listener, reinterpret_cast<const sockaddr*>(&any), sizeof any) != 0 ||
        listen(listener, 1) != 0) {
      close(std::exchange(listener, -1));
    }
  }).join();
  return listener;
}

void Host::SetLink(bool up) const {
  Ip(fmt::format("link set h{} {}", number_, up ? "up" : "down"));
}

void Host::Shape(const std::string& rate) const {
  const auto rule = fmt::format("root tbf rate {} burst 128kb latency 100ms", rate);
  Must(Shell("tc qdisc replace dev eth0 " + rule, net_), "tc");
  Must(Shell(fmt::format("tc qdisc replace dev h{} {}", number_, rule)), "tc");
}

std::uint64_t Host::SentBytes() const {
  // What the host sends, the outer end of its cable receives.
  return std::stoull(ReadFile(fmt::format("/sys/class/net/h{}/statistics/rx_bytes", number_)));
}

std::uint64_t Host::ReceivedBytes() const {
  return std::stoull(ReadFile(fmt::format("/sys/class/net/h{}/statistics/tx_bytes", number_)));
}

Lab::Lab(int count) {
  EnterOwnNamespaces();
  Ip("link add br0 type bridge");
  Ip("link set br0 up");
  // /sys shows the network namespace of the process that mounted it.
  mount("sysfs", "/sys", "sysfs", 0, nullptr);
  for (int i = 0; i < count; ++i) Add();
}

Lab::~Lab() {
  if (testing::Test::HasFailure()) {
    for (const auto& host : hosts_) {
      const auto log = host->Log();
      fmt::print(stderr, "--- end of the log of host {}\n{}\n", host->number(),
                 log.substr(log.size() - std::min<std::size_t>(log.size(), 6000)));
    }
  }
  hosts_.clear();
  umount2("/sys", MNT_DETACH);
  Shell("ip link delete br0");
}

Host& Lab::Add() {
  const int number = static_cast<int>(hosts_.size()) + 1;
  hosts_.push_back(std::make_unique<Host>(number, folder_ / fmt::format("h{}", number)));
  return *hosts_.back();
}

void Lab::ShareKey(Host& with) {
  const auto key = with.cache() / "cluster.key";
  std::filesystem::copy_file(hosts_.front()->cache() / "cluster.key", key);
  chmod(key.c_str(), 0600);
}

bool Lab::StartAll(const std::string& options) {
  if (!hosts_.front()->Start(options)) return false;
  for (std::size_t i = 1; i < hosts_.size(); ++i) {
    ShareKey(*hosts_[i]);
    if (!hosts_[i]->Start(options)) return false;
  }
  return std::all_of(hosts_.begin(), hosts_.end(), [this](const auto& host) {
    return Eventually([&] { return host->Connected(hosts_.size() - 1); }, kPatience);
  });
}

bool Lab::EventuallyEqual(std::chrono::seconds patience) {
  std::vector<std::string> trees(hosts_.size());
  const auto equal = [&] {
    for (std::size_t i = 0; i < hosts_.size(); ++i) {
      if (!hosts_[i]->Complete()) return false;
    }
    for (std::size_t i = 0; i < hosts_.size(); ++i) {
      trees[i] = Describe(hosts_[i]->mount());
      if (trees[i] != trees[0]) return false;
    }
    return true;
  };
  if (Eventually(equal, patience)) return true;
  for (std::size_t i = 0; i < hosts_.size(); ++i) {
    fmt::print(stderr, "--- tree of host {}\n{}\n--- status\n{}\n", i + 1,
               Describe(hosts_[i]->mount()).substr(0, 4000), hosts_[i]->Status().dump(1));
  }
  return false;
}

std::string Describe(const std::filesystem::path& root) {
  const auto listed = Shell(fmt::format(
      "cd '{}' && find . -mindepth 1 -printf '%P %y %m %n %l ' "
      "\\( -type f -printf '%s ' -exec sha256sum '{{}}' \\; -o -printf '\\n' \\) | sort",
      root.native()));
  return listed.output;
}

std::string ReadFile(const std::filesystem::path& file) {
  std::ifstream stream(file, std::ios::binary);
  std::ostringstream bytes;
  bytes << stream.rdbuf();
  return bytes.str();
}

void WriteFile(const std::filesystem::path& file, const std::string& bytes) {
  std::ofstream stream(file, std::ios::binary | std::ios::trunc);
  stream.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  stream.close();
  if (!stream) ADD_FAILURE() << "cannot write " << file << ": " << std::strerror(errno);
}

std::string RandomBytes(std::size_t size, unsigned seed) {
  std::mt19937_64 generator(seed);
  std::string bytes(size, '\0');
  for (std::size_t i = 0; i < size; i += 8) {
    const auto word = generator();
    std::memcpy(bytes.data() + i, &word, std::min<std::size_t>(8, size - i));
  }
  return bytes;
}

}  // namespace btfc::cluster
