#include "fs/collector.h"

#include <fcntl.h>
#include <pthread.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <algorithm>
#include <memory>
#include <utility>
#include <vector>

#include "fs/fd.h"
#include "index/fault_point.h"

namespace btfc::fs {
namespace {

constexpr std::chrono::milliseconds kNamesWait{1000};
constexpr std::chrono::milliseconds kWithdrawWait{10000};
constexpr std::chrono::milliseconds kDiskLook{200};  // at least, between two looks
constexpr int kUrgentRest = 10;  // times what a collection for want of room took
constexpr std::size_t kUnusedAtOnce = 64;

// Writes back what the file's pages hold; true if it is on the disk, or gone.
bool ReachedDisk(const std::filesystem::path& path) {
  const auto fd = OpenFile(path, O_RDONLY);
  return fd ? ::fdatasync(fd.value().get()) == 0 : fd.error() == Errno(ENOENT);
}

}  // namespace

Collector::Collector(index::Catalogue& catalogue, ObjectStore& store, ObjectTable& objects,
                     ContentSource& source, std::chrono::milliseconds interval,
                     const VersionPolicy& versions, OpenInodes open)
    : catalogue_(catalogue),
      store_(store),
      objects_(objects),
      source_(source),
      interval_(interval),
      versions_(versions),
      open_(std::move(open)),
      thread_([this] { Run(); }) {}

Collector::~Collector() { Stop(false); }

void Collector::Start() {
  const std::lock_guard lock(mutex_);
  started_ = true;
  changed_.notify_all();
}

void Collector::Stop(bool finish) {
  {
    const std::lock_guard lock(mutex_);
    finish_ = finish;
    stopping_ = true;
  }
  changed_.notify_all();
  if (thread_.joinable()) thread_.join();
}

void Collector::LetGo(index::Ino ino, bool synced) {
  const std::lock_guard lock(mutex_);
  auto& name = names_[ino];
  name.plain = true;
  name.synced = name.synced || synced;
  name.since = next_++;
  gone_ = true;  // what the file was before
  if (names_.size() == 1) changed_.notify_all();
}

void Collector::SetAside(index::Ino ino) {
  const std::lock_guard lock(mutex_);
  const auto name = names_.find(ino);
  if (name == names_.end() || !name->second.plain) return;
  const auto path = store_.AsideWorkPath(ino, next_++);
  // At worst a name waits no longer than the disk takes anyway.
  if (::rename(store_.WorkPath(ino).c_str(), path.c_str()) == 0) {
    name->second.aside.push_back(path);
  }
  name->second.plain = false;
}

void Collector::Removed(index::Ino ino) {
  const std::lock_guard lock(mutex_);
  const auto name = names_.find(ino);
  if (name == names_.end()) return;
  if (name->second.synced) {
    name->second.since = next_++;  // a round that is under way began before the removal
    return;
  }
  Unlink(ino, name->second);
  names_.erase(name);
}

void Collector::Forget(index::Ino ino) {
  const std::lock_guard lock(mutex_);
  const auto name = names_.find(ino);
  if (name == names_.end()) return;
  Unlink(ino, name->second);
  names_.erase(name);
}

void Collector::Unlink(index::Ino ino, const Name& name) const {
  for (const auto& path : name.aside) ::unlink(path.c_str());
  if (name.plain) ::unlink(store_.WorkPath(ino).c_str());
}

unsigned Collector::NamesOf(index::Ino ino, const struct stat& file) const {
  const std::lock_guard lock(mutex_);
  const auto name = names_.find(ino);
  if (name == names_.end()) return 0;
  unsigned names = 0;
  const auto count = [&](const std::filesystem::path& path) {
    struct stat st {};
    if (::lstat(path.c_str(), &st) == 0 && st.st_ino == file.st_ino) ++names;
  };
  if (name->second.plain) count(store_.WorkPath(ino));
  // The latest first: of a file that changes all the time there are many, of former contents.
  const auto& aside = name->second.aside;
  for (auto path = aside.rbegin(); path != aside.rend() && names + 1 < file.st_nlink; ++path) {
    count(*path);
  }
  return names;
}

void Collector::FileGone() {
  if (gone_.exchange(true)) return;
  const std::lock_guard lock(mutex_);
  changed_.notify_all();
}

// While something waits for its collection, the disk is looked at as often as it could have filled.
void Collector::WaitForGone(std::unique_lock<std::mutex>& lock, Clock::time_point look,
                            Clock::time_point until) {
  if (gone_) {
    changed_.wait_until(lock, std::min(until, look),
                        [this] { return stopping_ || !names_.empty(); });
  } else {
    changed_.wait_until(lock, until, [this] { return stopping_ || gone_ || !names_.empty(); });
  }
}

void Collector::Run() {
  ::pthread_setname_np(::pthread_self(), "files-collect");
  auto next_collection = Clock::time_point::max();
  auto next_look = Clock::time_point::min();
  std::unique_lock lock(mutex_);
  while (!stopping_) {
    if (started_ && next_collection == Clock::time_point::max()) {
      next_collection = Clock::now() + interval_;
    }
    const auto begin = Clock::now();
    bool urgent = false;
    if (started_ && gone_ && begin >= next_look) {
      lock.unlock();
      const auto room = RoomLeft(store_.objects_folder());
      urgent = room == 0;
      next_look = begin + std::max(kDiskLook, FilledNoSoonerThan(room));
      lock.lock();
      if (stopping_) break;
    }
    // Names that cannot go yet, or new ones all the time, do not keep objects.
    if (begin >= next_collection || urgent) {
      gone_ = false;
      lock.unlock();
      CollectObjects();
      lock.lock();
      const auto end = Clock::now();
      next_collection = end + interval_;
      next_look = end + std::max<Clock::duration>(kDiskLook, kUrgentRest * (end - begin));
    } else if (started_ && !names_.empty()) {
      changed_.wait_for(lock, kNamesWait, [this] { return stopping_; });
      if (stopping_) break;
      lock.unlock();
      LetNamesGo();
      lock.lock();
    } else if (next_collection == Clock::time_point::max()) {
      changed_.wait(lock, [this] { return stopping_ || started_; });
    } else {
      WaitForGone(lock, next_look, next_collection);
    }
  }
  const bool finish = started_ && finish_;
  lock.unlock();
  if (finish) LetNamesGo();
}

void Collector::LetNamesGo() {
  std::unordered_map<index::Ino, Name> names;
  {
    const std::lock_guard lock(mutex_);
    names = names_;
  }
  if (names.empty()) return;
  for (auto name = names.begin(); name != names.end();) {
    auto paths = name->second.aside;
    if (name->second.plain) paths.push_back(store_.WorkPath(name->first));
    const bool safe = std::all_of(paths.begin(), paths.end(), ReachedDisk);
    name = safe ? std::next(name) : names.erase(name);
  }
  if (const auto synced = catalogue_.Sync(); !synced) {
    spdlog::error("the index cannot be written to the disk: {}", synced.error().message());
    return;
  }
  fault::Pass("names.synced");
  for (const auto& entry : names) {
    const std::lock_guard lock(mutex_);
    const auto found = names_.find(entry.first);
    if (found == names_.end()) continue;
    // Another commit came, or the name was set aside: all of it waits for the next time.
    if (found->second != entry.second) continue;
    Unlink(entry.first, found->second);
    names_.erase(found);
    fault::Pass("names.gone");
  }
}

bool Collector::Stopping() const {
  const std::lock_guard lock(mutex_);
  return stopping_;
}

void Collector::CollectObjects() {
  const auto stopped = [this] { return Stopping(); };
  PruneVersions(catalogue_, versions_, store_.objects_folder(), stopped);
  if (stopped()) return;
  CollectRows(catalogue_, versions_, open_ ? open_() : std::unordered_set<index::Ino>(), stopped);
  for (;;) {
    const auto unused = catalogue_.Unused(kUnusedAtOnce);
    if (!unused || unused.value().empty()) return;
    // That nobody needs them must be as lasting as their removal.
    if (!catalogue_.Sync()) return;
    std::size_t collected = 0;
    for (const auto& id : unused.value()) {
      if (Stopping()) return;
      if (Collect(id)) ++collected;
    }
    if (collected == 0) return;
  }
}

bool Collector::Collect(const index::ContentId& id) {
  if (objects_.Others(id, nullptr) > 0) return false;
  WithdrawAndWait(id);
  bool kept = true;
  {
    const std::lock_guard lock(store_.NameLock(id));
    if (objects_.Others(id, nullptr) == 0 && catalogue_.SetPresent(id, false)) {
      // Asked after the row changed: a version that came meanwhile had seen the object here.
      const auto users = catalogue_.Users(id, std::nullopt);
      kept = !users || users.value() > 0 || !store_.Remove(id);
      if (kept) catalogue_.SetPresent(id, true).has_value();
    }
  }
  if (kept) source_.Available(id);
  return !kept;
}

void Collector::WithdrawAndWait(const index::ContentId& id) {
  struct Wait {
    std::mutex mutex;
    std::condition_variable changed;
    bool done = false;
  };
  const auto wait = std::make_shared<Wait>();
  source_.Withdraw(id, [wait] {
    const std::lock_guard lock(wait->mutex);
    wait->done = true;
    wait->changed.notify_all();
  });
  std::unique_lock lock(wait->mutex);
  // A removed file that is still open elsewhere keeps its bytes: no harm in going on.
  wait->changed.wait_for(lock, kWithdrawWait, [&] { return wait->done; });
}

}  // namespace btfc::fs
