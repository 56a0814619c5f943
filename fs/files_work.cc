// How a working file comes about: new, from the bytes in the index, or from an object.
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <utility>

#include "fs/clone.h"
#include "fs/files_impl.h"
#include "index/fault_point.h"

namespace btfc::fs {
namespace {

// Up to here a copy of an object costs little: the former content is kept. Above, and where
// extents cannot be shared, its own file is written to unless somebody needs it.
constexpr std::uint64_t kCopyMax = std::uint64_t{1} << 20U;  // bytes

// A time this much older than the clock changes with every write, however coarse the filesystem
// keeps it.
constexpr std::int64_t kTimeGrain = 1'000'000'000;  // ns

std::int64_t NowNs() {
  timespec now{};
  ::clock_gettime(CLOCK_REALTIME, &now);
  return ToNs(now);
}

// Without a time: now.
Result<void> SetMtime(int fd, std::optional<std::int64_t> mtime_ns) {
  const timespec times[2] = {timespec{0, UTIME_OMIT},
                             mtime_ns ? TimespecOf(*mtime_ns) : timespec{0, UTIME_NOW}};
  if (::futimens(fd, times) != 0) return LastError();
  return Ok();
}

Result<void> Rename(const std::filesystem::path& from, const std::filesystem::path& to) {
  if (::rename(from.c_str(), to.c_str()) != 0) return LastError();
  // rename(2) leaves two names of one file both alone.
  if (::unlink(from.c_str()) != 0 && errno != ENOENT) return LastError();
  return Ok();
}

// A file in the making. What an earlier try left may be another name of a file in use.
Result<Fd> MakeNew(const std::filesystem::path& path) {
  if (::unlink(path.c_str()) != 0 && errno != ENOENT) return LastError();
  return OpenFile(path, O_CREAT | O_EXCL | O_RDWR, 0600);
}

}  // namespace

// kGo: the state is kWriting, its working file is there, empty if `truncate`.
Result<Files::Impl::Step> Files::Impl::BeginWriting(const State& state, bool truncate,
                                                    Later& later) {
  if (state->Dirty()) return ResumeWriting(*state, truncate);
  if (state->phase == Phase::kUnloaded) return Errno(EIO);
  if (state->phase == Phase::kClean && state->file) return ReuseWorkFile(*state, truncate);
  // Handles that pass through to the object's file must see the truncation in that file.
  const bool in_place = state->mode == KernelMode::kPassthrough;
  if (state->phase == Phase::kInline || (truncate && !in_place)) {
    BOOST_OUTCOME_TRYV(NewWorkFile(state, truncate, later));
    return Step::kGo;
  }
  if (state->phase == Phase::kAbsent) {
    StartFetch(state, later);
  } else {
    StartConversion(state, later);
  }
  return Step::kWait;
}

Result<Files::Impl::Step> Files::Impl::ResumeWriting(FileState& state, bool truncate) {
  if (state.lease_alarm != 0) alarm_->Cancel(std::exchange(state.lease_alarm, 0));
  ++state.hash_epoch;
  state.phase = Phase::kWriting;
  if (truncate) {
    BOOST_OUTCOME_TRYV(TruncateWorkFile(state));
  }
  return Step::kGo;
}

// Without reading what was there: the file is new or truncated, or its bytes are in memory.
Result<void> Files::Impl::NewWorkFile(const State& state, bool truncate, Later& later) {
  std::string_view bytes;
  std::optional<std::int64_t> mtime_ns;
  std::optional<index::ContentId> base;
  if (state->phase != Phase::kUnloaded && !state->versionless) base = state->content;
  if (!truncate && state->bytes) {
    bytes = *state->bytes;
    mtime_ns = state->mtime_ns;
  }
  collector_.SetAside(state->ino);
  // A file without a version is dirty in the catalogue from its first day.
  if (!state->orphan && base) {
    BOOST_OUTCOME_TRYV(catalogue_.BeginWrite(state->ino, false));
  }
  fault::Pass("write.noted");
  auto made = MakeWorkFile(state->ino, bytes, mtime_ns);
  fault::Pass("write.begun");
  if (!made) {
    if (!state->orphan && base) catalogue_.AbandonWrite(state->ino).has_value();
    return made.error();
  }
  state->file = std::move(made.value());
  state->work_name = true;
  state->bytes.reset();
  state->object.reset();
  const bool was_absent = state->phase == Phase::kAbsent;
  BOOST_OUTCOME_TRYV(EnterWriting(*state, base));
  if (was_absent) {
    StopFetch(*state, later);
    RestartReads(state, later);
  }
  return Ok();
}

// Opened to be read: held open for writing by the daemon, a file never gets a lease. What bears the
// name work/INO is always whole: it may be all that is left after a crash.
Result<std::shared_ptr<const Fd>> Files::Impl::MakeWorkFile(index::Ino ino, std::string_view bytes,
                                                            std::optional<std::int64_t> mtime_ns) {
  const auto path = store_.WorkPath(ino);
  auto spare = spares_.Take();
  if (!spare) {
    if (bytes.empty() && !mtime_ns) {
      auto file = OpenFile(path, O_CREAT | O_EXCL | O_RDONLY, 0600);
      if (file) return std::make_shared<const Fd>(std::move(file.value()));
    }
    spare = store_.NewWorkPath(ino);
    BOOST_OUTCOME_TRYV(MakeNew(*spare));
  }
  const auto fill = [&]() -> Result<std::shared_ptr<const Fd>> {
    BOOST_OUTCOME_TRYA(file, OpenFile(*spare, O_RDONLY));
    if (!bytes.empty()) {
      BOOST_OUTCOME_TRYA(writer, OpenFile(*spare, O_WRONLY));
      BOOST_OUTCOME_TRYV(WriteAll(writer.get(), 0, bytes));
    }
    BOOST_OUTCOME_TRYV(SetMtime(file.get(), mtime_ns));
    if (::rename(spare->c_str(), path.c_str()) != 0) return LastError();
    return std::make_shared<const Fd>(std::move(file));
  };
  auto filled = fill();
  if (!filled) ::unlink(spare->c_str());
  return filled;
}

// A committed working file that handles still pass through to is written to again.
Result<Files::Impl::Step> Files::Impl::ReuseWorkFile(FileState& state, bool truncate) {
  if (!state.orphan) {
    BOOST_OUTCOME_TRYV(catalogue_.BeginWrite(state.ino, false));
  }
  BOOST_OUTCOME_TRYA(st, StatOf(state.file->get()));
  if (!state.orphan && ToNs(st.st_mtim) != state.mtime_ns) {  // somebody has set it meanwhile
    BOOST_OUTCOME_TRYV(SetMtime(state.file->get(), state.mtime_ns));
  }
  // It is the same file: what was synced of it is not safe elsewhere yet.
  const bool synced = state.base.synced;
  BOOST_OUTCOME_TRYV(EnterWriting(state, state.content));
  state.base.synced = synced;
  if (truncate) {
    BOOST_OUTCOME_TRYV(TruncateWorkFile(state));
  }
  return Step::kGo;
}

Result<void> Files::Impl::TruncateWorkFile(FileState& state) {
  BOOST_OUTCOME_TRYA(fd, Writable(state));
  state.NoteCut(0);
  if (::ftruncate(fd->get(), 0) != 0) return LastError();
  fault::Pass("truncate.done");
  return Ok();
}

Result<void> Files::Impl::EnterWriting(FileState& state, std::optional<index::ContentId> base) {
  BOOST_OUTCOME_TRYA(st, StatOf(state.file->get()));
  state.phase = Phase::kWriting;
  state.times_set = false;
  state.dirty_since_ns = NowNs();
  state.base = WriteBase{};
  ++state.write_round;
  state.base.content = base;
  state.base.noted = st;
  state.base.comparable = base && base->size == static_cast<std::uint64_t>(st.st_size) &&
                          NowNs() - ToNs(st.st_mtim) > kTimeGrain;
  return Ok();
}

// --- objects

// Whether an object's file has names that are not the store's (import=link).
bool Files::Impl::NamedOutside(index::Ino ino, const struct stat& object) const {
  return object.st_nlink > 1 && object.st_nlink > 1 + collector_.NamesOf(ino, object);
}

void Files::Impl::StartConversion(const State& state, Later& later) {
  const auto id = state->content;
  auto plan = std::make_shared<Conversion>();
  const auto file = state->object->fd();
  const auto st = StatOf(file->get());
  const bool named_outside = !st || NamedOutside(state->ino, st.value());
  const auto users = catalogue_.Holders(id, state->ino);
  const bool needed = !users || users.value() > 0 || objects_.Others(id, state->object.get()) > 0;
  plan->mtime_ns = state->mtime_ns;
  plan->ours = !named_outside;
  plan->keep = needed || named_outside || store_.reflinks() || id.size <= kCopyMax;
  plan->take = !plan->keep || state->mode == KernelMode::kPassthrough;
  plan->quick = !plan->keep || store_.reflinks() || id.size <= kCopyMax;
  plan->object = std::move(state->object);
  state->file = file;  // open handles read on from it
  state->busy = true;
  const auto convert = [this, state, plan] { Convert(state, plan); };
  const auto length = plan->quick ? Workers::Length::kShort : Workers::Length::kLong;
  if (plan->take) {
    // Nobody else may read a file that is about to change.
    later.Add([this, id, length, convert] {
      source_.Withdraw(id, [this, length, convert] { workers_.Post(length, convert); });
    });
  } else if (plan->quick) {
    later.Add(convert);
  } else {
    later.Add([this, convert] { workers_.Post(Workers::Length::kLong, convert); });
  }
}

// The working file that `plan` makes; null if that is the object's own file, which is open already:
// opening it again could fail. With `busy` set and no lock held.
Result<std::shared_ptr<const Fd>> Files::Impl::MakeWorkFile(const FileState& state,
                                                            Conversion& plan) {
  if (plan.take && !plan.keep) {
    BOOST_OUTCOME_TRYV(TakeObject(state, plan));
  }
  if (plan.take && !plan.keep) return std::shared_ptr<const Fd>();
  if (plan.take) {
    BOOST_OUTCOME_TRYV(ExchangeObject(state, plan));
  } else {
    BOOST_OUTCOME_TRYV(CopyToWork(state, plan, false));
    fault::Pass("copy.made");
    BOOST_OUTCOME_TRYV(Rename(store_.NewWorkPath(state.ino), store_.WorkPath(state.ino)));
    fault::Pass("copy.named");
  }
  BOOST_OUTCOME_TRYA(file, OpenFile(store_.WorkPath(state.ino), O_RDONLY));
  return std::make_shared<const Fd>(std::move(file));
}

// With `busy` set and no lock held.
void Files::Impl::Convert(const State& state, const std::shared_ptr<Conversion>& plan) {
  if (abandon_) return;
  const auto id = plan->object->id();
  auto file = MakeWorkFile(*state, *plan);
  Later later;
  const std::lock_guard lock(state->mutex);
  EndBusy(state, later);
  state->idle.notify_all();
  if (plan->take && (plan->keep || !file)) {
    later.Add([this, id] {
      if (store_.Has(id)) source_.Available(id);
    });
  }
  if (!file) {
    catalogue_.AbandonWrite(state->ino).has_value();
    if (plan->object) {
      state->file.reset();
      state->object = std::move(plan->object);
    }
    FailParkedWrites(state, file.error(), later);
    return RunParked(state, later);
  }
  if (file.value()) state->file = std::move(file).value();
  state->work_name = true;
  plan->object.reset();
  if (const auto entered = EnterWriting(*state, id); !entered) {
    FailParkedWrites(state, entered.error(), later);
  }
  state->base.taken = plan->take && !plan->keep;
  if (plan->ours) state->base.written.emplace();
  state->base.note_durable = plan->take;
  RunParked(state, later);
}

// A copy at NewWorkPath, with the version's time so that a write shows.
Result<void> Files::Impl::CopyToWork(const FileState& state, const Conversion& plan, bool durable) {
  collector_.SetAside(state.ino);
  const auto source = plan.object->fd();
  BOOST_OUTCOME_TRYV(catalogue_.BeginWrite(state.ino, durable));
  fault::Pass("copy.noted");
  const auto path = store_.NewWorkPath(state.ino);
  const auto copy = [&]() -> Result<void> {
    BOOST_OUTCOME_TRYA(fd, MakeNew(path));
    BOOST_OUTCOME_TRYV(
        CloneFile(source->get(), fd.get(), plan.object->id().size, [this] { return !!abandon_; }));
    BOOST_OUTCOME_TRYV(SetMtime(fd.get(), plan.mtime_ns));
    if (durable && ::fdatasync(fd.get()) != 0) return LastError();
    return Ok();
  };
  auto copied = copy();
  if (!copied) ::unlink(path.c_str());
  return copied;
}

// The object's own file becomes the working file. In this order: the catalogue says that the
// object is gone and that the file is dirty, on the disk, before the file loses the object's name.
// Sets plan.keep, and does nothing, if somebody needs the object after all.
Result<void> Files::Impl::TakeObject(const FileState& state, Conversion& plan) {
  const auto id = plan.object->id();
  const std::lock_guard lock(store_.NameLock(id));
  BOOST_OUTCOME_TRYV(catalogue_.SetPresent(id, false));
  fault::Pass("take.absent");
  const auto users = catalogue_.Holders(id, state.ino);
  if (!users || users.value() > 0 || objects_.Others(id, plan.object.get()) > 0) {
    BOOST_OUTCOME_TRYV(catalogue_.SetPresent(id, true));
    plan.keep = true;
    return Ok();
  }
  auto taken = catalogue_.BeginWrite(state.ino, true);
  if (taken) {
    fault::Pass("take.noted");
    collector_.Forget(state.ino);
    taken = store_.Take(id, store_.WorkPath(state.ino));
    fault::Pass("take.taken");
  }
  if (!taken) {
    catalogue_.SetPresent(id, true).has_value();
    return taken.error();
  }
  // Under this lock, or another inode could still open the file that is written to now. Nothing may
  // fail from here on: the file has lost its name. Without its time it is hashed once more.
  const auto file = plan.object->fd();
  plan.object.reset();
  SetMtime(file->get(), plan.mtime_ns).has_value();
  return Ok();
}

// The object's own file becomes the working file, and a copy the object.
Result<void> Files::Impl::ExchangeObject(const FileState& state, Conversion& plan) {
  const auto id = plan.object->id();
  BOOST_OUTCOME_TRYV(CopyToWork(state, plan, true));
  fault::Pass("swap.copied");
  const auto path = store_.NewWorkPath(state.ino);
  BOOST_OUTCOME_TRYA(copy, OpenFile(path, O_RDONLY));
  const std::lock_guard lock(store_.NameLock(id));
  BOOST_OUTCOME_TRYV(store_.Exchange(path, id));
  fault::Pass("swap.swapped");
  objects_.Replace(id, std::move(copy));
  plan.object.reset();
  const auto fd = OpenFile(path, O_RDONLY);
  if (!fd) return fd.error();
  BOOST_OUTCOME_TRYV(SetMtime(fd.value().get(), plan.mtime_ns));
  BOOST_OUTCOME_TRYV(Rename(path, store_.WorkPath(state.ino)));
  fault::Pass("swap.named");
  return Ok();
}

}  // namespace btfc::fs
