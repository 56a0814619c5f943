// A laboratory: hosts in network namespaces of their own, joined by a bridge, each with a real
// daemon, a real mount and a cache. Everything ends with the test's process: the namespaces have
// no names, the mounts live in a mount namespace of the test, the daemons die with their parent.
#pragma once

#include <chrono>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "process.h"
#include "tests/support/needs.h"
#include "tests/support/temp_dir.h"

namespace btfc::cluster {

// Why no laboratory can be made here (not root, no /dev/fuse), or nothing.
std::optional<std::string> WhyNoLab();

class Host {
 public:
  Host(int number, const std::filesystem::path& folder);
  ~Host();
  Host(const Host&) = delete;
  Host& operator=(const Host&) = delete;

  int number() const { return number_; }
  const std::filesystem::path& folder() const { return folder_; }
  const std::filesystem::path& mount() const { return mount_; }
  const std::filesystem::path& cache() const { return cache_; }
  std::filesystem::path operator/(const std::string& name) const { return mount_ / name; }
  std::string address() const;
  int net() const { return net_; }
  pid_t pid() const { return daemon_.pid(); }

  // Starts mount.btfc --foreground with more -o options; waits until the mount answers.
  [[nodiscard]] bool Start(const std::string& options = "");
  // NAME=VALUE for the daemons to come; empty: nothing special.
  void SetEnvironment(const std::string& variable) { environment_ = variable; }
  // umount; the daemon's exit code, -1 if it did not end.
  int Stop();
  // SIGKILL, and the dead mount is detached.
  void Kill();
  int WaitForEnd(std::chrono::milliseconds patience) { return daemon_.Wait(patience); }

  nlohmann::json Status() const;
  // This host has all rows and all contents of that one, as `btfc status` says.
  bool Connected(std::size_t peers = 1) const;
  bool Complete() const;
  std::string Log() const;

  // A listening TCP socket of another program on this host; -1 if it cannot be had.
  int Listen(std::uint16_t port) const;

  // The cable.
  void SetLink(bool up) const;
  // Each way, with a token bucket.
  void Shape(const std::string& rate) const;  // as tc(8) writes it: 200mbit
  std::uint64_t SentBytes() const;            // by the host's interface since its start
  std::uint64_t ReceivedBytes() const;

 private:
  friend class Lab;
  int number_;
  std::filesystem::path folder_, mount_, cache_;
  int net_ = -1;
  std::string environment_;
  Daemon daemon_;
};

class Lab {
 public:
  // `count` hosts, not started, the first one's cluster key given to all others.
  explicit Lab(int count);
  ~Lab();
  Lab(const Lab&) = delete;
  Lab& operator=(const Lab&) = delete;

  Host& operator[](std::size_t i) { return *hosts_.at(i); }
  std::size_t size() const { return hosts_.size(); }
  Host& Add();                // one more host, without a key
  void ShareKey(Host& with);  // gives it the first host's key
  // Starts all and waits until each sees all others.
  [[nodiscard]] bool StartAll(const std::string& options = "");
  // All mounted trees are equal: names, kinds, modes, link counts, contents, targets.
  [[nodiscard]] bool EventuallyEqual(std::chrono::seconds patience = std::chrono::seconds(60));

 private:
  const test::TempDir folder_{"lab", 0755};
  std::vector<std::unique_ptr<Host>> hosts_;
};

// One line for each file below `root`: what a user sees, contents as their size and a checksum.
std::string Describe(const std::filesystem::path& root);

std::string ReadFile(const std::filesystem::path& file);  // empty if it cannot be read
void WriteFile(const std::filesystem::path& file, const std::string& bytes);
std::string RandomBytes(std::size_t size, unsigned seed);

}  // namespace btfc::cluster

// In a test's body.
#define BTFC_NEEDS_LAB()                               \
  const auto why_no_lab = ::btfc::cluster::WhyNoLab(); \
  BTFC_NEEDS(!why_no_lab, *why_no_lab)
