// Hashing a file that nothing can write to any more, and its version in the catalogue.
#include <fcntl.h>
#include <spdlog/spdlog.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "fs/clone.h"
#include "fs/extents.h"
#include "fs/files_impl.h"
#include "index/fault_point.h"
#include "index/merkle.h"

namespace btfc::fs {
namespace {

constexpr unsigned kRetryDoublings = 6;  // a commit is tried again no later than this often doubled
// To ask where a smaller file lies takes longer than to hash it: it has to be on the disk.
constexpr std::uint64_t kUnsharedMin = std::uint64_t{16} << 20U;  // bytes

bool SameFile(const struct stat& one, const struct stat& other) {
  return one.st_size == other.st_size && ToNs(one.st_mtim) == ToNs(other.st_mtim) &&
         ToNs(one.st_ctim) == ToNs(other.st_ctim);
}

}  // namespace

// --- what changed

// Without a look at the bytes. False if that cannot be known.
bool Files::Impl::Unchanged(const FileState& state, const struct stat& now) const {
  return state.base.comparable && !state.times_set && SameFile(state.base.noted, now);
}

// Of a file that a crash left without a note, an earlier version's bytes are that version, which
// a newer one from another host may have followed.
bool Files::Impl::Differs(const FileState& state, const index::ContentId& id) const {
  if (id == state.base.content) return false;
  if (!state.base.unnoted) return true;
  return !IsVersion(state.ino, [&](const auto& version) { return version.id == id; });
}

// --- hashing (no lock)

// Whether an object that was here perhaps does not hold what its name says.
bool Files::Impl::Doubtful(const index::ContentId& id) const {
  const std::lock_guard lock(tables_mutex_);
  return doubtful_.contains(id);
}

// What need not be hashed again of a working file that began with a version's bytes: what the
// daemon has not written to, or, if the kernel may have written past it, what still shares its
// place on the disk with that version's object.
std::optional<index::EarlierFile> Files::Impl::Earlier(
    WriteBase base, int file, const std::function<bool()>& cancelled) const {
  if (!base.written || !base.content || Doubtful(*base.content)) return std::nullopt;
  if (base.passthrough && (!store_.reflinks() || base.content->size < kUnsharedMin)) {
    return std::nullopt;
  }
  auto pieces = source_.PiecesOf(*base.content);
  if (!pieces) return std::nullopt;
  auto written = std::move(*base.written);
  if (base.passthrough) {
    const auto object = OpenFile(store_.ObjectPath(*base.content), O_RDONLY);
    if (!object) return std::nullopt;
    auto unshared = UnsharedRanges(object.value().get(), file, cancelled);
    if (!unshared) return std::nullopt;
    written = std::move(unshared.value());
  }
  auto touched = [written = std::move(written)](std::uint64_t offset, std::uint64_t length) {
    return written.Touch(offset, length);
  };
  return index::EarlierFile{base.content->size, std::move(*pieces), std::move(touched)};
}

// Of a file of any size that is unchanged, or of a small one, unless somebody wants to write to it
// again already.
void Files::Impl::CommitQuiet(const State& state, std::uint64_t epoch) {
  struct stat now {};
  {
    Later later;
    const std::lock_guard lock(state->mutex);
    if (abandon_ || state->hash_epoch != epoch || state->phase != Phase::kHashing) return;
    const auto st = StatOf(state->file->get());
    if (!st) return CommitFailed(state, st.error(), later);
    now = st.value();
    state->busy = true;
    state->frozen_ctime_ns = state->Ctime_ns(now);
  }
  CommitSmall(state, now);
}

// `busy` is set. `now`: the file as it is since then.
void Files::Impl::CommitSmall(const State& state, const struct stat& now) {
  index::NewVersion version;
  version.mtime_ns = ToNs(now.st_mtim);
  version.ctime_ns = *state->frozen_ctime_ns;
  const auto read = [&]() -> Result<bool> {
    if (Unchanged(*state, now)) {
      version.id = *state->base.content;
      return false;
    }
    BOOST_OUTCOME_TRYA(all, ReadUpTo(state->file->get(), 0, index::kInlineMax + 1));
    version.inline_bytes = std::move(all);
    if (version.inline_bytes.size() > index::kInlineMax) return Errno(EAGAIN);
    version.id = index::ContentIdOf(version.inline_bytes);
    return Differs(*state, version.id);
  };
  const auto changed = read();
  if (!changed) {
    Later later;
    const std::lock_guard lock(state->mutex);
    EndBusy(state, later);
    state->frozen_ctime_ns.reset();
    return CommitFailed(state, changed.error(), later);
  }
  Publish(state, std::move(version), changed.value());
}

void Files::Impl::HashAndCommit(const State& state, std::uint64_t epoch) {
  std::shared_ptr<const Fd> file;
  WriteBase base;
  {
    const std::lock_guard lock(state->mutex);
    if (abandon_ || state->hash_epoch != epoch || state->phase != Phase::kHashing) return;
    file = state->file;
    base = state->base;  // who writes meanwhile goes on with the state's own
  }
  const auto before = StatOf(file->get());
  const auto begin = CommitRests::Clock::now();
  const auto cancelled = [&] { return abandon_ || state->hash_epoch != epoch; };
  const auto earlier = Earlier(std::move(base), file->get(), cancelled);
  const auto hashed =
      index::HashFile(file->get(), cancelled, options_.hash_threads, earlier ? &*earlier : nullptr);
  const auto end = CommitRests::Clock::now();
  if (hashed) rests_.Made(state->ino, end - begin, end);
  const auto after = StatOf(file->get());
  index::NewVersion version;
  {
    Later later;
    const std::lock_guard lock(state->mutex);
    if (abandon_ || state->hash_epoch != epoch || state->phase != Phase::kHashing) return;
    if (!hashed) return CommitFailed(state, hashed.error(), later);
    if (!before || !after || before.value().st_size != after.value().st_size) {
      return CommitFailed(state, Errno(EAGAIN), later);
    }
    if (!SameFile(before.value(), after.value()) && !state->times_set) {
      return CommitFailed(state, Errno(EAGAIN), later);
    }
    state->busy = true;
    version.id = hashed.value().id;
    const auto now = StatOf(file->get());  // SetTimes may have come since the last look
    version.mtime_ns = ToNs((now ? now : after).value().st_mtim);
    state->frozen_ctime_ns = state->Ctime_ns((now ? now : after).value());
    version.ctime_ns = *state->frozen_ctime_ns;
  }
  fault::Pass("commit.hashed");
  const bool changed = Differs(*state, version.id);
  if (changed) source_.Hashed(version.id, hashed.value().pieces);
  Publish(state, std::move(version), changed);
}

// --- the catalogue and the store (`busy` is set, no lock held)

void Files::Impl::Publish(const State& state, index::NewVersion version, bool changed) {
  std::unique_ptr<ObjectUse> own;
  Result<void> published = Ok();
  const bool small = version.id.size <= index::kInlineMax;
  fault::Pass("commit.begin");
  const auto work = [&]() -> Result<void> {
    if (!changed) {
      if (!small && state->base.taken) {
        BOOST_OUTCOME_TRYA(use, ReturnObject(*state, version.id));
        own = std::move(use);
      }
      return Abandon(*state, version);
    }
    if (!small) {
      BOOST_OUTCOME_TRYA(use, PublishObject(*state, version));
      own = std::move(use);
      return Ok();
    }
    BOOST_OUTCOME_TRYV(catalogue_.Commit(state->ino, version, false));
    return Ok();
  };
  published = work();
  fault::Pass("commit.row");
  Later later;
  const std::lock_guard lock(state->mutex);
  EndBusy(state, later);
  state->frozen_ctime_ns.reset();
  if (!published && published.error() == Errno(ESTALE)) {
    state->orphan = true;
    state->idle.notify_all();
    Settle(state, later);
    return RunParked(state, later);
  }
  if (!published) return CommitFailed(state, published.error(), later);
  Committed(state, version, std::move(own), changed, later);
}

// The version's bytes are what they were. Its times move all the same if somebody wrote them again,
// as make(1) and its like must see; what a crash left says nothing of when.
Result<void> Files::Impl::Abandon(const FileState& state, const index::NewVersion& version) {
  const bool known = state.base.noted.st_ino != 0;
  const bool same = version.mtime_ns == state.mtime_ns && (version.ctime_ns == 0 || !known);
  if (same) return catalogue_.AbandonWrite(state.ino);
  return catalogue_.CommitTimes(state.ino, version.mtime_ns, version.ctime_ns);
}

// The object is there before the row that needs it. A use of it, if its file is the working file.
Result<std::unique_ptr<ObjectUse>> Files::Impl::PublishObject(FileState& state,
                                                              const index::NewVersion& version) {
  std::unique_ptr<ObjectUse> own;
  {
    const auto path = store_.WorkPath(state.ino);
    const std::lock_guard lock(store_.NameLock(version.id));
    const bool was_there = store_.Has(version.id);
    BOOST_OUTCOME_TRYA(ours, store_.Link(path, version.id));
    if (ours) own = objects_.Opened(version.id, state.file);
    fault::Pass("commit.linked");
    if (const auto row = catalogue_.Commit(state.ino, version, false); !row) {
      own.reset();
      // Nobody knows of it: it would take its room for ever, and change with the working file.
      if (ours && !was_there) store_.Unlink(path, version.id).has_value();
      return row.error();
    }
  }
  return own;
}

// An object's own file that was not changed after all.
Result<std::unique_ptr<ObjectUse>> Files::Impl::ReturnObject(FileState& state,
                                                             const index::ContentId& id) {
  std::unique_ptr<ObjectUse> own;
  const std::lock_guard lock(store_.NameLock(id));
  BOOST_OUTCOME_TRYA(ours, store_.Link(store_.WorkPath(state.ino), id));
  if (ours) own = objects_.Opened(id, state.file);
  fault::Pass("commit.returned");
  BOOST_OUTCOME_TRYV(catalogue_.SetPresent(id, true));
  return own;
}

// With the state's lock: the state is what the catalogue says again.
void Files::Impl::Committed(const State& state, const index::NewVersion& version,
                            std::unique_ptr<ObjectUse> own, bool changed, Later& later) {
  const bool small = version.id.size <= index::kInlineMax;
  state->content = version.id;
  state->mtime_ns = version.mtime_ns;
  state->versionless = false;
  ++commits_;
  state->phase = Phase::kClean;
  if (!small && (changed || state->base.taken)) {
    later.Add([this, id = version.id] { source_.Available(id); });
  }
  state->commit_tries = 0;
  state->commit_failure.clear();
  state->base.unchanged = !changed;
  commits_fail_ = false;
  const bool passes_through = state->mode == KernelMode::kPassthrough;
  if (state->handles > 0 && !own && !passes_through) {
    if (small) {
      KeepBytes(*state, version);
    } else if (auto object = objects_.Acquire(version.id)) {
      own = std::move(object.value());
    }
  }
  if (own || state->handles == 0) {
    if (state->handles > 0) {
      if (!passes_through) own->Unclaim();
      state->object = std::move(own);
    }
    own.reset();  // or an open that waited would take it for another's
    ReleaseWorkName(*state, std::exchange(state->file, nullptr));
  }
  fault::Pass("commit.done");
  // Else the handles' file is no object, and stays until they go.
  state->idle.notify_all();
  RunParked(state, later);
  MaybeDrop(state, later);
}

void Files::Impl::KeepBytes(FileState& state, const index::NewVersion& version) {
  std::string bytes = version.inline_bytes;
  if (bytes.size() != version.id.size) {  // unchanged: they were not read
    auto read = ReadUpTo(state.file->get(), 0, version.id.size);
    if (!read || read.value().size() != version.id.size) return;
    bytes = std::move(read.value());
  }
  state.bytes = std::make_shared<const std::string>(std::move(bytes));
  state.phase = Phase::kInline;
  ReleaseWorkName(state, std::exchange(state.file, nullptr));
}

// Nothing is lost: the working file stays, and is tried again.
void Files::Impl::CommitFailed(const State& state, std::error_code why, Later& later) {
  // A full disk stops all commits: one line until one works again.
  if (why != Errno(EAGAIN) && !commits_fail_.exchange(true)) {
    spdlog::error("cannot commit inode {}, and perhaps others: {}; trying again", state->ino,
                  why.message());
  }
  if (state->orphan) {  // its last name went meanwhile: nobody waits for this version
    Settle(state, later);
    return RunParked(state, later);
  }
  if (why != Errno(EAGAIN)) state->commit_failure = why;
  const auto delay =
      options_.commit_retry * (1U << std::min(state->commit_tries++, kRetryDoublings));
  state->phase = Phase::kSettling;
  state->lease_waits = true;
  state->lease_alarm = alarm_->After(delay, RetryLater(state, false));
  state->idle.notify_all();
  RunParked(state, later);
}

void Files::Impl::ReleaseWorkName(FileState& state, const std::shared_ptr<const Fd>& last) {
  if (!state.work_name) return;
  state.work_name = false;
  // Bytes in the index that nobody wanted on the disk: the database is as safe as a file is.
  const bool in_index = state.content.size <= index::kInlineMax;
  // What was synced lives until its removal is on the disk, too; without a version nobody had it.
  const bool dropped = state.orphan && (!state.base.synced || state.versionless);
  // And a copy that stayed one stands for nothing: its version has been safe before.
  const bool at_once = dropped || (!state.orphan && !state.base.taken &&
                                   (state.base.unchanged || (in_index && !state.base.synced)));
  if (at_once) {
    spares_.Give(store_.WorkPath(state.ino), last);
  } else {
    collector_.LetGo(state.ino, state.base.synced);
  }
}

}  // namespace btfc::fs
