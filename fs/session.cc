#include "fs/session.h"

#include <fmt/format.h>
#include <pthread.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

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

// Interrupts the read() of a worker that is to end; does nothing else. There is no other way to
// wake it: closing the descriptor does not, and the mount may be out of reach already.
int WakeSignal() { return SIGRTMIN + 5; }

void InstallWakeSignal() {
  struct sigaction action {};
  action.sa_handler = [](int) {};
  ::sigaction(WakeSignal(), &action, nullptr);
}

}  // namespace

Result<std::unique_ptr<Session>> Session::Make(MountPoint& mount_point,
                                               const fuse_lowlevel_ops& operations, void* user,
                                               std::string* why) {
  std::unique_ptr<Session> session(new Session(mount_point, user));
  char name[] = "btfc";
  char* argv[] = {name, nullptr};
  fuse_args arguments = FUSE_ARGS_INIT(1, argv);
  session->session_ = fuse_session_new(&arguments, &operations, sizeof(operations), session.get());
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
  while (!stopping_ && fuse_session_exited(session_) == 0) {
    const int got = fuse_session_receive_buf(session_, buffer.get());
    if (got == -EINTR || got == -EAGAIN) continue;
    if (got <= 0) {
      if (got < 0) spdlog::error("reading from /dev/fuse: {}", std::strerror(-got));
      break;
    }
    fuse_session_process_buf(session_, buffer.get());
  }
  const std::lock_guard lock(mutex_);
  std::erase(workers_, ::pthread_self());
  changed_.notify_all();
}

void Session::Run(unsigned workers, const std::function<void()>& ready) {
  InstallWakeSignal();
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
