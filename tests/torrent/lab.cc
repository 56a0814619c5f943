#include "lab.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <unistd.h>

#include <cstdlib>
#include <thread>

namespace btfc::torrent {

Lab::Lab(int hosts, int mbit)
    : hosts_(hosts), prefix_("btl" + std::to_string(::getpid() % 100000)) {
  const std::string hub = prefix_ + "hub";
  const std::string inside = "ip -n " + hub + " ";
  const std::string shape =
      " root tbf rate " + std::to_string(mbit) + "mbit burst 64kb latency 50ms";
  ok_ = ::geteuid() == 0 && Run("ip netns add " + hub) &&
        Run(inside + "link add br0 type bridge") && Run(inside + "link set br0 up");
  for (int i = 0; ok_ && i < hosts_; ++i) {
    const std::string port = "p" + std::to_string(i);
    ok_ = Run("ip netns add " + Name(i)) &&
          Run("ip link add " + port + " netns " + hub + " type veth peer name eth0 netns " +
              Name(i)) &&
          Run(inside + "link set " + port + " master br0 up") &&
          Run("ip -n " + Name(i) + " addr add " + Ip(i) + "/24 dev eth0") &&
          Run("ip -n " + Name(i) + " link set eth0 up") &&
          Run("ip -n " + Name(i) + " link set lo up") &&
          Run("tc -n " + Name(i) + " qdisc add dev eth0" + shape) &&
          Run("tc -n " + hub + " qdisc add dev " + port + shape);
  }
}

Lab::~Lab() {
  for (int i = 0; i < hosts_; ++i) Run("ip netns del " + Name(i));
  Run("ip netns del " + prefix_ + "hub");
}

std::string Lab::Name(int host) const { return prefix_ + "h" + std::to_string(host); }

std::string Lab::Ip(int host) const { return "10.77.0." + std::to_string(host + 1); }

bool Lab::Run(const std::string& command) {
  return std::system((command + " >/dev/null 2>&1").c_str()) == 0;
}

void Lab::In(int host, const std::function<void()>& work) const {
  std::thread([this, host, &work] {
    const int fd = ::open(("/run/netns/" + Name(host)).c_str(), O_RDONLY | O_CLOEXEC);
    ASSERT_GE(fd, 0);
    ASSERT_EQ(::setns(fd, CLONE_NEWNET), 0);
    ::close(fd);
    work();
  }).join();
}

}  // namespace btfc::torrent
