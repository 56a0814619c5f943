#include "fs/session.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/fuse.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <thread>

namespace btfc::fs {
namespace {

// A receive buffer that libfuse allocates at the first use.
class Buffer {
 public:
  Buffer() = default;
  ~Buffer() { std::free(buffer_.mem); }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  fuse_buf* get() { return &buffer_; }

 private:
  fuse_buf buffer_{};
};

InitShim& ShimOf(void* userdata) {
  return const_cast<InitShim&>(static_cast<Session*>(userdata)->shim());  // NOLINT
}

ssize_t ReadDevice(int device, void* buffer, std::size_t size, void* userdata) {
  return ShimOf(userdata).Read(device, buffer, size);
}

ssize_t WriteDevice(int device, iovec* iov, int count, void* userdata) {
  return ShimOf(userdata).Write(device, iov, count);
}

// How long the kernel may take from unmounting to the end of the connection.
constexpr std::chrono::seconds kUnmountMax{10};
constexpr std::chrono::milliseconds kWakeAgain{20};

// Between two looks for a request a CPU that nobody else wants goes by in less.
constexpr std::chrono::microseconds kOthersRan{8};
constexpr std::chrono::microseconds kSoon{40};
constexpr int kMissesMax = 3;
constexpr int kHitsMin = 2;

pid_t AskerOf(const fuse_buf& request) {
  if (request.mem == nullptr || request.size < sizeof(fuse_in_header)) return 0;
  return static_cast<pid_t>(static_cast<const fuse_in_header*>(request.mem)->pid);
}

// Interrupts the poll() of a worker that is to end; does nothing else. There is no other way to
// wake it: closing the descriptor does not, and the mount may be out of reach already.
int WakeSignal() { return SIGRTMIN + 5; }

void InstallWakeSignal() {
  struct sigaction action {};
  action.sa_handler = [](int) {};
  ::sigaction(WakeSignal(), &action, nullptr);
}

}  // namespace

std::chrono::nanoseconds Expectation::Patience() const {
  // On the only CPU nobody asks while somebody looks.
  static const bool kAlone = std::thread::hardware_concurrency() < 2;
  return misses_ < kMissesMax && !kAlone ? kSoon : std::chrono::nanoseconds(0);
}

void Expectation::Came(std::chrono::nanoseconds after) {
  // Without looking it takes its time to be woken, too.
  const bool looks = misses_ < kMissesMax;
  if (after < (looks ? kSoon : 2 * kSoon)) {
    if (looks || ++hits_ >= kHitsMin) misses_ = hits_ = 0;
  } else {
    misses_ = std::min(misses_ + 1, kMissesMax);
    hits_ = 0;
  }
}

Result<std::unique_ptr<Session>> Session::Make(MountPoint& mount_point,
                                               const fuse_lowlevel_ops& operations, void* user,
                                               std::string* why) {
  std::unique_ptr<Session> session(new Session(mount_point, user));
  char name[] = "btfc";
  char* argv[] = {name, nullptr};
  fuse_args arguments = FUSE_ARGS_INIT(1, argv);
  session->session_ = fuse_session_new(&arguments, &operations, sizeof(operations), session.get());
  fuse_opt_free_args(&arguments);  // it makes a copy, and leaves that
  if (session->session_ == nullptr) {
    *why = "libfuse gave no session";
    return Errno(ENOMEM);
  }
  // The session closes its descriptor when it is destroyed, so it gets one of its own.
  const int device = ::dup(mount_point.device());
  fuse_custom_io io{};
  io.read = ReadDevice;
  io.writev = WriteDevice;
  const int problem = device < 0 ? -errno : fuse_session_custom_io(session->session_, &io, device);
  if (problem != 0) {
    if (device >= 0) ::close(device);
    *why = fmt::format("libfuse refuses the device: {}", std::strerror(-problem));
    return Errno(-problem);
  }
  return session;
}

Session::~Session() {
  if (session_ != nullptr) fuse_session_destroy(session_);
}

Result<void> Session::Handshake(std::string* why) {
  Buffer buffer;
  while (!shim_.done()) {
    const int got = fuse_session_receive_buf(session_, buffer.get());
    if (got == -EINTR) continue;
    if (got <= 0 || fuse_session_exited(session_) != 0) {
      *why = fmt::format("the kernel broke off while mounting: {}", std::strerror(-got));
      return Errno(got < 0 ? -got : ENODEV);
    }
    fuse_session_process_buf(session_, buffer.get());
  }
  return Ok();
}

void Session::Work(unsigned number) {
  ::pthread_setname_np(::pthread_self(), fmt::format("fuse-{}", number).c_str());
  sigset_t wake;
  ::sigemptyset(&wake);
  ::sigaddset(&wake, WakeSignal());
  ::pthread_sigmask(SIG_UNBLOCK, &wake, nullptr);
  Buffer buffer;
  Turns::Turn turn = 0;
  while (Wanted() && turns_.Take(&turn)) {
    for (bool mine = true; mine && Wanted();) {
      const int got = Receive(buffer.get());
      if (got == -EINTR || got == -EAGAIN) continue;
      if (got <= 0) {
        if (got < 0) spdlog::error("reading from /dev/fuse: {}", std::strerror(-got));
        stopping_ = true;
        break;
      }
      follower_.Asked(AskerOf(*buffer.get()));
      turns_.Begin(&turn);
      fuse_session_process_buf(session_, buffer.get());
      mine = turns_.Done(&turn);
    }
  }
  turns_.End();
  const std::lock_guard lock(mutex_);
  std::erase(workers_, ::pthread_self());
  changed_.notify_all();
}

int Session::Receive(fuse_buf* buffer) {
  using Clock = std::chrono::steady_clock;
  int got = fuse_session_receive_buf(session_, buffer);
  if (got != -EAGAIN) return got;
  const auto begin = Clock::now();
  const auto patience = expectation_.Patience();
  bool looked = patience.count() > 0;
  for (auto before = begin; looked;) {
    ::sched_yield();
    got = fuse_session_receive_buf(session_, buffer);
    const auto now = Clock::now();
    if (got != -EAGAIN) {
      expectation_.Came(now - begin);
      return got;
    }
    // Others need this CPU: it is theirs.
    looked = now - begin < patience && now - before < kOthersRan;
    before = now;
  }
  pollfd request{fuse_session_fd(session_), POLLIN, 0};
  if (::poll(&request, 1, -1) < 0) return -errno;
  expectation_.Came(Clock::now() - begin);
  return -EAGAIN;
}

void Session::Run(unsigned workers, const std::function<void()>& ready) {
  InstallWakeSignal();
  // Who reads waits in poll(), so that it can look first.
  const int device = fuse_session_fd(session_);
  ::fcntl(device, F_SETFL, ::fcntl(device, F_GETFL) | O_NONBLOCK);
  std::vector<std::thread> threads;
  {
    const std::lock_guard lock(mutex_);
    for (unsigned i = 0; i < workers; ++i) {
      threads.emplace_back([this, i] { Work(i); });
      workers_.push_back(threads.back().native_handle());
    }
  }
  if (ready) ready();
  for (std::thread& thread : threads) thread.join();
  mount_point_.Disconnect();
  LeadNowhere(fuse_session_fd(session_));
}

void Session::Stop(std::chrono::milliseconds grace) {
  const MountPoint::Detached detached = mount_point_.Detach();
  std::unique_lock lock(mutex_);
  const auto ended = [this] { return workers_.empty(); };
  // A whole unmount ends the workers by itself.
  if (detached == MountPoint::Detached::kWhole) grace = kUnmountMax;
  if (changed_.wait_for(lock, grace, ended)) return;
  stopping_ = true;
  do {
    // A worker that is on its way into read() misses the signal, hence again.
    for (const pthread_t worker : workers_) ::pthread_kill(worker, WakeSignal());
  } while (!changed_.wait_for(lock, kWakeAgain, ended));
}

}  // namespace btfc::fs
