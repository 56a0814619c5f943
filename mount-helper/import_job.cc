#include "mount-helper/import_job.h"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <fstream>
#include <utility>

#include "fs/import.h"
#include "mount-helper/status.h"

namespace btfc::mount_helper {
namespace {

// How long a first import waits for a peer to show up, and for its first delta: two hosts with the
// same files are to end with one of each.
constexpr auto kPeerPatience = std::chrono::seconds(3);
constexpr auto kDeltaPatience = std::chrono::minutes(5);
constexpr auto kLook = std::chrono::milliseconds(50);
constexpr auto kProgressEvery = std::chrono::seconds(1);

std::filesystem::path PendingFile(const std::filesystem::path& cache) {
  return cache / "import.pending";
}

bool IsEmpty(int folder) {
  const int copy = openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  DIR* entries = copy < 0 ? nullptr : fdopendir(copy);
  if (entries == nullptr) return true;
  bool empty = true;
  while (const dirent* entry = readdir(entries)) {
    const std::string_view name = entry->d_name;
    if (name != "." && name != "..") empty = false;
  }
  closedir(entries);
  return empty;
}

}  // namespace

void ImportJob::NotePending(const std::filesystem::path& cache) {
  std::ofstream(PendingFile(cache)).flush();
}

ImportJob::ImportJob(const MountRequest& request, fs::Fd below, index::Catalogue& catalogue,
                     fs::ObjectStore& store, const torrent::Swarm& swarm, Changed changed)
    : request_(request),
      below_(std::move(below)),
      catalogue_(catalogue),
      store_(store),
      swarm_(swarm),
      changed_(std::move(changed)) {}

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
  const auto pending_file = PendingFile(request_.cache);
  const bool pending = std::filesystem::exists(pending_file, error);
  if (IsEmpty(below_.get()) || (pending && request_.import == ImportMode::kNone)) {
    std::filesystem::remove(pending_file, error);
    ready();
    return;
  }
  if (!pending) {
    ready();
    spdlog::info("the folder below the mount holds files; `btfc import` takes in what is new");
    Describe("files lie below the mount; `btfc import` takes in what is new");
    return;
  }
  const bool watched = isatty(STDOUT_FILENO) == 1;
  if (!watched) {
    say("importing the files of the mount point in the background; `btfc status` shows progress");
    ready();
  }
  Launch([this, watched, say = std::move(say), ready = std::move(ready)] {
    ImportAll(watched ? say : [](const std::string&) {});
    if (watched) ready();
  });
}

Result<void> ImportJob::Again() {
  {
    const std::lock_guard lock(mutex_);
    if (running_ || cancelled_) return Errno(EBUSY);
  }
  Launch([this] { ImportAll([](const std::string&) {}); });
  return Ok();
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

void ImportJob::ImportAll(const std::function<void(const std::string&)>& say) {
  Describe("waiting for other hosts' files");
  WaitForPeers();
  auto last = std::chrono::steady_clock::time_point();
  const auto progress = [&](const fs::ImportProgress& so_far) {
    const auto text = fmt::format("{} files, {} taken in", so_far.files, HumanBytes(so_far.bytes));
    Describe("running: " + text);
    const auto now = std::chrono::steady_clock::now();
    if (now - last < kProgressEvery) return;
    last = now;
    say("importing: " + text);
  };
  fs::ImportOptions options;
  options.mode =
      request_.import == ImportMode::kLink ? fs::ImportMode::kLink : fs::ImportMode::kCopy;
  const auto imported = fs::Import(
      below_.get(), catalogue_, store_, options, progress, [this] { return Cancelled(); },
      changed_);
  if (!imported) {
    const auto text = fmt::format("the import stopped: {} (it goes on with `btfc import`)",
                                  imported.error().message());
    Describe(text);
    if (!Cancelled()) spdlog::error("{}", text);
    say(text);
    return;
  }
  std::error_code error;
  std::filesystem::remove(PendingFile(request_.cache), error);
  const auto text =
      fmt::format("done: {} files, {}", imported.value().files, HumanBytes(imported.value().bytes));
  Describe(text);
  spdlog::info("import {}", text);
  say("import " + text);
}

}  // namespace btfc::mount_helper
