// Operations on the bytes of files.
#include <fcntl.h>
#include <linux/fuse.h>

#include <cerrno>
#include <cstring>

#include "fs/attributes.h"
#include "fs/filesystem.h"
#include "fs/init_shim.h"
#include "fs/libfuse_passthrough.h"
#include "fs/turns.h"
#include "index/fault_point.h"

namespace btfc::fs {
namespace {

// To copy as much takes longer than to wake another worker.
constexpr std::size_t kLong = std::size_t{64} << 10U;  // bytes

// What was written is in the working file already when close() comes, and who has only read has
// nothing to promise. Cached pages that a mapping has changed are sent with the flush.
bool NeedsFlush(int flags, const Opened& opened) {
  return (flags & O_ACCMODE) == O_RDWR && opened.mode != KernelMode::kPassthrough;
}

#ifdef BTFC_LIBFUSE_PASSTHROUGH

fuse_file_info MakeFileInfo(int flags, const Opened& opened) {
  fuse_file_info info{};
  info.fh = opened.handle;
  switch (opened.mode) {
    case KernelMode::kPassthrough:
      info.backing_id = opened.backing_id;
      break;
    case KernelMode::kDirect:
      info.direct_io = 1;
      break;
    case KernelMode::kCached:
      info.keep_cache = opened.keep_cache ? 1 : 0;
      break;
  }
  info.noflush = NeedsFlush(flags, opened) ? 0 : 1;
  return info;
}

bool SendOpen(Request& request, int flags, const Opened& opened) {
  return request.Open(MakeFileInfo(flags, opened));
}

bool SendCreate(Request& request, const fuse_entry_param& entry, int flags, const Opened& opened) {
  return request.Create(entry, MakeFileInfo(flags, opened));
}

#else

// The replies to OPEN and CREATE, for which libfuse has no backing id yet.
struct OpenReply {
  std::uint64_t handle;
  std::uint32_t flags;
  std::int32_t backing_id;
};
struct CreateReply {
  fuse_entry_out entry;
  OpenReply open;
};
static_assert(sizeof(OpenReply) == sizeof(fuse_open_out));
static_assert(sizeof(CreateReply) == sizeof(fuse_entry_out) + sizeof(fuse_open_out));

// FOPEN_* of the kernel, not all in Debian 12's header.
constexpr std::uint32_t kDirectIo = 1U << 0U;
constexpr std::uint32_t kKeepCache = 1U << 1U;
constexpr std::uint32_t kNoFlush = 1U << 5U;
constexpr std::uint32_t kPassthrough = 1U << 7U;

OpenReply MakeOpenReply(int flags, const Opened& opened) {
  OpenReply reply{};
  reply.handle = opened.handle;
  switch (opened.mode) {
    case KernelMode::kPassthrough:
      reply.flags = kPassthrough;
      reply.backing_id = opened.backing_id;
      break;
    case KernelMode::kDirect:
      reply.flags = kDirectIo;
      break;
    case KernelMode::kCached:
      if (opened.keep_cache) reply.flags = kKeepCache;
      break;
  }
  if (!NeedsFlush(flags, opened)) reply.flags |= kNoFlush;
  return reply;
}

fuse_entry_out MakeEntryOut(const fuse_entry_param& entry) {
  fuse_entry_out out{};
  out.nodeid = entry.ino;
  out.generation = entry.generation;
  out.entry_valid = static_cast<std::uint64_t>(entry.entry_timeout);
  out.attr_valid = static_cast<std::uint64_t>(entry.attr_timeout);
  const struct stat& stat = entry.attr;
  out.attr.ino = stat.st_ino;
  out.attr.size = static_cast<std::uint64_t>(stat.st_size);
  out.attr.blocks = static_cast<std::uint64_t>(stat.st_blocks);
  out.attr.atime = static_cast<std::uint64_t>(stat.st_atim.tv_sec);
  out.attr.mtime = static_cast<std::uint64_t>(stat.st_mtim.tv_sec);
  out.attr.ctime = static_cast<std::uint64_t>(stat.st_ctim.tv_sec);
  out.attr.atimensec = static_cast<std::uint32_t>(stat.st_atim.tv_nsec);
  out.attr.mtimensec = static_cast<std::uint32_t>(stat.st_mtim.tv_nsec);
  out.attr.ctimensec = static_cast<std::uint32_t>(stat.st_ctim.tv_nsec);
  out.attr.mode = stat.st_mode;
  out.attr.nlink = static_cast<std::uint32_t>(stat.st_nlink);
  out.attr.uid = stat.st_uid;
  out.attr.gid = stat.st_gid;
  out.attr.rdev = static_cast<std::uint32_t>(stat.st_rdev);
  out.attr.blksize = static_cast<std::uint32_t>(stat.st_blksize);
  return out;
}

bool SendOpen(Request& request, int flags, const Opened& opened) {
  const OpenReply reply = MakeOpenReply(flags, opened);
  return request.Payload(&reply, sizeof(reply));
}

bool SendCreate(Request& request, const fuse_entry_param& entry, int flags, const Opened& opened) {
  CreateReply reply{};
  reply.entry = MakeEntryOut(entry);
  reply.open = MakeOpenReply(flags, opened);
  return request.Payload(&reply, sizeof(reply));
}

#endif  // BTFC_LIBFUSE_PASSTHROUGH

bool KillsSetId() {
  const auto* raw = InitShim::CurrentArgument<fuse_write_in>();
  return raw != nullptr && (raw->write_flags & FUSE_WRITE_KILL_SUIDGID) != 0;
}

}  // namespace

void Filesystem::ReplyOpen(Request request, NodeId node, int flags, const Opened& opened) {
  open_files_.Add(node, opened.handle);
  if (SendOpen(request, flags, opened)) return;
  // Whoever asked is gone, so no RELEASE will come.
  open_files_.Remove(node, opened.handle);
  files_.Release(opened.handle);
}

void Filesystem::ReplyCreate(Request request, const Seen& seen, int flags, const Opened& opened,
                             std::uint64_t epoch) {
  const NodeId node = nodes_.Reference(seen.inode.ino);
  open_files_.Add(node, opened.handle);
  // The kernel is about to ask, before the first write.
  open_files_.Remember(node, OpenFiles::Without::kCapabilities, epoch);
  if (SendCreate(request, EntryOf(seen, node), flags, opened)) return;
  open_files_.Remove(node, opened.handle);
  files_.Release(opened.handle);
  Forget(node, 1);
}

void Filesystem::Create(Request request, NodeId parent, const char* name, mode_t mode,
                        const fuse_file_info* info) {
  const auto folder = InoOf(request, parent);
  if (!folder) return;
  const auto node = Inherit(request, *folder, index::Kind::kFile, mode);
  if (!node) return request.Error(node.error());
  const std::uint64_t epoch = privilege_epoch_;
  const auto made = catalogue_.Make(*folder, name, node.value());
  if (!made) {
    // It came from another host since the kernel looked. ESTALE makes the kernel look again, and
    // check the permissions of what is there.
    const bool stale = ToErrno(made.error()) == EEXIST && (info->flags & O_EXCL) == 0;
    return stale ? request.Error(ESTALE) : request.Error(made.error());
  }
  fault::Pass("create.row");
  NotePrivileges(made.value().mode);
  const auto opened = files_.Create(made.value().ino, info->flags);
  if (!opened) {
    const auto removed = catalogue_.Unlink(*folder, name);
    if (removed) NameRemoved(removed.value());
    return request.Error(opened.error());
  }
  fault::Pass("create.file");
  ReplyCreate(std::move(request), Complete(files_.Commits(), made.value()), info->flags,
              opened.value(), epoch);
}

void Filesystem::Open(Request request, NodeId node, const fuse_file_info* info) {
  if (VersionTree::Owns(node)) return versions_.Open(std::move(request), node, info->flags);
  const auto ino = InoOf(request, node);
  if (!ino) return;
  // By a stale entry or /proc/self/fd. The kernel looks the name up again and comes back with the
  // newer node.
  if (nodes_.Superseded(node)) return request.Error(ESTALE);
  if ((info->flags & O_TRUNC) != 0) {
    const auto* raw = InitShim::CurrentArgument<fuse_open_in>();
    if (raw != nullptr && (raw->open_flags & FUSE_OPEN_KILL_SUIDGID) != 0) {
      const auto stripped = StripPrivileges(request, *ino);
      if (!stripped) return request.Error(stripped.error());
    }
  }
  // Pages and attributes of the version before must be gone before this is answered.
  auto parked = std::make_shared<Request>(std::move(request));
  const bool waits =
      invalidator_.WhenSent(node, [this, parked, node, ino = *ino, flags = info->flags] {
        OpenNow(std::move(*parked), node, ino, flags);
      });
  if (!waits) OpenNow(std::move(*parked), node, *ino, info->flags);
}

void Filesystem::OpenNow(Request request, NodeId node, index::Ino ino, int flags) {
  Parked<Opened>::Start(
      std::move(request),
      [this, node, flags](Request waiting, Result<Opened> result) {
        if (!result) return waiting.Error(result.error());
        ReplyOpen(std::move(waiting), node, flags, result.value());
      },
      Interrupted,
      [&](Files::Done<Opened> done) { return files_.Open(ino, flags, std::move(done)); });
}

void Filesystem::Read(Request request, NodeId node, std::size_t size, off_t offset,
                      const fuse_file_info* info) {
  if (VersionTree::Owns(node)) {
    return versions_.Read(std::move(request), node, size, offset, Interrupted);
  }
  if (size >= kLong) Turns::GiveAway();
  Parked<std::string>::Start(
      std::move(request),
      [](Request waiting, Result<std::string> result) {
        if (!result) return waiting.Error(result.error());
        waiting.Bytes(result.value());
      },
      Interrupted,
      [&](Files::Done<std::string> done) {
        return files_.Read(info->fh, static_cast<std::uint64_t>(offset), size, std::move(done));
      });
}

void Filesystem::Write(Request request, NodeId node, const char* bytes, std::size_t size,
                       off_t offset, const fuse_file_info* info) {
  if (size >= kLong) Turns::GiveAway();
  const auto stripped = StripForWrite(request, node, KillsSetId());
  if (!stripped) return request.Error(stripped.error());
  const auto written =
      files_.Write(info->fh, static_cast<std::uint64_t>(offset), std::string_view(bytes, size));
  if (!written) return request.Error(written.error());
  request.Written(written.value());
}

void Filesystem::Flush(Request request, NodeId node, const fuse_file_info* info) {
  if (VersionTree::Owns(node)) return request.Done();
  const auto flushed = files_.Flush(info->fh);
  request.Error(flushed ? 0 : ToErrno(flushed.error()));
}

void Filesystem::Release(Request request, NodeId node, const fuse_file_info* info) {
  if (VersionTree::Owns(node)) return request.Done();
  open_files_.Remove(node, info->fh);
  files_.Release(info->fh);
  // It may have been mapped and written so, which moves the times past the kernel's copy of them.
  if (passthrough_ && (info->flags & O_ACCMODE) == O_RDWR) TimesMoved(nodes_.InoOf(node));
  request.Done();
}

void Filesystem::Fsync(Request request, NodeId /*node*/, int data_only,
                       const fuse_file_info* info) {
  auto parked = std::make_shared<Request>(std::move(request));
  aside_.Run([this, parked, data_only, handle = info->fh] {
    const auto synced = files_.Fsync(handle, data_only != 0);
    parked->Error(synced ? 0 : ToErrno(synced.error()));
  });
}

void Filesystem::Allocate(Request request, NodeId /*node*/, int mode, off_t offset, off_t length,
                          const fuse_file_info* info) {
  auto parked = std::make_shared<Request>(std::move(request));
  aside_.Run([=, this, handle = info->fh] {
    const auto allocated = files_.Allocate(handle, mode, static_cast<std::uint64_t>(offset),
                                           static_cast<std::uint64_t>(length));
    parked->Error(allocated ? 0 : ToErrno(allocated.error()));
  });
}

void Filesystem::Seek(Request request, NodeId node, off_t offset, int whence,
                      const fuse_file_info* info) {
  if (VersionTree::Owns(node)) {
    return versions_.Seek(std::move(request), node, offset, whence);
  }
  const auto found = files_.Seek(info->fh, static_cast<std::uint64_t>(offset), whence);
  if (!found) return request.Error(found.error());
  request.Offset(found.value());
}

void Filesystem::CopyRange(Request request, NodeId in, off_t in_offset,
                           const fuse_file_info* in_info, NodeId out, off_t out_offset,
                           const fuse_file_info* out_info, std::size_t length, int flags) {
  if (flags != 0) return request.Error(EINVAL);
  if (VersionTree::Owns(in)) return request.Error(EXDEV);  // the kernel then reads and writes
  const auto stripped = StripForWrite(request, out, request.uid() != 0);
  if (!stripped) return request.Error(stripped.error());
  auto parked = std::make_shared<Request>(std::move(request));
  aside_.Run([=, this, from = in_info->fh, to = out_info->fh] {
    const auto copied = files_.CopyRange(from, static_cast<std::uint64_t>(in_offset), to,
                                         static_cast<std::uint64_t>(out_offset), length);
    if (!copied) return parked->Error(copied.error());
    parked->Written(copied.value());
  });
}

}  // namespace btfc::fs
