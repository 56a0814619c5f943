// The table of functions that libfuse calls, each handing on to its method of Filesystem.
#include <spdlog/spdlog.h>

#include <exception>

#include "fs/filesystem.h"
#include "fs/libfuse_passthrough.h"

namespace btfc::fs {
namespace {

constexpr unsigned kTransferMax = 1024 * 1024;   // bytes in one READ or WRITE
constexpr unsigned kReadAheadMax = 1024 * 1024;  // bytes
constexpr unsigned kBackgroundMax = 64;          // read-ahead and direct requests at once

// C calls this, so no exception leaves it; the request that unwinds answers EIO.
template <auto Method, class... Arguments>
void Call(fuse_req_t request, Arguments... arguments) noexcept {
  try {
    (Session::User<Filesystem>(request)->*Method)(Request(request), arguments...);
  } catch (const std::exception& problem) {
    spdlog::error("an operation failed: {}", problem.what());
  }
}

void Init(void* /*userdata*/, fuse_conn_info* connection) {
  const auto want = [connection](unsigned capability) {
    if ((connection->capable & capability) != 0) connection->want |= capability;
  };
  const auto refuse = [connection](unsigned capability) { connection->want &= ~capability; };
  want(FUSE_CAP_ASYNC_READ);
  want(FUSE_CAP_ATOMIC_O_TRUNC);
  want(FUSE_CAP_ASYNC_DIO);
  want(FUSE_CAP_PARALLEL_DIROPS);
  want(FUSE_CAP_READDIRPLUS);
  want(FUSE_CAP_READDIRPLUS_AUTO);
  want(FUSE_CAP_CACHE_SYMLINKS);
  want(FUSE_CAP_POSIX_ACL);
  want(FUSE_CAP_DONT_MASK);
  want(FUSE_CAP_EXPORT_SUPPORT);
  // Content changes from elsewhere are announced by the invalidator. Guessing them from mtime
  // would drop the pages of every file that is written here.
  refuse(FUSE_CAP_AUTO_INVAL_DATA);
  want(FUSE_CAP_EXPLICIT_INVAL_DATA);
  // Excludes passthrough; without it what close() returned for is known to the daemon.
  refuse(FUSE_CAP_WRITEBACK_CACHE);
#ifdef BTFC_LIBFUSE_PASSTHROUGH
  want(FUSE_CAP_PASSTHROUGH);
  connection->max_backing_stack_depth = 0;  // the backing files lie on an ordinary filesystem
#endif
  // The shim asks for KILLPRIV_V2 instead.
  refuse(FUSE_CAP_HANDLE_KILLPRIV);
  // Locks live in the kernel alone: the handlers are not there.
  refuse(FUSE_CAP_POSIX_LOCKS);
  refuse(FUSE_CAP_FLOCK_LOCKS);
  // Requests are read and answered from memory, so a pipe would be one more copy.
  refuse(FUSE_CAP_SPLICE_READ);
  refuse(FUSE_CAP_SPLICE_WRITE);
  refuse(FUSE_CAP_SPLICE_MOVE);
  connection->max_write = kTransferMax;
  connection->max_readahead = kReadAheadMax;
  connection->max_background = kBackgroundMax;
  connection->congestion_threshold = kBackgroundMax * 3 / 4;
  connection->time_gran = 1;
}

void Forget(fuse_req_t request, fuse_ino_t node, std::uint64_t count) noexcept {
  Session::User<Filesystem>(request)->Forget(node, count);
  fuse_reply_none(request);
}

void ForgetMany(fuse_req_t request, std::size_t count, fuse_forget_data* nodes) noexcept {
  auto* filesystem = Session::User<Filesystem>(request);
  for (std::size_t i = 0; i < count; ++i) filesystem->Forget(nodes[i].ino, nodes[i].nlookup);
  fuse_reply_none(request);
}

void SetNamespace(fuse_lowlevel_ops* operations) {
  operations->lookup = [](auto... a) { Call<&Filesystem::Lookup>(a...); };
  operations->forget = Forget;
  operations->forget_multi = ForgetMany;
  operations->mknod = [](auto... a) { Call<&Filesystem::MakeNode>(a...); };
  operations->mkdir = [](auto... a) { Call<&Filesystem::MakeFolder>(a...); };
  operations->symlink = [](fuse_req_t request, const char* target, fuse_ino_t parent,
                           const char* name) {
    Call<&Filesystem::Symlink>(request, target, parent, name);
  };
  operations->link = [](auto... a) { Call<&Filesystem::Link>(a...); };
  operations->unlink = [](auto... a) { Call<&Filesystem::Unlink>(a...); };
  operations->rmdir = [](auto... a) { Call<&Filesystem::RemoveFolder>(a...); };
  operations->rename = [](auto... a) { Call<&Filesystem::Rename>(a...); };
  operations->opendir = [](auto... a) { Call<&Filesystem::OpenFolder>(a...); };
  operations->readdir = [](auto... a) { Call<&Filesystem::ReadFolder>(a...); };
  operations->readdirplus = [](auto... a) { Call<&Filesystem::ReadFolderPlus>(a...); };
  operations->fsyncdir = [](auto... a) { Call<&Filesystem::FsyncFolder>(a...); };
}

void SetAttributeOperations(fuse_lowlevel_ops* operations) {
  operations->getattr = [](fuse_req_t request, fuse_ino_t node, fuse_file_info* /*info*/) {
    Call<&Filesystem::GetAttributes>(request, node);
  };
  operations->setattr = [](auto... a) { Call<&Filesystem::SetAttributes>(a...); };
  operations->readlink = [](auto... a) { Call<&Filesystem::ReadLink>(a...); };
  operations->statfs = [](auto... a) { Call<&Filesystem::Statfs>(a...); };
  operations->setxattr = [](auto... a) { Call<&Filesystem::SetXattr>(a...); };
  operations->getxattr = [](auto... a) { Call<&Filesystem::GetXattr>(a...); };
  operations->listxattr = [](auto... a) { Call<&Filesystem::ListXattrs>(a...); };
  operations->removexattr = [](auto... a) { Call<&Filesystem::RemoveXattr>(a...); };
}

void SetFiles(fuse_lowlevel_ops* operations) {
  operations->create = [](auto... a) { Call<&Filesystem::Create>(a...); };
  operations->open = [](auto... a) { Call<&Filesystem::Open>(a...); };
  operations->read = [](auto... a) { Call<&Filesystem::Read>(a...); };
  operations->write = [](auto... a) { Call<&Filesystem::Write>(a...); };
  operations->flush = [](auto... a) { Call<&Filesystem::Flush>(a...); };
  operations->release = [](auto... a) { Call<&Filesystem::Release>(a...); };
  operations->fsync = [](auto... a) { Call<&Filesystem::Fsync>(a...); };
  operations->fallocate = [](auto... a) { Call<&Filesystem::Allocate>(a...); };
  operations->lseek = [](auto... a) { Call<&Filesystem::Seek>(a...); };
  operations->copy_file_range = [](fuse_req_t request, fuse_ino_t in, off_t in_offset,
                                   fuse_file_info* in_info, fuse_ino_t out, off_t out_offset,
                                   fuse_file_info* out_info, std::size_t length, int flags) {
    Call<&Filesystem::CopyRange>(request, in, in_offset, in_info, out, out_offset, out_info, length,
                                 flags);
  };
}

}  // namespace

const fuse_lowlevel_ops& Operations() {
  static const fuse_lowlevel_ops operations = [] {
    fuse_lowlevel_ops table{};
    table.init = Init;
    SetNamespace(&table);
    SetAttributeOperations(&table);
    SetFiles(&table);
    return table;
  }();
  return operations;
}

}  // namespace btfc::fs
