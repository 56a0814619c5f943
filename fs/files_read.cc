// Bytes that are not here: reads that wait, whole objects fetched for a writer, arrivals.
#include <sys/stat.h>

#include <algorithm>
#include <utility>

#include "fs/clone.h"
#include "fs/files_impl.h"

namespace btfc::fs {
namespace {

// Nobody here cancelled it, so EINTR would be a lie.
std::error_code NotFetched(const std::error_code& why) {
  return Errno(why == Error::kCancelled ? EIO : ToErrno(why));
}

}  // namespace

Files::Ticket Files::Impl::Read(Handle handle, std::uint64_t offset, std::size_t length,
                                Done<std::string> done) {
  const auto open = Find(handle);
  if (!open) {
    done(Errno(EBADF));
    return 0;
  }
  const auto& state = open->state;
  std::shared_ptr<const Fd> fd;
  std::shared_ptr<const std::string> bytes;
  {
    std::unique_lock lock(state->mutex);
    fd = state->ReadableFile();
    bytes = state->bytes;
    if (!fd && !bytes) return ReadAbsent(state, offset, length, std::move(done), std::move(lock));
  }
  if (fd) {
    done(ReadUpTo(fd->get(), offset, length));
  } else {
    done(offset < bytes->size() ? bytes->substr(offset, length) : std::string());
  }
  return 0;
}

Files::Ticket Files::Impl::ReadAbsent(const State& state, std::uint64_t offset, std::size_t length,
                                      Done<std::string> done, std::unique_lock<std::mutex> lock) {
  const auto content = state->content;
  if (offset >= content.size || length == 0 || stopping_) {
    lock.unlock();
    stopping_ ? done(Errno(EIO)) : done(std::string());
    return 0;
  }
  auto call = std::make_shared<ReadCall>();
  call->offset = offset;
  call->length = std::min<std::uint64_t>(length, content.size - offset);
  call->done = std::move(done);
  const auto ticket = pending_.Add(options_.read_timeout, [this, state, call](std::error_code why) {
    {
      const std::lock_guard state_lock(state->mutex);
      state->reads.remove(call);
    }
    GiveUp(*call);
    call->done(why);
  });
  call->ticket = ticket;
  state->reads.push_back(call);
  Later later;
  // The next version may have come between the open and the first read.
  if (state->detached) MoveOn(state, later);
  const bool moved = state->phase != Phase::kAbsent;
  lock.unlock();
  if (moved) return ticket;
  const auto request = source_.Request(content, call->offset, call->length,
                                       [this, state, content, call](Result<void> fetched) {
                                         FinishAbsentRead(state, content, call, fetched);
                                       });
  {
    const std::lock_guard call_lock(call->mutex);
    call->request = request;
    if (!call->given_up) return ticket;
  }
  source_.Cancel(request);
  return ticket;
}

// While the object is in use here, nobody takes its file to write to it.
Files::Ticket Files::Impl::ReadContent(const index::ContentId& content, std::uint64_t offset,
                                       std::size_t length, Done<std::string> done) {
  if (offset >= content.size || length == 0) {
    done(std::string());
    return 0;
  }
  if (const auto use = objects_.Acquire(content)) {
    done(ReadUpTo(use.value()->fd()->get(), offset, length));
    return 0;
  }
  if (stopping_) {
    done(Errno(EIO));
    return 0;
  }
  auto call = std::make_shared<ReadCall>();
  call->offset = offset;
  call->length = std::min<std::uint64_t>(length, content.size - offset);
  call->done = std::move(done);
  call->ticket = pending_.Add(options_.read_timeout, [this, call](std::error_code why) {
    GiveUp(*call);
    call->done(why);
  });
  const auto ticket = call->ticket;
  const auto request = source_.Request(
      content, call->offset, call->length, [this, content, call](Result<void> fetched) {
        if (!pending_.Take(call->ticket)) return;
        if (!fetched) return call->done(NotFetched(fetched.error()));
        call->done(ReadFetched(content, call->offset, call->length));
      });
  {
    const std::lock_guard call_lock(call->mutex);
    call->request = request;
    if (!call->given_up) return ticket;
  }
  source_.Cancel(request);
  return ticket;
}

// Takes the request back, now or when its number is known.
void Files::Impl::GiveUp(ReadCall& call) {
  std::uint64_t request = 0;
  {
    const std::lock_guard lock(call.mutex);
    call.given_up = true;
    request = call.request;
  }
  if (request != 0) source_.Cancel(request);
}

void Files::Impl::FinishAbsentRead(const State& state, const index::ContentId& content,
                                   const std::shared_ptr<ReadCall>& call,
                                   const Result<void>& fetched) {
  {
    // Taken with the lock, so that nobody gets these bytes of a file that has moved on.
    const std::lock_guard lock(state->mutex);
    if (!pending_.Take(call->ticket)) return;
    state->reads.remove(call);
    if (fetched) state->delivered = true;
  }
  if (!fetched) return call->done(NotFetched(fetched.error()));
  call->done(ReadFetched(content, call->offset, call->length));
}

Result<std::string> Files::Impl::ReadFetched(const index::ContentId& content, std::uint64_t offset,
                                             std::size_t length) const {
  // The partial file becomes the object at any moment.
  for (const auto& path : {store_.PartialPath(content), store_.ObjectPath(content)}) {
    const auto fd = OpenFile(path, O_RDONLY);
    if (!fd && fd.error() == Errno(ENOENT)) continue;
    if (!fd) return fd.error();
    BOOST_OUTCOME_TRYA(bytes, ReadUpTo(fd.value().get(), offset, length));
    if (bytes.size() != length) return Errno(EIO);
    return bytes;
  }
  return Errno(EIO);
}

// The bytes that the reads waited for are not the file's any more: they read what is there now.
void Files::Impl::RestartReads(const State& state, Later& later) {
  for (const auto& call : std::exchange(state->reads, {})) {
    if (!pending_.Take(call->ticket)) continue;
    later.Add([this, state, call] {
      GiveUp(*call);
      std::shared_ptr<const Fd> fd;
      {
        const std::lock_guard lock(state->mutex);
        fd = state->ReadableFile();
      }
      call->done(fd ? ReadUpTo(fd->get(), call->offset, call->length)
                    : Result<std::string>(Errno(EIO)));
    });
  }
}

// --- whole objects, for a writer

void Files::Impl::StartFetch(const State& state, Later& later) {
  if (state->fetch) return;
  const auto content = state->content;
  auto fetch = std::make_shared<ReadCall>();
  state->fetch = fetch;
  state->fetched_blocks = FetchedBlocks(content);
  WatchFetch(state);
  later.Add([this, state, content, fetch] {
    const auto request = source_.Request(
        content, 0, content.size,
        [this, state, fetch](Result<void> fetched) { FetchEnded(state, fetch, fetched); });
    {
      const std::lock_guard lock(fetch->mutex);
      fetch->request = request;
      if (!fetch->given_up) return;
    }
    source_.Cancel(request);
  });
}

// A big file may take longer than the timeout of a read: it is given up when nothing comes.
void Files::Impl::WatchFetch(const State& state) {
  const std::weak_ptr<FileState> weak = state;
  state->fetch_alarm = alarm_->After(options_.read_timeout, [this, weak] {
    const auto watched = weak.lock();
    if (!watched) return;
    Later later;
    const std::lock_guard lock(watched->mutex);
    if (!watched->fetch) return;
    const auto blocks = FetchedBlocks(watched->content);
    if (blocks != watched->fetched_blocks) {
      watched->fetched_blocks = blocks;
      return WatchFetch(watched);
    }
    StopFetch(*watched, later);
    FailParkedWrites(watched, Errno(EIO), later);
    MaybeDrop(watched, later);
  });
}

std::uint64_t Files::Impl::FetchedBlocks(const index::ContentId& content) const {
  struct stat st {};
  if (::stat(store_.PartialPath(content).c_str(), &st) != 0) return 0;
  return static_cast<std::uint64_t>(st.st_blocks);
}

void Files::Impl::StopFetch(FileState& state, Later& later) {
  if (!state.fetch) return;
  if (state.fetch_alarm != 0) alarm_->Cancel(std::exchange(state.fetch_alarm, 0));
  later.Add([this, fetch = std::exchange(state.fetch, nullptr)] { GiveUp(*fetch); });
}

void Files::Impl::FetchEnded(const State& state, const std::shared_ptr<ReadCall>& fetch,
                             const Result<void>& fetched) {
  Later later;
  const std::lock_guard lock(state->mutex);
  if (state->fetch != fetch) return;
  if (fetched) return TakeArrived(state, later);  // else Arrived comes when the store has it
  StopFetch(*state, later);
  FailParkedWrites(state, NotFetched(fetched.error()), later);
  MaybeDrop(state, later);
}

// --- arrivals

void Files::Impl::NoteWaiting(const State& state) {
  const std::lock_guard lock(tables_mutex_);
  const auto [begin, end] = waiting_.equal_range(state->content);
  for (auto entry = begin; entry != end;) {
    const auto waiting = entry->second.lock();
    if (waiting == state) return;
    entry = waiting ? std::next(entry) : waiting_.erase(entry);
  }
  waiting_.emplace(state->content, state);
}

void Files::Impl::Strand(const State& state) {
  const std::lock_guard lock(tables_mutex_);
  std::erase_if(stranded_, [](const auto& other) { return other.expired(); });
  stranded_.push_back(state);
}

// Readers that wait for a version that was superseded before they got a byte of it get the file's
// present one once that is here, as if they had opened it a moment later: perhaps no host has kept
// theirs. Only one of the same size, which they may have asked for. The kernel sees nothing of it:
// what it knows of the file that these handles have is that it was superseded.
void Files::Impl::MoveOn(const State& state, Later& later) {
  if (state->phase != Phase::kAbsent || state->delivered || state->reads.empty()) return;
  const auto now = catalogue_.Get(state->ino);
  if (!now || now.value().content.state != index::Content::State::kObject) return;
  const auto& content = now.value().content.id;
  if (content == state->content || content.size != state->content.size) return;
  auto object = objects_.Acquire(content);
  if (!object) return;
  state->object = std::move(object.value());
  state->content = content;
  state->mtime_ns = now.value().mtime_ns;
  state->phase = Phase::kClean;
  RestartReads(state, later);
}

void Files::Impl::Arrived(const index::ContentId& id) {
  std::vector<State> states;
  std::vector<State> stranded;
  {
    const std::lock_guard lock(tables_mutex_);
    const auto [begin, end] = waiting_.equal_range(id);
    for (auto entry = begin; entry != end; ++entry) {
      if (auto state = entry->second.lock()) states.push_back(std::move(state));
    }
    waiting_.erase(begin, end);
    for (const auto& weak : stranded_) {
      if (auto state = weak.lock()) stranded.push_back(std::move(state));
    }
  }
  for (const auto& state : states) {
    Later later;
    const std::lock_guard lock(state->mutex);
    if (state->phase == Phase::kAbsent && state->content == id) TakeArrived(state, later);
  }
  for (const auto& state : stranded) {
    Later later;
    const std::lock_guard lock(state->mutex);
    MoveOn(state, later);
  }
}

// Open handles go on with the object; they stay direct.
void Files::Impl::TakeArrived(const State& state, Later& later) {
  if (state->phase != Phase::kAbsent || state->busy) return;
  auto object = objects_.Acquire(state->content);
  if (!object) return NoteWaiting(state);
  state->object = std::move(object.value());
  state->phase = Phase::kClean;
  StopFetch(*state, later);
  RestartReads(state, later);
  RunParked(state, later);
}

}  // namespace btfc::fs
