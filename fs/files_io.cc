// Calls by an open file that never wait for another host.
#include <sys/stat.h>
#include <unistd.h>

#include "fs/clone.h"
#include "fs/files_impl.h"

namespace btfc::fs {
namespace {

// Of a file that was renamed, fsync(2) leaves the name behind on a filesystem without a journal.
Result<void> SyncFolder(const std::filesystem::path& folder) {
  BOOST_OUTCOME_TRYA(fd, OpenFile(folder, O_RDONLY | O_DIRECTORY));
  if (::fsync(fd.get()) != 0) return LastError();
  return Ok();
}

}  // namespace

Result<Opened> Files::Impl::Create(index::Ino ino, int flags) {
  if (options_.read_only) return Errno(EROFS);
  Later later;
  auto [state, lock] = LockedState(ino);
  if (state->phase != Phase::kUnloaded) return Errno(EEXIST);
  if (auto made = NewWorkFile(state, true, later); !made) {
    MaybeDrop(state, later);
    return made.error();
  }
  const bool writer = (flags & O_ACCMODE) != O_RDONLY;
  auto opened = AddHandle(state, writer);
  // Opened to read only: there is an empty file to commit all the same, at its release.
  return opened;
}

Result<std::size_t> Files::Impl::Write(Handle handle, std::uint64_t offset,
                                       std::string_view bytes) {
  const auto open = Find(handle);
  if (!open || !open->writer) return Errno(EBADF);
  std::shared_ptr<const Fd> fd;
  {
    const std::lock_guard lock(open->state->mutex);
    if (open->state->mode == KernelMode::kDirect) open->state->pages_good = false;
    BOOST_OUTCOME_TRYA(writable, Writable(*open->state));
    open->state->NoteWrite(offset, bytes.size());
    fd = std::move(writable);
  }
  std::size_t written = 0;
  while (written < bytes.size()) {
    const auto step = ::pwrite(fd->get(), bytes.data() + written, bytes.size() - written,
                               static_cast<off_t>(offset + written));
    if (step < 0 && errno == EINTR) continue;
    if (step < 0 && written == 0) return LastError();
    if (step <= 0) break;
    written += static_cast<std::size_t>(step);
  }
  return written;
}

Result<void> Files::Impl::Flush(Handle handle) {
  return Find(handle) ? Ok() : Result<void>(Errno(EBADF));
}

Result<void> Files::Impl::Fsync(Handle handle, bool data_only) {
  const auto open = Find(handle);
  if (!open) return Errno(EBADF);
  std::shared_ptr<const Fd> fd;
  bool note = false;
  bool name = false;
  std::uint64_t round = 0;
  {
    const std::lock_guard lock(open->state->mutex);
    fd = open->state->ReadableFile();
    open->state->base.synced = true;
    note = open->writer && !open->state->base.note_durable && !open->state->orphan;
    round = open->state->write_round;
    // The name that the working file was given is metadata: fdatasync may leave it behind.
    name = !open->state->base.name_durable;
    if (name) data_only = false;
  }
  if (fd && (data_only ? ::fdatasync(fd->get()) : ::fsync(fd->get())) != 0) return LastError();
  if (fd && name) {
    BOOST_OUTCOME_TRYV(SyncFolder(store_.work_folder()));
  }
  if (!open->writer || note) {
    BOOST_OUTCOME_TRYV(catalogue_.Sync());
  }
  const std::lock_guard lock(open->state->mutex);
  if (open->state->write_round != round) return Ok();  // another note, another file
  if (note) open->state->base.note_durable = true;
  if (!data_only) open->state->base.name_durable = true;
  return Ok();
}

void Files::Impl::Release(Handle handle) {
  OpenHandle open;
  {
    const std::lock_guard lock(tables_mutex_);
    const auto found = handles_.find(handle);
    if (found == handles_.end()) return;
    open = std::move(found->second);
    handles_.erase(found);
  }
  Later later;
  const auto& state = open.state;
  const std::lock_guard lock(state->mutex);
  --state->handles;
  if (open.writer) --state->writers;
  if (state->handles == 0) EndMode(*state, later);
  const bool quiet = state->writers == 0 && (open.writer || state->handles == 0);
  if (state->phase == Phase::kWriting && quiet) Settle(state, later);
  MaybeDrop(state, later);
}

Result<void> Files::Impl::Allocate(Handle handle, int mode, std::uint64_t offset,
                                   std::uint64_t length) {
  const auto open = Find(handle);
  if (!open || !open->writer) return Errno(EBADF);
  std::shared_ptr<const Fd> fd;
  {
    const std::lock_guard lock(open->state->mutex);
    BOOST_OUTCOME_TRYA(writable, Writable(*open->state));
    open->state->NoteWrite(offset, length);
    fd = std::move(writable);
  }
  while (::fallocate(fd->get(), mode, static_cast<off_t>(offset), static_cast<off_t>(length)) !=
         0) {
    if (errno != EINTR) return LastError();
  }
  return Ok();
}

Result<std::uint64_t> Files::Impl::Seek(Handle handle, std::uint64_t offset, int whence) {
  if (whence != SEEK_DATA && whence != SEEK_HOLE) return Errno(EINVAL);
  const auto open = Find(handle);
  if (!open) return Errno(EBADF);
  std::shared_ptr<const Fd> fd;
  std::uint64_t size = 0;
  {
    const std::lock_guard lock(open->state->mutex);
    fd = open->state->ReadableFile();
    size = open->state->content.size;
  }
  if (fd) {
    const auto at = ::lseek(fd->get(), static_cast<off_t>(offset), whence);
    if (at < 0) return LastError();
    return static_cast<std::uint64_t>(at);
  }
  // Bytes of the index, or not here: all data, as far as anybody knows.
  if (offset >= size) return Errno(ENXIO);
  return whence == SEEK_DATA ? offset : size;
}

Result<std::size_t> Files::Impl::CopyRange(Handle in, std::uint64_t in_offset, Handle out,
                                           std::uint64_t out_offset, std::size_t length) {
  const auto from = Find(in);
  const auto to = Find(out);
  if (!from || !to || !to->writer) return Errno(EBADF);
  std::shared_ptr<const Fd> source;
  std::shared_ptr<const Fd> target;
  std::shared_ptr<const std::string> bytes;
  {
    const std::lock_guard lock(from->state->mutex);
    source = from->state->ReadableFile();
    bytes = from->state->bytes;
  }
  {
    const std::lock_guard lock(to->state->mutex);
    if (to->state->mode == KernelMode::kDirect) to->state->pages_good = false;
    BOOST_OUTCOME_TRYA(writable, Writable(*to->state));
    to->state->NoteWrite(out_offset, length);
    target = std::move(writable);
  }
  if (source) {
    return CopyFileRange(source->get(), in_offset, target->get(), out_offset, length);
  }
  // Bytes that are not here: the kernel reads and writes them instead, and that can wait.
  if (!bytes) return Errno(EXDEV);
  if (in_offset >= bytes->size()) return std::size_t{0};
  const auto part = std::string_view(*bytes).substr(in_offset, length);
  BOOST_OUTCOME_TRYV(WriteAll(target->get(), out_offset, part));
  return part.size();
}

std::int64_t FileState::Ctime_ns(const struct stat& now) const {
  if (frozen_ctime_ns) return *frozen_ctime_ns;
  const bool untouched = base.content && ToNs(base.noted.st_mtim) == mtime_ns &&
                         ToNs(now.st_ctim) == ToNs(base.noted.st_ctim);
  return untouched ? 0 : ToNs(now.st_ctim);
}

std::optional<LiveStat> Files::Impl::Stat(index::Ino ino) {
  const auto [state, lock] = FindLockedState(ino);
  if (!state || !state->file) return std::nullopt;
  if (!state->Dirty() && !state->orphan) return std::nullopt;
  const auto st = StatOf(state->file->get());
  if (!st) return std::nullopt;
  return LiveStat{static_cast<std::uint64_t>(st.value().st_size),
                  static_cast<std::uint64_t>(st.value().st_blocks), ToNs(st.value().st_mtim),
                  state->Ctime_ns(st.value())};
}

std::optional<std::uint64_t> Files::Impl::BlocksOf(const index::Content& content) const {
  if (content.state != index::Content::State::kObject || !content.present) return std::nullopt;
  struct stat st {};
  if (::stat(store_.ObjectPath(content.id).c_str(), &st) != 0) return std::nullopt;
  return static_cast<std::uint64_t>(st.st_blocks);
}

std::optional<LiveStat> Files::Impl::StatOfOpen(Handle handle) {
  const auto open = Find(handle);
  if (!open) return std::nullopt;
  const std::lock_guard lock(open->state->mutex);
  const auto& state = *open->state;
  LiveStat live{state.content.size, (state.content.size + 511) / 512, state.mtime_ns,
                state.mtime_ns};
  if (const auto file = state.ReadableFile()) {
    const auto st = StatOf(file->get());
    if (st) live.blocks = static_cast<std::uint64_t>(st.value().st_blocks);
    if (st && state.Dirty()) live.size = static_cast<std::uint64_t>(st.value().st_size);
  }
  return live;
}

bool Files::Impl::Busy(index::Ino ino) {
  const auto [state, lock] = FindLockedState(ino);
  return state && state->busy;
}

Result<bool> Files::Impl::SetTimes(index::Ino ino, std::optional<std::int64_t> atime_ns,
                                   std::optional<std::int64_t> mtime_ns) {
  auto [state, lock] = FindLockedState(ino);
  if (!state) return false;
  // A commit that has begun has read the time: this change comes after it.
  state->idle.wait(lock, [&s = *state, this] { return !s.busy || abandon_; });
  if (state->dropped || !state->file || (!state->Dirty() && !state->orphan)) {
    // A working file to come begins with it.
    if (mtime_ns) state->mtime_ns = *mtime_ns;
    return false;
  }
  BOOST_OUTCOME_TRYA(before, StatOf(state->file->get()));
  const timespec keep{0, UTIME_OMIT};
  const timespec times[2] = {atime_ns ? TimespecOf(*atime_ns) : keep,
                             mtime_ns ? TimespecOf(*mtime_ns) : keep};
  if (::futimens(state->file->get(), times) != 0) return LastError();
  if (mtime_ns && *mtime_ns != ToNs(before.st_mtim)) state->times_set = true;
  return true;
}

}  // namespace btfc::fs
