// Opens and truncations: what can be answered at once, and what is parked.
#include <algorithm>
#include <utility>

#include "fs/files_impl.h"

namespace btfc::fs {

namespace {

void Answer(const OpenCall& call, std::error_code why) {
  if (call.internal) return call.ready(why);
  call.done(why);
}

}  // namespace

Files::Ticket Files::Impl::Open(index::Ino ino, int flags, Done<Opened> done) {
  auto call = std::make_shared<OpenCall>();
  call->ino = ino;
  call->flags = flags;
  call->done = std::move(done);
  if (stopping_ || (call->writes() && options_.read_only)) {
    call->done(Errno(stopping_ ? EIO : EROFS));
    return 0;
  }
  Later later;
  const auto [state, lock] = LockedState(ino);
  TryOpen(state, call, later);
  MaybeDrop(state, later);
  return call->ticket;
}

// Like an open for writing, but of no consequence for the kernel's mode.
Files::Ticket Files::Impl::OpenInternally(index::Ino ino, int flags,
                                          std::function<void(Result<State>)> ready) {
  auto call = std::make_shared<OpenCall>();
  call->ino = ino;
  call->flags = flags;
  call->internal = true;
  call->ready = std::move(ready);
  Later later;
  const auto [state, lock] = LockedState(ino);
  TryOpen(state, call, later);
  MaybeDrop(state, later);
  return call->ticket;
}

void Files::Impl::CloseInternally(const State& state) {
  Later later;
  const std::lock_guard lock(state->mutex);
  --state->writers;
  if (state->phase == Phase::kWriting && state->writers == 0) Settle(state, later);
  MaybeDrop(state, later);
}

Files::Ticket Files::Impl::Truncate(index::Ino ino, std::optional<Handle> handle,
                                    std::uint64_t size, Done<void> done) {
  const auto cut = [this, size](const State& state) -> Result<void> {
    std::shared_ptr<const Fd> fd;
    {
      const std::lock_guard lock(state->mutex);
      BOOST_OUTCOME_TRYA(writable, Writable(*state));
      state->NoteCut(size);
      fd = std::move(writable);
    }
    while (::ftruncate(fd->get(), static_cast<off_t>(size)) != 0) {
      if (errno != EINTR) return LastError();
    }
    return Ok();
  };
  if (stopping_ || options_.read_only) {
    done(Errno(stopping_ ? EIO : EROFS));
    return 0;
  }
  if (handle) {
    const auto open = Find(*handle);
    if (open && open->writer) {
      done(cut(open->state));
      return 0;
    }
  }
  const int flags = O_WRONLY | (size == 0 ? O_TRUNC : 0);
  return OpenInternally(ino, flags, [this, cut, done = std::move(done)](Result<State> state) {
    if (!state) return done(state.error());
    const auto result = cut(state.value());
    CloseInternally(state.value());
    done(result);
  });
}

// --- with the state's lock held

void Files::Impl::TryOpen(const State& state, const std::shared_ptr<OpenCall>& call, Later& later) {
  const auto step = Attempt(state, *call, later);
  if (!step) return Fail(call, step.error(), later);
  if (step.value() == Step::kWait) return Park(state, call);
  Grant(state, call, later);
}

Result<Files::Impl::Step> Files::Impl::Attempt(const State& state, const OpenCall& call,
                                               Later& later) {
  if (state->busy) return Step::kWait;
  if (!state->Dirty() && !state->file && (state->handles == 0 || state->phase == Phase::kAbsent)) {
    BOOST_OUTCOME_TRYV(Load(state, later));
  }
  if (!call.writes()) return Step::kGo;
  return BeginWriting(state, (call.flags & O_TRUNC) != 0, later);
}

void Files::Impl::Park(const State& state, const std::shared_ptr<OpenCall>& call) {
  state->parked.push_back(call);
  {
    const std::lock_guard lock(call->mutex);
    call->parked_in = state;
  }
  if (call->ticket != 0) return;
  call->ticket = pending_.Add(std::nullopt, [this, call](std::error_code why) {
    State waiting;
    {
      const std::lock_guard lock(call->mutex);
      waiting = call->parked_in.lock();
    }
    Later later;
    if (waiting) {
      const std::lock_guard lock(waiting->mutex);
      waiting->parked.remove(call);
      if (waiting->parked.empty()) StopFetch(*waiting, later);
      MaybeDrop(waiting, later);
    }
    later.Add([call, why] { Answer(*call, why); });
  });
}

void Files::Impl::Fail(const std::shared_ptr<OpenCall>& call, std::error_code why, Later& later) {
  if (call->ticket != 0 && !pending_.Take(call->ticket)) return;  // who took it answers
  later.Add([call, why] { Answer(*call, why); });
}

void Files::Impl::Grant(const State& state, const std::shared_ptr<OpenCall>& call, Later& later) {
  if (call->ticket != 0 && !pending_.Take(call->ticket)) return;
  if (call->internal) {
    ++state->writers;
    later.Add([call, state] { call->ready(state); });
    return;
  }
  later.Add([call, opened = AddHandle(state, call->writes())] { call->done(opened); });
}

Opened Files::Impl::AddHandle(const State& state, bool writer) {
  Opened opened;
  if (state->handles == 0) state->mode = ChooseMode(*state);
  ++state->handles;
  if (writer) ++state->writers;
  opened.mode = *state->mode;
  opened.backing_id = state->backing_id;
  opened.keep_cache = opened.mode == KernelMode::kCached && state->pages_good;
  if (opened.mode == KernelMode::kCached) state->pages_good = true;
  if (opened.mode == KernelMode::kPassthrough && writer) {
    state->base.passthrough = true;
    state->pages_good = false;
  }
  const std::lock_guard lock(tables_mutex_);
  opened.handle = next_handle_++;
  handles_.emplace(opened.handle, OpenHandle{state, writer});
  return opened;
}

// The first open of an inode fixes how the kernel handles it. Passthrough needs a file that is this
// inode's alone: a working file, or an object that no other inode claims and that has no name
// outside the store (import=link).
KernelMode Files::Impl::ChooseMode(FileState& state) {
  if (state.phase == Phase::kAbsent) return KernelMode::kDirect;
  auto* backing = backing_.load();
  const auto file = state.ReadableFile();
  if (backing == nullptr || backing_refused_ || !file) return KernelMode::kCached;
  if (!state.file) {
    const auto st = StatOf(file->get());
    if (!st || NamedOutside(state.ino, st.value())) return KernelMode::kCached;
    if (!state.object->Claim()) return KernelMode::kCached;
  }
  const auto id = backing->Register(file->get());
  if (!id) {
    // EPERM without privileges, ELOOP on a stacked filesystem: it will not change.
    backing_refused_ = true;
    if (state.object) state.object->Unclaim();
    return KernelMode::kCached;
  }
  state.backing_id = id.value();
  return KernelMode::kPassthrough;
}

void Files::Impl::RunParked(const State& state, Later& later) {
  if (state->busy) return;
  auto calls = std::exchange(state->parked, {});
  for (const auto& call : calls) TryOpen(state, call, later);
  if (state->parked.empty()) StopFetch(*state, later);
  // Who wanted to write may have given up meanwhile.
  if (state->phase == Phase::kWriting && state->writers == 0) Settle(state, later);
  MaybeDrop(state, later);
}

void Files::Impl::FailParkedWrites(const State& state, std::error_code why, Later& later) {
  auto calls = std::exchange(state->parked, {});
  for (const auto& call : calls) {
    if (call->writes()) {
      Fail(call, why, later);
    } else {
      state->parked.push_back(call);
    }
  }
}

// What the catalogue has, for an inode with no handle or with one that waits for its object.
Result<void> Files::Impl::Load(const State& state, Later& later) {
  BOOST_OUTCOME_TRYA(now, catalogue_.GetFile(state->ino));
  const auto& content = now.node.content;
  if (state->handles > 0 && content.id != state->content) return Ok();  // they keep the old one
  if (content.id != state->content) StopFetch(*state, later);
  if (now.node.nlink == 0) state->orphan = true;
  state->mtime_ns = now.node.mtime_ns;
  state->versionless = content.state == index::Content::State::kNone;
  if (content.state == index::Content::State::kObject) {
    BOOST_OUTCOME_TRYV(LoadObject(state, content, later));
  } else {
    state->bytes = std::make_shared<const std::string>(std::move(now.bytes));
    state->content = content.id;
    state->object.reset();
    state->phase = Phase::kInline;
  }
  if (state->handles == 0) state->pages_good = PagesKept(state->ino, state->content);
  return Ok();
}

Result<void> Files::Impl::LoadObject(const State& state, const index::Content& content,
                                     Later& later) {
  state->bytes.reset();
  if (state->phase == Phase::kClean && state->object && state->content == content.id) return Ok();
  state->object.reset();
  if (state->content != content.id) state->delivered = false;
  state->content = content.id;
  if (content.present) {
    auto object = objects_.Acquire(content.id);
    if (object) {
      state->object = std::move(object.value());
      state->phase = Phase::kClean;
      StopFetch(*state, later);
      RestartReads(state, later);
      return Ok();
    }
    if (object.error() != Errno(ENOENT)) return object.error();
    // Somebody took the file away, or a power cut did: it can be fetched again.
    BOOST_OUTCOME_TRYV(catalogue_.SetPresent(content.id, false));
  }
  state->phase = Phase::kAbsent;
  NoteWaiting(state);
  return Ok();
}

}  // namespace btfc::fs
