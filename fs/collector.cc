#include "fs/collector.h"

#include <fcntl.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <memory>
#include <utility>
#include <vector>

#include "fs/fd.h"

namespace btfc::fs {
namespace {

constexpr std::chrono::milliseconds kNamesWait{1000};
constexpr std::chrono::milliseconds kWithdrawWait{10000};
constexpr std::size_t kUnusedAtOnce = 64;

}  // namespace

Collector::Collector(index::Catalogue& catalogue, ObjectStore& store, ObjectTable& objects,
                     ContentSource& source, std::chrono::milliseconds interval)
    : catalogue_(catalogue),
      store_(store),
      objects_(objects),
      source_(source),
      interval_(interval),
      thread_([this] { Run(); }) {}

Collector::~Collector() { Stop(); }

void Collector::Start() {
  const std::lock_guard lock(mutex_);
  started_ = true;
  changed_.notify_all();
}

void Collector::Stop() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  if (thread_.joinable()) thread_.join();
}

void Collector::LetGo(index::Ino ino) {
  const std::lock_guard lock(mutex_);
  names_[ino] = next_++;
  if (names_.size() == 1) changed_.notify_all();
}

bool Collector::Forget(index::Ino ino) {
  const std::lock_guard lock(mutex_);
  return names_.erase(ino) > 0;
}

bool Collector::Waits(index::Ino ino) const {
  const std::lock_guard lock(mutex_);
  return names_.contains(ino);
}

void Collector::Run() {
  using Clock = std::chrono::steady_clock;
  auto next_collection = Clock::time_point::max();
  std::unique_lock lock(mutex_);
  while (!stopping_) {
    if (started_ && next_collection == Clock::time_point::max()) {
      next_collection = Clock::now() + interval_;
    }
    if (!names_.empty()) {
      changed_.wait_for(lock, kNamesWait, [this] { return stopping_; });
      if (stopping_) break;
      lock.unlock();
      LetNamesGo();
      lock.lock();
    } else if (Clock::now() >= next_collection) {
      lock.unlock();
      CollectObjects();
      lock.lock();
      next_collection = Clock::now() + interval_;
    } else if (next_collection == Clock::time_point::max()) {
      changed_.wait(lock, [this] { return stopping_ || started_ || !names_.empty(); });
    } else {
      changed_.wait_until(lock, next_collection, [this] { return stopping_ || !names_.empty(); });
    }
  }
  lock.unlock();
  LetNamesGo();
}

void Collector::LetNamesGo() {
  std::unordered_map<index::Ino, std::uint64_t> names;
  {
    const std::lock_guard lock(mutex_);
    names = names_;
  }
  if (names.empty()) return;
  for (auto name = names.begin(); name != names.end();) {
    const auto fd = OpenFile(store_.WorkPath(name->first), O_RDONLY);
    const bool safe = fd ? ::fdatasync(fd.value().get()) == 0 : fd.error() == Errno(ENOENT);
    name = safe ? std::next(name) : names.erase(name);
  }
  if (const auto synced = catalogue_.Sync(); !synced) {
    spdlog::error("the index cannot be written to the disk: {}", synced.error().message());
    return;
  }
  for (const auto& [ino, since] : names) {
    const std::lock_guard lock(mutex_);
    const auto found = names_.find(ino);
    if (found == names_.end() || found->second != since) continue;  // in use again
    ::unlink(store_.WorkPath(ino).c_str());
    names_.erase(found);
  }
}

void Collector::CollectObjects() {
  for (;;) {
    const auto unused = catalogue_.Unused(kUnusedAtOnce);
    if (!unused) return;
    std::size_t collected = 0;
    for (const auto& id : unused.value()) {
      {
        const std::lock_guard lock(mutex_);
        if (stopping_) return;
      }
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
    const std::lock_guard lock(objects_.NameLock(id));
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
