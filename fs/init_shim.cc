#include "fs/init_shim.h"

#include <linux/fuse.h>
#include <unistd.h>

#include <cstddef>
#include <cstring>

#include "fs/libfuse_passthrough.h"

namespace btfc::fs {
namespace {

thread_local const std::byte* current_request = nullptr;
thread_local std::size_t current_size = 0;

constexpr std::uint64_t kWanted =
    kInitParallelDirops | kInitHandleKillprivV2 | kInitSetxattrExt | kInitDirectIoAllowMmap;

#ifdef BTFC_LIBFUSE_PASSTHROUGH
void AskForPassthrough(fuse_init_out& /*reply*/, std::uint64_t* /*flags*/,
                       std::uint64_t /*offered*/) {}
#else
// One layer of stacking: the backing files lie on an ordinary filesystem. In the 32 bits behind
// flags2, which older headers call unused.
constexpr std::uint32_t kMaxStackDepth = 1;
constexpr std::size_t kStackDepthAt = offsetof(fuse_init_out, flags2) + sizeof(std::uint32_t);

void AskForPassthrough(fuse_init_out& reply, std::uint64_t* flags, std::uint64_t offered) {
  // The kernel refuses it together with a writeback cache.
  if ((*flags & FUSE_WRITEBACK_CACHE) != 0 || (offered & kInitPassthrough) == 0) return;
  *flags |= kInitPassthrough;
  std::memcpy(reinterpret_cast<std::byte*>(&reply) + kStackDepthAt, &kMaxStackDepth,
              sizeof(kMaxStackDepth));
}
#endif

std::uint64_t Join(std::uint32_t low, std::uint32_t high) {
  return low | static_cast<std::uint64_t>(high) << 32U;
}

}  // namespace

ssize_t InitShim::Read(int device, void* buffer, std::size_t size) {
  const ssize_t got = ::read(device, buffer, size);
  if (got < static_cast<ssize_t>(sizeof(fuse_in_header))) return got;
  current_request = static_cast<const std::byte*>(buffer);
  current_size = static_cast<std::size_t>(got);
  if (done_) return got;
  const auto* header = static_cast<const fuse_in_header*>(buffer);
  if (header->opcode != FUSE_INIT) return got;
  if (const auto* init = CurrentArgument<fuse_init_in>()) {
    const bool extended = (init->flags & FUSE_INIT_EXT) != 0;
    offered_ = Join(init->flags, extended ? init->flags2 : 0);
    init_unique_ = header->unique;
  }
  return got;
}

ssize_t InitShim::Write(int device, iovec* iov, int count) {
  if (!done_ && count == 2 && iov[0].iov_len >= sizeof(fuse_out_header) &&
      iov[1].iov_len == sizeof(fuse_init_out)) {
    const auto* header = static_cast<const fuse_out_header*>(iov[0].iov_base);
    if (header->error == 0 && header->unique == init_unique_ && offered_ != 0) {
      return WriteInit(device, iov);
    }
  }
  return ::writev(device, iov, count);
}

ssize_t InitShim::WriteInit(int device, const iovec* iov) {
  fuse_init_out reply{};
  std::memcpy(&reply, iov[1].iov_base, sizeof(reply));
  std::uint64_t flags = Join(reply.flags, reply.flags2) | kWanted | kInitExt;
  AskForPassthrough(reply, &flags, offered_);
  flags &= offered_;
  if ((flags & kInitHandleKillprivV2) != 0) flags &= ~kInitHandleKillpriv;
  if ((flags & kInitExt) == 0) flags &= 0xffffffffU;
  reply.flags = static_cast<std::uint32_t>(flags);
  reply.flags2 = static_cast<std::uint32_t>(flags >> 32U);
  const iovec patched[2] = {iov[0], {&reply, sizeof(reply)}};
  const ssize_t written = ::writev(device, patched, 2);
  if (written > 0) {
    agreed_ = flags;
    done_ = true;
  }
  return written;
}

const std::byte* InitShim::CurrentRequest() { return current_request; }

std::size_t InitShim::CurrentSize() { return current_size; }

const void* InitShim::Argument(std::size_t size) {
  if (current_request == nullptr || current_size < sizeof(fuse_in_header) + size) return nullptr;
  return current_request + sizeof(fuse_in_header);
}

}  // namespace btfc::fs
