#include "fs/scrub.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <spdlog/spdlog.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "fs/fd.h"
#include "index/merkle.h"

namespace btfc::fs {
namespace {

constexpr std::size_t kIdsAtOnce = 256;
constexpr std::size_t kPathsShown = 3;
constexpr std::uint64_t kPaceStep = std::uint64_t{4} << 20U;  // bytes between looks at the clock

std::int64_t NowNs() {
  timespec now{};
  ::clock_gettime(CLOCK_REALTIME, &now);
  return ToNs(now);
}

bool SameState(const struct stat& one, const struct stat& other) {
  return one.st_ino == other.st_ino && one.st_size == other.st_size &&
         ToNs(one.st_mtim) == ToNs(other.st_mtim);
}

}  // namespace

Scrub::Scrub(index::Catalogue& catalogue, ObjectStore& store, ContentSource& source,
             const ScrubOptions& options, std::function<void(const index::ContentId&)> lost)
    : catalogue_(catalogue),
      store_(store),
      source_(source),
      options_(options),
      lost_(std::move(lost)),
      thread_([this] { Run(); }) {}

Scrub::~Scrub() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

void Scrub::Verify() {
  const std::lock_guard lock(mutex_);
  fast_ = true;
  if (!report_.running) asked_ = true;
  changed_.notify_all();
}

ScrubReport Scrub::Report() const {
  const std::lock_guard lock(mutex_);
  ScrubReport report = report_;
  report.running = report.running || asked_;
  return report;
}

std::vector<LostContent> Scrub::Lost() {
  std::vector<LostContent> lost;
  {
    const std::lock_guard lock(mutex_);
    for (const auto& [id, paths] : gone_) lost.push_back({id, paths});
  }
  const auto is_back = [this](const LostContent& content) {
    const auto present = catalogue_.IsPresent(content.id);
    if (!present || !present.value()) return false;
    const std::lock_guard lock(mutex_);
    gone_.erase(content.id);
    return true;
  };
  lost.erase(std::remove_if(lost.begin(), lost.end(), is_back), lost.end());
  return lost;
}

bool Scrub::Stopping() const {
  const std::lock_guard lock(mutex_);
  return stopping_;
}

void Scrub::Run() {
  auto next = std::chrono::steady_clock::now() + options_.first_pass;
  std::unique_lock lock(mutex_);
  while (!stopping_) {
    changed_.wait_until(lock, next, [this] { return stopping_ || asked_; });
    if (stopping_) return;
    if (!asked_ && std::chrono::steady_clock::now() < next) continue;
    fast_ = asked_;
    asked_ = false;
    const auto ended = report_.ended_ns;
    report_ = ScrubReport{};
    report_.ended_ns = ended;
    report_.running = true;
    lock.unlock();
    Pass();
    lock.lock();
    report_.running = false;
    if (!stopping_) report_.ended_ns = NowNs();
    next = std::chrono::steady_clock::now() + options_.between;
  }
}

void Scrub::Pass() {
  std::optional<index::ContentId> after;
  while (!Stopping()) {
    const auto page = catalogue_.Present(after, kIdsAtOnce);
    if (!page) {
      spdlog::error("the index does not say which objects are here: {}", page.error().message());
      return;
    }
    if (page.value().empty()) break;
    for (const auto& id : page.value()) {
      if (Stopping()) return;
      CheckOne(id);
    }
    after = page.value().back();
  }
  RemoveStrays();
}

void Scrub::CheckOne(const index::ContentId& id) {
  auto verdict = Look(id);
  // A file that is taken for writing, or comes back from there, looks damaged for a moment.
  if (verdict == Verdict::kDamaged) verdict = Look(id);
  if (verdict == Verdict::kLeft) return;
  if (verdict != Verdict::kGood) TakeOut(id, verdict);
  const std::lock_guard lock(mutex_);
  ++report_.objects;
  report_.bytes += id.size;
}

Scrub::Verdict Scrub::Look(const index::ContentId& id) {
  const auto path = store_.ObjectPath(id);
  const auto fd = OpenFile(path, O_RDONLY);
  if (!fd) return fd.error() == Errno(ENOENT) ? Verdict::kMissing : Verdict::kUnreadable;
  const auto before = StatOf(fd.value().get());
  if (!before) return Verdict::kUnreadable;
  // What the memory has of it says nothing about the disk.
  ::posix_fadvise(fd.value().get(), 0, 0, POSIX_FADV_DONTNEED);
  const auto hashed = index::HashFile(
      fd.value().get(), [this] { return !WaitForPace(kPaceStep); }, 1);
  ::posix_fadvise(fd.value().get(), 0, 0, POSIX_FADV_DONTNEED);
  if (!hashed && hashed.error() == Error::kCancelled) return Verdict::kLeft;
  if (hashed && hashed.value().id == id) return Verdict::kGood;
  struct stat now {};
  if (::lstat(path.c_str(), &now) != 0 || !SameState(before.value(), now)) return Verdict::kLeft;
  return hashed ? Verdict::kDamaged : Verdict::kUnreadable;
}

// The catalogue learns that the bytes are not here, and the swarm is asked for them. What can be
// read of a damaged file stays as a part of the fetch: only its bad pieces have to come.
void Scrub::TakeOut(const index::ContentId& id, Verdict verdict) {
  const auto path = store_.ObjectPath(id);
  source_.Withdraw(id, [] {});
  {
    const std::lock_guard lock(store_.NameLock(id));
    const auto present = catalogue_.IsPresent(id);
    if (!present || !present.value()) return;  // it was taken for writing meanwhile
    struct stat now {};
    if (verdict == Verdict::kMissing && ::lstat(path.c_str(), &now) == 0) return;
    if (!catalogue_.SetPresent(id, false)) return;
    if (verdict == Verdict::kDamaged && store_.Demote(id)) {
      spdlog::debug("the good parts of {} are kept", path.string());
    } else if (verdict != Verdict::kMissing) {
      // Its name is needed for the bytes that come.
      const auto aside = store_.lost_folder() / path.filename();
      if (::rename(path.c_str(), aside.c_str()) != 0) ::unlink(path.c_str());
    }
  }
  auto paths = PathsOf(id);
  const char* what = verdict == Verdict::kMissing   ? "is missing"
                     : verdict == Verdict::kDamaged ? "is damaged"
                                                    : "cannot be read";
  if (paths.empty()) {
    spdlog::warn("the object {} {}; no file needs it now", index::ToHex(id), what);
  } else {
    spdlog::error("the content of {} {} here; it is fetched from other hosts",
                  fmt::join(paths, ", "), what);
  }
  {
    const std::lock_guard lock(mutex_);
    if (verdict == Verdict::kMissing) ++report_.missing;
    if (verdict == Verdict::kDamaged) ++report_.damaged;
    if (verdict == Verdict::kUnreadable) ++report_.unreadable;
    if (!paths.empty()) gone_[id] = std::move(paths);
  }
  lost_(id);
}

// Files in the store that the catalogue knows nothing of: a crash left them before their row.
void Scrub::RemoveStrays() {
  if (options_.keep_strays && options_.keep_strays()) return;
  std::error_code error;
  std::filesystem::recursive_directory_iterator entry(store_.objects_folder(), error);
  for (const std::filesystem::recursive_directory_iterator end; !error && entry != end;
       entry.increment(error)) {
    if (Stopping()) return;
    LookAtStray(entry->path());
  }
}

void Scrub::LookAtStray(const std::filesystem::path& file) {
  const auto id = index::ParseContentName(file.filename().string());
  struct stat st {};
  if (!id || ::lstat(file.c_str(), &st) != 0) return;
  if (NowNs() / 1'000'000'000 - st.st_ctim.tv_sec < options_.stray_age.count()) return;
  const std::lock_guard lock(store_.NameLock(*id));
  const auto present = catalogue_.IsPresent(*id);
  const auto users = catalogue_.Users(*id, std::nullopt);
  if (!present || present.value() || !users || users.value() > 0) return;
  if (!store_.Remove(*id)) return;
  const std::lock_guard report(mutex_);
  ++report_.strays;
}

// False if the scrub is to end.
bool Scrub::WaitForPace(std::uint64_t bytes) {
  std::unique_lock lock(mutex_);
  if (stopping_ || fast_ || options_.bytes_per_second == 0) return !stopping_;
  const std::chrono::duration<double> pause(static_cast<double>(bytes) /
                                            static_cast<double>(options_.bytes_per_second));
  changed_.wait_for(lock, pause, [this] { return stopping_ || fast_; });
  return !stopping_;
}

std::vector<std::string> Scrub::PathsOf(const index::ContentId& id) {
  std::vector<std::string> paths;
  const auto files = catalogue_.FilesOf(id, kPathsShown);
  if (!files) return paths;
  for (const auto ino : files.value()) {
    if (const auto path = catalogue_.PathOf(ino)) paths.push_back(path.value());
  }
  return paths;
}

}  // namespace btfc::fs
