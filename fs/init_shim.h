// What libfuse 3.14 cannot say to the kernel: INIT flags that are newer than it, and the parts of
// requests that it does not hand on.
#pragma once

#include <sys/uio.h>

#include <atomic>
#include <cstddef>
#include <cstdint>

namespace btfc::fs {

// Bits of FUSE_INIT, high half in flags2. The headers of Debian 12 end at protocol 7.38; these
// are the kernel's numbers.
inline constexpr std::uint64_t kInitParallelDirops = 1ULL << 18U;
inline constexpr std::uint64_t kInitHandleKillpriv = 1ULL << 19U;
inline constexpr std::uint64_t kInitHandleKillprivV2 = 1ULL << 28U;
inline constexpr std::uint64_t kInitSetxattrExt = 1ULL << 29U;
inline constexpr std::uint64_t kInitExt = 1ULL << 30U;
inline constexpr std::uint64_t kInitDirectIoAllowMmap = 1ULL << 36U;
inline constexpr std::uint64_t kInitPassthrough = 1ULL << 37U;

// The session's reads from and writes to /dev/fuse go through here. It works the same with every
// libfuse, as it only looks at the kernel's own structures. From libfuse 3.17 on it leaves
// passthrough to libfuse (libfuse_passthrough.h), and asks for the other flags only.
class InitShim {
 public:
  // For fuse_custom_io, on the thread that libfuse reads or replies on.
  ssize_t Read(int device, void* buffer, std::size_t size);
  ssize_t Write(int device, iovec* iov, int count);

  // After INIT was answered: what kernel and daemon agreed on.
  bool done() const { return done_; }
  std::uint64_t flags() const { return agreed_; }

  // The request that the calling thread read last, whole, as the kernel sent it: starts with
  // fuse_in_header. Valid while its handler runs on this thread.
  static const std::byte* CurrentRequest();
  static std::size_t CurrentSize();  // bytes
  // The operation's own structure behind the header; nullptr if the request is shorter than that.
  template <class In>
  static const In* CurrentArgument() {
    return static_cast<const In*>(Argument(sizeof(In)));
  }

 private:
  static const void* Argument(std::size_t size);
  ssize_t WriteInit(int device, const iovec* iov);

  std::atomic<std::uint64_t> offered_{0};
  std::atomic<std::uint64_t> init_unique_{0};
  std::atomic<std::uint64_t> agreed_{0};
  std::atomic<bool> done_{false};
};

}  // namespace btfc::fs
