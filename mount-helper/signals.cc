#include "mount-helper/signals.h"

#include <fcntl.h>
#include <poll.h>
#include <spdlog/spdlog.h>
#include <sys/signalfd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <system_error>

namespace btfc::mount_helper {
namespace {

sigset_t Signals() {
  sigset_t set;
  sigemptyset(&set);
  for (const int number : {SIGTERM, SIGINT, SIGHUP}) sigaddset(&set, number);
  return set;
}

}  // namespace

void SignalThread::BlockSignals() {
  const auto set = Signals();
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
  std::signal(SIGPIPE, SIG_IGN);
  std::signal(SIGIO, SIG_IGN);
}

SignalThread::SignalThread(std::function<void()> on_signal) : on_signal_(std::move(on_signal)) {
  const auto set = Signals();
  signals_ = fs::Fd(signalfd(-1, &set, SFD_CLOEXEC));
  std::array<int, 2> ends{};
  if (!signals_ || pipe2(ends.data(), O_CLOEXEC) != 0) {
    throw std::system_error(errno, std::generic_category(), "no descriptor for signals");
  }
  wake_read_ = fs::Fd(ends[0]);
  wake_write_ = fs::Fd(ends[1]);
  thread_ = std::thread([this] { Run(); });
}

SignalThread::~SignalThread() {
  wake_write_.Reset();
  thread_.join();
}

void SignalThread::Run() {
  while (true) {
    std::array<pollfd, 2> poll_for = {pollfd{signals_.get(), POLLIN, 0},
                                      pollfd{wake_read_.get(), POLLIN, 0}};
    if (poll(poll_for.data(), poll_for.size(), -1) < 0 && errno != EINTR) return;
    if (poll_for[1].revents != 0) return;
    signalfd_siginfo info{};
    if (poll_for[0].revents == 0 || read(signals_.get(), &info, sizeof info) != sizeof info)
      continue;
    spdlog::info("signal {}: unmounting", info.ssi_signo);
    on_signal_();
  }
}

}  // namespace btfc::mount_helper
