#include "mount-helper/import_job.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <fstream>
#include <utility>

#include "fs/import_source.h"
#include "mount-helper/hints.h"
#include "mount-helper/rebuild.h"
#include "mount-helper/status.h"

namespace btfc::mount_helper {
namespace {

// How long a first import waits for a peer to show up, and for its first delta: two hosts with the
// same files are to end with one of each.
constexpr auto kPeerPatience = std::chrono::seconds(3);
constexpr auto kDeltaPatience = std::chrono::minutes(5);
constexpr auto kLook = std::chrono::milliseconds(50);
constexpr std::size_t kFailedShown = 200;  // bytes of the names of what was not taken in
constexpr auto kProgressEvery = std::chrono::seconds(1);

std::filesystem::path PendingFile(const std::filesystem::path& cache) {
  return cache / "import.pending";
}

// "3 new files lie below the mount (a, b, c): `btfc import` takes them in"
std::string Tell(const ImportRecord::News& news) {
  std::string names;
  for (const auto& name : news.examples) names += (names.empty() ? "" : ", ") + OneLine(name);
  if (news.count > news.examples.size()) names += ", ...";
  return fmt::format(
      "{} below the mount ({}): `btfc import` takes {} in",
      news.count == 1 ? "1 new file lies" : fmt::format("{} new files lie", news.count), names,
      news.count == 1 ? "it" : "them");
}

// "; 2 could not be taken in: a/b (Permission denied), ... (the log names all); ..."
std::string TellFailed(const fs::ImportProgress& progress) {
  std::string names;
  for (const auto& failure : progress.failures) {
    if (names.size() > kFailedShown) {
      names += ", ... (the log names all)";
      break;
    }
    names += fmt::format("{}{} ({})", names.empty() ? "" : ", ", OneLine(failure.path),
                         failure.why.message());
  }
  return fmt::format("; {} could not be taken in: {}; `btfc import` tries again", progress.failed,
                     names);
}

}  // namespace

void ImportJob::NotePending(const std::filesystem::path& cache) {
  std::ofstream(PendingFile(cache)).flush();
}

ImportJob::ImportJob(const MountRequest& request, fs::Fd below, index::Catalogue& catalogue,
                     fs::ObjectStore& store, const torrent::Swarm& swarm, fs::Mount& mount)
    : request_(request),
      below_(std::move(below)),
      catalogue_(catalogue),
      store_(store),
      swarm_(swarm),
      mount_(mount) {}

ImportJob::~ImportJob() {
  {
    const std::lock_guard lock(mutex_);
    cancelled_ = true;
  }
  cancel_.notify_all();
  if (thread_.joinable()) thread_.join();
}

void ImportJob::Start(std::function<void(const std::string&)> say, std::function<void()> ready) {
  std::error_code error;
  if (request_.read_only) {  // what it took in would be seen here alone
    ready();
    return;
  }
  if (RebuildPending(request_.cache)) {
    ready();
    Launch([this] { TakeUp(); });
    return;
  }
  if (!std::filesystem::exists(PendingFile(request_.cache), error)) {
    ready();
    Launch([this] { LookForNews(); });
    return;
  }
  if (request_.import == ImportMode::kNone) {
    ready();
    Launch([this] { LeaveAll(); });
    return;
  }
  const auto names = fs::NamesIn(below_.get());
  const bool empty = names && names.value().empty();
  const bool watched = !empty && isatty(STDOUT_FILENO) == 1;
  if (!watched) {
    if (!empty) {
      say("importing the files of the mount point in the background; `btfc status` shows progress");
    }
    ready();
  }
  if (empty) {
    std::filesystem::remove(PendingFile(request_.cache), error);
    return;
  }
  Launch([this, watched, say = std::move(say), ready = std::move(ready)] {
    ImportNew(watched ? say : [](const std::string&) {});
    if (watched) ready();
  });
}

Result<void> ImportJob::Again() {
  if (request_.read_only) return Errno(EROFS);
  {
    const std::lock_guard lock(mutex_);
    if (running_ || cancelled_) return Errno(EBUSY);
  }
  Launch([this] { ImportNew([](const std::string&) {}); });
  return Ok();
}

// After `btfc rebuild`. What lies below the mount was dealt with before the index was damaged.
void ImportJob::TakeUp() {
  Describe("rebuild: waiting for another host, which has the index");
  if (!RebuildAlone(request_.cache)) WaitForIndex();
  if (Cancelled()) return;
  Describe("rebuild: taking up what only this host had");
  const auto rescued = TakeUpRebuild(
      request_.cache, catalogue_, store_, Options(), [this] { return Cancelled(); },
      [this](const auto& changes) { mount_.Changed(changes); });
  // Who reads "done" finds the files, also where the kernel remembers that there were none.
  mount_.WaitTold();
  if (!rescued) {
    const auto text = fmt::format("rebuild stopped: {} (it goes on at the next mount)",
                                  rescued.error().message());
    Describe(text);
    if (!Cancelled()) spdlog::error("{}", text);
    return;
  }
  const auto& [files, lost, removed] = rescued.value();
  auto text = fmt::format("rebuild done: {} files that only this host had", files);
  if (lost > 0) text += fmt::format(", {} more could not be read (the log names them)", lost);
  if (removed > 0)
    text += fmt::format(", {} that had been deleted here are deleted again", removed);
  Describe(text);
  spdlog::info("{}", text);
  std::error_code error;
  std::filesystem::remove(PendingFile(request_.cache), error);
}

// What was put below the mount while nothing was mounted is never taken in unasked.
void ImportJob::LookForNews() {
  const ImportRecord record(request_.cache);
  const auto news =
      record.Compare(below_.get(), ImportRecord::How::kLeft, [this] { return Cancelled(); });
  if (!news || news.value().count == 0) return;
  const auto text = Tell(news.value());
  spdlog::info("{}", text);
  Describe(text);
}

// import=none.
void ImportJob::LeaveAll() {
  ImportRecord record(request_.cache);
  const auto noted =
      record.AddAll(ImportRecord::How::kLeft, below_.get(), [this] { return Cancelled(); });
  if (!noted) {
    if (!Cancelled())
      spdlog::error("cannot note what lies below the mount: {}", noted.error().message());
    return;
  }
  std::error_code error;
  std::filesystem::remove(PendingFile(request_.cache), error);
}

std::string ImportJob::Describe() const {
  const std::lock_guard lock(mutex_);
  return description_;
}

void ImportJob::Describe(std::string text) {
  const std::lock_guard lock(mutex_);
  description_ = std::move(text);
}

void ImportJob::Launch(std::function<void()> work) {
  if (thread_.joinable()) thread_.join();
  const std::lock_guard lock(mutex_);
  running_ = true;
  thread_ = std::thread([this, work = std::move(work)] {
    work();
    const std::lock_guard done(mutex_);
    running_ = false;
  });
}

bool ImportJob::Cancelled() {
  const std::lock_guard lock(mutex_);
  return cancelled_;
}

// However long it takes: until then nobody knows what only this host had.
void ImportJob::WaitForIndex() {
  std::unique_lock lock(mutex_);
  while (!cancelled_) {
    lock.unlock();
    const auto peers = swarm_.Status().peers;
    const bool synced = std::ranges::any_of(peers, [](const auto& peer) { return peer.in_sync; });
    lock.lock();
    if (synced) return;
    cancel_.wait_for(lock, kLook, [this] { return cancelled_; });
  }
}

// The swarm tells nobody when a peer comes, so this looks.
void ImportJob::WaitForPeers() {
  const auto start = std::chrono::steady_clock::now();
  std::unique_lock lock(mutex_);
  while (!cancelled_) {
    lock.unlock();
    const auto peers = swarm_.Status().peers;
    const bool synced =
        !peers.empty() &&
        std::all_of(peers.begin(), peers.end(), [](const auto& peer) { return peer.in_sync; });
    const auto waited = std::chrono::steady_clock::now() - start;
    lock.lock();
    if (synced || waited > kDeltaPatience || (peers.empty() && waited > kPeerPatience)) return;
    cancel_.wait_for(lock, kLook, [this] { return cancelled_; });
  }
}

void ImportJob::ImportNew(const std::function<void(const std::string&)>& say) {
  Describe("waiting for other hosts' files");
  WaitForPeers();
  ImportRecord record(request_.cache);
  const auto cancelled = [this] { return Cancelled(); };
  const auto news = record.Compare(below_.get(), ImportRecord::How::kTaken, cancelled);
  const auto imported =
      news ? Import(record, news.value(), say) : Result<fs::ImportProgress>(news.error());
  mount_.WaitTold();
  const auto noted = record.Flush();
  if (!noted) spdlog::error("cannot note what was imported: {}", noted.error().message());
  if (!imported) {
    const auto text =
        fmt::format("the import stopped: {}; `btfc import` or the next mount goes on from there",
                    imported.error().message());
    Describe(text);
    if (!Cancelled()) spdlog::error("{}", text);
    say(text);
    return;
  }
  std::error_code error;
  std::filesystem::remove(PendingFile(request_.cache), error);
  const auto& result = imported.value();
  auto text = news.value().count == 0
                  ? std::string("nothing new lies below the mount")
                  : fmt::format("done: {} files, {}", result.files, HumanBytes(result.bytes));
  if (result.failed > 0) text += TellFailed(result);
  {
    const std::lock_guard lock(mutex_);
    failures_ = result.failures;
  }
  Describe(text);
  spdlog::info("import {}", text);
  say("import " + text);
}

std::vector<fs::ImportProgress::Failure> ImportJob::Failures() const {
  const std::lock_guard lock(mutex_);
  return failures_;
}

fs::ImportOptions ImportJob::Options() const {
  fs::ImportOptions options;
  options.owner = request_.numeric_owner ? fs::OwnerPolicy::kNumeric : fs::OwnerPolicy::kMap;
  return options;
}

Result<fs::ImportProgress> ImportJob::Import(ImportRecord& record, const ImportRecord::News& news,
                                             const std::function<void(const std::string&)>& say) {
  auto last = std::chrono::steady_clock::time_point();
  const auto progress = [&](const fs::ImportProgress& so_far) {
    const auto text = fmt::format("{} files, {} taken in", so_far.files, HumanBytes(so_far.bytes));
    Describe("running: " + text);
    const auto now = std::chrono::steady_clock::now();
    if (now - last < kProgressEvery) return;
    last = now;
    say("importing: " + text);
  };
  fs::ImportOptions options = Options();
  options.mode =
      request_.import == ImportMode::kLink ? fs::ImportMode::kLink : fs::ImportMode::kCopy;
  options.leave_out = [&](const std::string& path) { return !news.on_the_way.contains(path); };
  options.taken = [&](const std::string& path, const struct stat& stat) {
    record.Add(ImportRecord::How::kTaken, path, stat);
  };
  return fs::Import(
      below_.get(), catalogue_, store_, options, progress, [this] { return Cancelled(); },
      [this](const auto& changes) { mount_.Changed(changes); });
}

}  // namespace btfc::mount_helper
