#include "fs/files.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstring>

#include "fs/files_impl.h"

namespace btfc::fs {
namespace {

// Above this many closed inodes of which the kernel may keep pages, some are forgotten: their next
// open reads them again.
constexpr std::size_t kKeptPagesMax = 65536;

// How long the end waits for the kernel to let go of files that were open for writing. After an
// orderly unmount it does so in a moment; a program that outlived its mount may hold one for good.
constexpr std::chrono::seconds kLetGoMax{1};

// Breaking a lease sends SIGIO, whose default action would end the process.
void IgnoreSigio() {
  struct sigaction now {};
  if (::sigaction(SIGIO, nullptr, &now) == 0 && now.sa_handler == SIG_DFL) {
    struct sigaction ignore {};
    ignore.sa_handler = SIG_IGN;
    ::sigaction(SIGIO, &ignore, nullptr);
  }
}

// The root is a hash, so its first bytes tell contents apart well enough.
std::uint64_t MarkOf(const index::ContentId& content) {
  std::uint64_t mark = 0;
  std::memcpy(&mark, content.root.data(), sizeof mark);
  return mark ^ content.size;
}

}  // namespace

Files::Impl::Impl(index::Catalogue& catalogue, ObjectStore& store, ContentSource& source,
                  const FilesOptions& options, std::unique_ptr<Alarm> alarm)
    : catalogue_(catalogue),
      store_(store),
      source_(source),
      options_(options),
      alarm_(std::move(alarm)),
      pending_(*alarm_),
      objects_(store),
      spares_(store),
      workers_(options.commit_workers),
      beside_(workers_),
      collector_(catalogue, store, objects_, source, options.collect_interval, options.versions,
                 [this] { return OpenInodes(); }) {}

// Without Stop nothing is committed: what is dirty is found by the next Recover.
Files::Impl::~Impl() {
  stopping_ = true;
  abandon_ = true;
  pending_.EndAll(Errno(EINTR));
  collector_.Stop(false);
  alarm_->Stop();
  workers_.Stop();
}

// --- tables

std::unordered_set<index::Ino> Files::Impl::OpenInodes() const {
  const std::lock_guard lock(tables_mutex_);
  std::unordered_set<index::Ino> open;
  for (const auto& [ino, state] : states_) open.insert(ino);
  return open;
}

Files::Impl::State Files::Impl::StateOf(index::Ino ino) {
  const std::lock_guard lock(tables_mutex_);
  auto& state = states_[ino];
  if (!state) state = std::make_shared<FileState>(ino);
  return state;
}

Files::Impl::State Files::Impl::FindState(index::Ino ino) const {
  const std::lock_guard lock(tables_mutex_);
  const auto found = states_.find(ino);
  return found == states_.end() ? nullptr : found->second;
}

std::pair<Files::Impl::State, std::unique_lock<std::mutex>> Files::Impl::LockedState(
    index::Ino ino) {
  for (;;) {
    auto state = StateOf(ino);
    std::unique_lock lock(state->mutex);
    if (!state->dropped) return {std::move(state), std::move(lock)};
  }
}

std::pair<Files::Impl::State, std::unique_lock<std::mutex>> Files::Impl::FindLockedState(
    index::Ino ino) {
  for (;;) {
    auto state = FindState(ino);
    if (!state) return {nullptr, std::unique_lock<std::mutex>()};
    std::unique_lock lock(state->mutex);
    if (!state->dropped) return {std::move(state), std::move(lock)};
  }
}

std::optional<OpenHandle> Files::Impl::Find(Handle handle) const {
  const std::lock_guard lock(tables_mutex_);
  const auto found = handles_.find(handle);
  if (found == handles_.end()) return std::nullopt;
  return found->second;
}

bool Files::Impl::PagesKept(index::Ino ino, const index::ContentId& content) const {
  const std::lock_guard lock(tables_mutex_);
  const auto kept = kept_pages_.find(ino);
  return kept != kept_pages_.end() && kept->second == MarkOf(content);
}

void Files::Impl::Drop(const State& state) {
  state->dropped = true;
  const std::lock_guard lock(tables_mutex_);
  const auto found = states_.find(state->ino);
  if (found != states_.end() && found->second == state) {
    states_.erase(found);
    if (state->pages_good && !state->orphan && state->phase != Phase::kUnloaded) {
      if (kept_pages_.size() >= kKeptPagesMax) kept_pages_.erase(kept_pages_.begin());
      kept_pages_[state->ino] = MarkOf(state->content);
    } else {
      kept_pages_.erase(state->ino);
    }
  }
  state->idle.notify_all();
}

// The state goes when nothing is left that the catalogue and the store do not know.
void Files::Impl::MaybeDrop(const State& state, Later& later) {
  if (state->handles > 0 || state->writers > 0 || state->busy || state->Dirty() ||
      !state->parked.empty() || state->dropped) {
    return;
  }
  StopFetch(*state, later);
  state->writable.reset();
  if (state->work_name) ReleaseWorkName(*state, std::exchange(state->file, nullptr));
  Drop(state);
  state->file.reset();
  state->object.reset();
}

void Files::Impl::EndMode(FileState& state, Later& later) {
  if (state.backing_id != 0) {
    later.Add([backing = backing_.load(), id = state.backing_id] { backing->Unregister(id); });
  }
  state.backing_id = 0;
  state.mode.reset();
}

Result<std::shared_ptr<const Fd>> Files::Impl::Writable(FileState& state) {
  if (!state.writable) {
    const auto path = store_.WorkPath(state.ino);
    BOOST_OUTCOME_TRYA(fd, OpenFile(path, O_RDWR));
    state.writable = std::make_shared<const Fd>(std::move(fd));
  }
  return state.writable;
}

// --- changes from elsewhere

void Files::Impl::Unlinked(index::Ino ino) {
  Later later;
  {
    const auto [state, lock] = FindLockedState(ino);
    if (state) {
      state->orphan = true;
      if (state->phase == Phase::kSettling || state->phase == Phase::kHashing) {
        if (!state->busy) {
          ++state->hash_epoch;
          Settle(state, later);
        }
      }
      MaybeDrop(state, later);
      return;
    }
  }
  // Committed and closed, but its working name may not be gone yet.
  collector_.Removed(ino);
}

void Files::Impl::Forgotten(index::Ino ino) {
  Unlinked(ino);
  {
    const std::lock_guard lock(tables_mutex_);
    kept_pages_.erase(ino);
  }
  catalogue_.Forget(ino).has_value();  // what stays behind, the next start forgets
  collector_.FileGone();
}

// A copy or a commit has ended.
void Files::Impl::EndBusy(const State& state, Later& later) {
  state->busy = false;
  for (auto& answer : std::exchange(state->changed, {})) {
    later.Add([this, ino = state->ino, answer = std::move(answer)] {
      if (const auto superseded = ContentChanged(ino, answer)) answer(*superseded);
    });
  }
}

std::optional<bool> Files::Impl::ContentChanged(index::Ino ino, std::function<void(bool)> answer) {
  Later later;
  auto [state, lock] = FindLockedState(ino);
  if (!state) {
    const std::lock_guard tables(tables_mutex_);
    kept_pages_.erase(ino);
    return false;
  }
  if (state->busy) {  // a commit of this host may be what was changed again
    state->changed.push_back(std::move(answer));
    return std::nullopt;
  }
  const auto node = catalogue_.Get(ino);
  // Removed here, and there again by what another host did: who opens it now has to be committed.
  if (state->orphan && node && node.value().nlink > 0) state->orphan = false;
  if (state->dropped || state->Dirty() || state->orphan || state->phase == Phase::kUnloaded) {
    return false;  // merged when this host's own version is committed
  }
  if (node && node.value().content.id == state->content) return false;
  if (state->handles == 0) {
    // Only opens that wait: they wait for the new content now.
    state->pages_good = false;
    StopFetch(*state, later);
    RunParked(state, later);
    MaybeDrop(state, later);
    return false;
  }
  state->detached = true;
  state->pages_good = false;
  if (state->phase == Phase::kAbsent && !state->delivered) {
    Strand(state);
    MoveOn(state, later);
  }
  if (state->work_name) ReleaseWorkName(*state, nullptr);
  StopFetch(*state, later);
  auto parked = std::exchange(state->parked, {});
  Drop(state);
  for (auto& call : parked) {
    later.Add([this, call] {
      Later inner;
      const auto [fresh, fresh_lock] = LockedState(call->ino);
      TryOpen(fresh, call, inner);
    });
  }
  return true;
}

void Files::Impl::Lost(const index::ContentId& id) {
  std::vector<State> states;
  {
    const std::lock_guard lock(tables_mutex_);
    doubtful_.insert(id);  // for good: a working file may have begun as a copy of it
    std::erase_if(kept_pages_,
                  [mark = MarkOf(id)](const auto& kept) { return kept.second == mark; });
    for (const auto& entry : states_) states.push_back(entry.second);
  }
  for (const auto& state : states) {
    const std::lock_guard lock(state->mutex);
    if (state->content == id) state->pages_good = false;
  }
}

Files::Status Files::Impl::GetStatus() const {
  std::vector<State> states;
  {
    const std::lock_guard lock(tables_mutex_);
    for (const auto& entry : states_) states.push_back(entry.second);
  }
  Status status;
  for (const auto& state : states) {
    const std::lock_guard lock(state->mutex);
    if (state->Dirty() && !state->orphan) ++status.writing;
  }
  status.waiting = pending_.size();
  return status;
}

std::vector<Files::Writing> Files::Impl::ListWriting() const {
  std::vector<State> states;
  {
    const std::lock_guard lock(tables_mutex_);
    for (const auto& entry : states_) states.push_back(entry.second);
  }
  std::vector<Writing> writing;
  for (const auto& state : states) {
    const std::lock_guard lock(state->mutex);
    if (!state->Dirty() || state->orphan) continue;
    writing.push_back(
        {state->ino, state->dirty_since_ns, state->writers > 0, state->commit_failure});
  }
  std::ranges::sort(writing, {}, &Writing::since_ns);
  return writing;
}

// The mount has ended, and with it the kernel does not tell of the last closes any more. Who still
// has a file open reaches it past the daemon at most, and for that there is the lease.
void Files::Impl::ReleaseAll() {
  std::vector<Handle> open;
  {
    const std::lock_guard lock(tables_mutex_);
    for (const auto& handle : handles_) open.push_back(handle.first);
  }
  for (const Handle handle : open) Release(handle);
}

void Files::Impl::Stop() {
  if (stopping_.exchange(true)) return;
  pending_.EndAll(Errno(EINTR));
  const auto begin = std::chrono::steady_clock::now();
  const auto deadline = begin + options_.stop_timeout;
  const auto let_go = std::min(deadline, begin + kLetGoMax);
  std::vector<State> states;
  {
    const std::lock_guard lock(tables_mutex_);
    for (const auto& entry : states_) states.push_back(entry.second);
  }
  ReleaseAll();
  for (const auto& state : states) RetrySettling(state, false);  // nobody rests any more
  for (const auto& state : states) {
    std::unique_lock lock(state->mutex);
    const auto settling = [&state] { return state->phase == Phase::kSettling; };
    const auto done = [&] { return !settling() && state->phase != Phase::kHashing; };
    // What may still be written to, or cannot be committed, stays dirty and is found at the next
    // start.
    const auto failed = [&] { return settling() && state->lease_waits && state->commit_failure; };
    const auto waits = [&] { return settling() && state->lease_waits; };
    state->idle.wait_until(lock, let_go, [&] { return done() || failed(); });
    state->idle.wait_until(lock, deadline, [&] { return done() || waits(); });
  }
  abandon_ = true;
  // Who waits for a job that is not done any more goes on.
  for (const auto& state : states) {
    const std::lock_guard lock(state->mutex);
    state->idle.notify_all();
  }
  collector_.Stop(true);
  alarm_->Stop();
  workers_.Stop();
  spares_.Stop();
}

// --- the class that others see

Files::Files(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Files::~Files() = default;

Result<std::unique_ptr<Files>> Files::Start(index::Catalogue& catalogue, ObjectStore& store,
                                            ContentSource& source, const FilesOptions& options) {
  IgnoreSigio();
  BOOST_OUTCOME_TRYA(alarm, Alarm::Start());
  return std::unique_ptr<Files>(
      new Files(std::make_unique<Impl>(catalogue, store, source, options, std::move(alarm))));
}

void Files::SetBacking(Backing* backing) { impl_->SetBacking(backing); }
Result<void> Files::Recover() { return impl_->Recover(); }
void Files::Stop() { impl_->Stop(); }
Files::Ticket Files::Open(index::Ino ino, int flags, Done<Opened> done) {
  return impl_->Open(ino, flags, std::move(done));
}
Result<Opened> Files::Create(index::Ino ino, int flags) { return impl_->Create(ino, flags); }
Files::Ticket Files::Read(Handle handle, std::uint64_t offset, std::size_t length,
                          Done<std::string> done) {
  return impl_->Read(handle, offset, length, std::move(done));
}
Files::Ticket Files::ReadContent(const index::ContentId& content, std::uint64_t offset,
                                 std::size_t length, Done<std::string> done) {
  return impl_->ReadContent(content, offset, length, std::move(done));
}
Result<std::size_t> Files::Write(Handle handle, std::uint64_t offset, std::string_view bytes) {
  return impl_->Write(handle, offset, bytes);
}
Result<void> Files::Flush(Handle handle) { return impl_->Flush(handle); }
Result<void> Files::Fsync(Handle handle, bool data_only) { return impl_->Fsync(handle, data_only); }
void Files::Release(Handle handle) { impl_->Release(handle); }
Files::Ticket Files::Truncate(index::Ino ino, std::optional<Handle> handle, std::uint64_t size,
                              Done<void> done) {
  return impl_->Truncate(ino, handle, size, std::move(done));
}
Result<void> Files::Allocate(Handle handle, int mode, std::uint64_t offset, std::uint64_t length) {
  return impl_->Allocate(handle, mode, offset, length);
}
Result<std::uint64_t> Files::Seek(Handle handle, std::uint64_t offset, int whence) {
  return impl_->Seek(handle, offset, whence);
}
Result<std::size_t> Files::CopyRange(Handle in, std::uint64_t in_offset, Handle out,
                                     std::uint64_t out_offset, std::size_t length) {
  return impl_->CopyRange(in, in_offset, out, out_offset, length);
}
void Files::Cancel(Ticket ticket) { impl_->Cancel(ticket); }
std::uint64_t Files::Commits() const { return impl_->Commits(); }
std::optional<LiveStat> Files::Stat(index::Ino ino) { return impl_->Stat(ino); }
std::optional<std::uint64_t> Files::BlocksOf(const index::Content& content) const {
  return impl_->BlocksOf(content);
}
std::optional<LiveStat> Files::StatOfOpen(Handle handle) { return impl_->StatOfOpen(handle); }
bool Files::Busy(index::Ino ino) { return impl_->Busy(ino); }
bool Files::Doubtful(const index::ContentId& id) const { return impl_->Doubtful(id); }
Result<bool> Files::SetTimes(index::Ino ino, std::optional<std::int64_t> atime_ns,
                             std::optional<std::int64_t> mtime_ns) {
  return impl_->SetTimes(ino, atime_ns, mtime_ns);
}
void Files::Unlinked(index::Ino ino) { impl_->Unlinked(ino); }
void Files::Forgotten(index::Ino ino) { impl_->Forgotten(ino); }
std::optional<bool> Files::ContentChanged(index::Ino ino, std::function<void(bool)> later) {
  return impl_->ContentChanged(ino, std::move(later));
}
void Files::Lost(const index::ContentId& id) { impl_->Lost(id); }
void Files::Arrived(const index::ContentId& id) { impl_->Arrived(id); }
Files::Status Files::GetStatus() const { return impl_->GetStatus(); }
std::vector<Files::Writing> Files::ListWriting(std::size_t limit) const {
  auto writing = impl_->ListWriting();
  if (writing.size() > limit) writing.resize(limit);
  return writing;
}
std::vector<Files::Writing> Files::ListFailing() const {
  auto failing = impl_->ListWriting();
  std::erase_if(failing, [](const Writing& file) { return !file.failure; });
  return failing;
}

}  // namespace btfc::fs
