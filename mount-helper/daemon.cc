#include "mount-helper/daemon.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <spdlog/sinks/null_sink.h>
#include <spdlog/sinks/rotating_file_sink.h>
#include <spdlog/spdlog.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <nlohmann/json.hpp>
#include <optional>
#include <sstream>

#include "fs/files.h"
#include "fs/mount.h"
#include "fs/mount_point.h"
#include "fs/object_store.h"
#include "fs/scrub.h"
#include "index/catalogue.h"
#include "index/damage.h"
#include "mount-helper/bridge.h"
#include "mount-helper/cache_lock.h"
#include "mount-helper/cluster_files.h"
#include "mount-helper/control.h"
#include "mount-helper/hints.h"
#include "mount-helper/import_job.h"
#include "mount-helper/listening.h"
#include "mount-helper/mounts.h"
#include "mount-helper/rebuild.h"
#include "mount-helper/requests.h"
#include "mount-helper/signals.h"
#include "torrent/swarm.h"

namespace btfc::mount_helper {
namespace {

constexpr auto kCachePatience = std::chrono::seconds(30);
constexpr std::size_t kLogBytesMax = 5 * 1024 * 1024;
constexpr std::size_t kLogFiles = 3;
constexpr std::size_t kMissingPage = 1000;

std::string HostName() {
  std::array<char, 256> name{};
  if (gethostname(name.data(), name.size() - 1) != 0) return "host";
  return name.data();
}

// One life of a mount. Members are in the order in which they are made; what uses another is
// below it.
class Daemon {
 public:
  Daemon(const MountRequest& request, Reporter& reporter)
      : request_(request), reporter_(reporter) {}

  ExitCode Run();

 private:
  // Each step tells the reporter what is wrong and answers false if the mount cannot be.
  bool CheckMountPoint();
  bool TakeCache();
  bool WasLeftBehind(index::Catalogue& catalogue) const;
  bool OpenIndex();
  bool OpenFiles();
  bool MakeMount();
  bool StartSwarm();
  bool StartControl();
  bool Fail(ExitCode code, const std::string& line);

  void StartLog();
  void Changed(const std::vector<index::Change>& changes);
  void Want(const index::ContentId& id);
  void WantMissing();
  bool HasObjects() const;
  void Ready();
  void Shutdown();

  MountRequest request_;  // read_only also if the key is an invitation to read
  Reporter& reporter_;
  ExitCode code_ = kExitOk;
  fs::Fd below_;  // the folder that the mount covers
  std::optional<CacheLock> lock_;
  Membership membership_;
  bool first_mount_ = false;
  bool replaced_dead_ = false;  // a killed daemon's mount was on the mount point
  Listening listening_;
  std::unique_ptr<index::Catalogue> catalogue_;
  std::unique_ptr<fs::ObjectStore> store_;
  std::unique_ptr<Bridge> bridge_;
  std::unique_ptr<fs::Files> files_;
  std::unique_ptr<fs::Mount> mount_;
  std::unique_ptr<torrent::Swarm> swarm_;
  std::unique_ptr<fs::Scrub> scrub_;
  std::unique_ptr<ImportJob> import_;
  std::unique_ptr<ControlServer> control_;
};

bool Daemon::Fail(ExitCode code, const std::string& line) {
  code_ = code;
  if (!request_.foreground && lock_) spdlog::error("{}", line);  // there is a log besides
  reporter_.Fail(code, line);
  return false;
}

bool Daemon::CheckMountPoint() {
  const auto& path = request_.mount_point;
  const auto reach = [&] {
    below_ = fs::Fd(open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    struct statvfs figures {};
    // The kernel opens the root of a dead mount from what it remembers; statfs asks the daemon.
    if (below_ && fstatvfs(below_.get(), &figures) != 0) {
      const int problem = errno;
      below_.Reset();
      errno = problem;
    }
    return static_cast<bool>(below_);
  };
  bool reached = reach();
  const bool dead = !reached && errno == ENOTCONN;
  if (dead) {
    // A daemon that was killed leaves its mount behind.
    const auto detached = fs::DetachDead(path);
    if (detached) {
      replaced_dead_ = true;
      reached = reach();
    } else {
      errno = ToErrno(detached.error());
    }
  }
  if (reached && !IsMounted(path)) return true;
  if (reached) {
    return Fail(kExitFailed, fmt::format("{} is a mounted btfc folder already", path.string()));
  }
  if (errno == ENOENT) {
    return Fail(kExitUsage,
                fmt::format("the mount point {} does not exist (mkdir it first)", path.string()));
  }
  if (errno == ENOTDIR) {
    return Fail(kExitUsage, fmt::format("the mount point {} is not a folder", path.string()));
  }
  if (errno == ENOTCONN) {
    return Fail(kExitFailed, fmt::format("the mount point {0} holds a mount whose daemon has died; "
                                         "`umount -l {0}` removes it",
                                         path.string()));
  }
  if (dead) {
    return Fail(kExitFailed,
                fmt::format("the mount point {0} holds a mount of btfc whose daemon has died, and "
                            "it cannot be removed: {1} (`umount -l {0}` as its owner or root)",
                            path.string(), std::strerror(errno)));
  }
  return Fail(kExitUsage, fmt::format("the mount point {} cannot be opened: {}", path.string(),
                                      std::strerror(errno)));
}

void Daemon::StartLog() {
  spdlog::set_pattern("%Y-%m-%d %H:%M:%S.%e %l %v");
  spdlog::set_level(request_.verbose ? spdlog::level::debug : spdlog::level::info);
  if (request_.foreground) return;
  try {
    auto logger = spdlog::rotating_logger_mt("btfc", (request_.cache / "btfc.log").string(),
                                             kLogBytesMax, kLogFiles);
    logger->flush_on(spdlog::level::info);
    spdlog::set_default_logger(std::move(logger));
  } catch (const spdlog::spdlog_ex& error) {
    reporter_.Say(fmt::format("no log is written: {}", error.what()));
  }
}

bool Daemon::TakeCache() {
  std::string why;
  if (!MakeCacheFolder(request_.cache, &why)) return Fail(kExitFailed, why);
  auto taken = CacheLock::Take(request_.cache, request_.mount_point, kCachePatience);
  if (auto* refused = std::get_if<CacheLock::Refused>(&taken)) {
    return Fail(kExitFailed, refused->message);
  }
  lock_ = std::move(std::get<CacheLock>(taken));
  // An interrupt up to here ends the process; from here on it is an orderly end.
  SignalThread::BlockSignals();
  StartLog();
  if (replaced_dead_) spdlog::warn("the dead mount of an earlier daemon was taken away");
  auto membership = LoadMembership(request_.cache, request_.key, request_.spec, &why);
  if (!membership) return Fail(kExitFailed, why.empty() ? membership.error().message() : why);
  membership_ = std::move(membership.value());
  request_.read_only = request_.read_only || membership_.cluster.invited.has_value();
  return true;
}

// An index that is set aside already is taken up first.
bool Daemon::WasLeftBehind(index::Catalogue& catalogue) const {
  if (RebuildPending(request_.cache)) return false;
  const auto left = catalogue.WasLeftBehind();
  return left && left.value();
}

bool Daemon::OpenIndex() {
  index::CatalogueOptions options;
  options.path = request_.cache / "index.db";
  options.node_key = membership_.node.node_key;
  options.cluster = membership_.cluster.cluster_id;
  options.host_name = HostName();
  options.foreign_privileged_xattrs = request_.numeric_owner;
  if (request_.versions.age_ns == 0) options.kept_versions = 0;
  std::error_code error;
  first_mount_ = !std::filesystem::exists(options.path, error);
  if (first_mount_) ImportJob::NotePending(request_.cache);
  auto catalogue = index::Catalogue::Open(options);
  if (catalogue && WasLeftBehind(*catalogue.value())) {
    catalogue.value().reset();
    const auto aside = PutIndexAside(request_.cache);
    if (!aside) {
      return Fail(kExitFailed, fmt::format("cannot set the index {} aside: {}",
                                           options.path.string(), aside.error().message()));
    }
    // A host that may only read has nothing of its own.
    if (membership_.cluster.invited) std::filesystem::remove_all(request_.cache / "damaged", error);
    reporter_.Say(
        "This host was away for too long: its index comes from the other hosts anew, and what only "
        "it has is added.");
    catalogue = index::Catalogue::Open(options);
  }
  if (catalogue) {
    catalogue_ = std::move(catalogue.value());
    return true;
  }
  const auto& file = options.path.string();
  if (catalogue.error() == make_error_code(Error::kCorrupt)) {
    const bool empty = std::filesystem::file_size(options.path, error) <= 1 && !error;
    return Fail(
        kExitFailed,
        fmt::format("the index {} is {}; nothing was changed. `btfc rebuild --cache {}` and a new "
                    "mount take it from the other hosts, with what only this one had (`btfc "
                    "rebuild --alone ...` if there is no other host)",
                    file, empty ? "empty: what it held is lost" : "damaged",
                    ShellWord(request_.cache.native())));
  }
  if (index::IsSickDisk(catalogue.error())) {
    return Fail(kExitFailed, fmt::format("the disk does not give the index {}: {}; it may be "
                                         "failing. Nothing was changed",
                                         file, catalogue.error().message()));
  }
  if (catalogue.error() == make_error_code(Error::kTooNew)) {
    return Fail(
        kExitFailed,
        fmt::format("the index {} was written by a newer btfc; install that version", file));
  }
  if (catalogue.error() == make_error_code(Error::kOtherCluster)) {
    return Fail(kExitFailed, fmt::format("the cache {} holds the index of another cluster than the "
                                         "key {}; put the right key back, or give another cache=",
                                         request_.cache.string(), membership_.key_file.string()));
  }
  if (catalogue.error() == Errno(EBUSY)) {
    return Fail(kExitFailed, fmt::format("the index {} is open in another program, such as "
                                         "sqlite3; close that and mount again",
                                         file));
  }
  return Fail(kExitFailed,
              fmt::format("cannot open the index {}: {}", file, catalogue.error().message()));
}

bool Daemon::OpenFiles() {
  auto store = fs::ObjectStore::Open(request_.cache);
  if (!store) {
    return Fail(kExitFailed, fmt::format("cannot open the object store in {}: {}",
                                         request_.cache.string(), store.error().message()));
  }
  store_ = std::move(store.value());
  bridge_ = std::make_unique<Bridge>(*catalogue_, *store_);
  fs::FilesOptions options;
  options.read_timeout = request_.read_timeout;
  options.versions = request_.versions;
  options.read_only = request_.read_only;
  auto files = fs::Files::Start(*catalogue_, *store_, *bridge_, options);
  if (!files) return Fail(kExitSystem, "cannot start: " + files.error().message());
  files_ = std::move(files.value());
  const auto recovered = files_->Recover();
  if (!recovered) {
    return Fail(kExitFailed,
                fmt::format("cannot take up what was being written at the last stop: {}",
                            recovered.error().message()));
  }
  return true;
}

bool Daemon::MakeMount() {
  fs::MountOptions options;
  options.mount_point = request_.mount_point;
  options.source = request_.spec;
  options.kernel_options = request_.kernel_options;
  options.read_only = request_.read_only;
  options.allow_other = request_.allow_other;
  options.owner = request_.numeric_owner ? fs::OwnerPolicy::kNumeric : fs::OwnerPolicy::kMap;
  options.cache = request_.cache;
  std::string why;
  auto mount = fs::Mount::Make(options, *catalogue_, *files_, &why);
  if (!mount) return Fail(kExitFailed, why.empty() ? mount.error().message() : why);
  mount_ = std::move(mount.value());
  return true;
}

bool Daemon::StartSwarm() {
  torrent::SwarmOptions options;
  options.cluster = membership_.cluster;
  options.node = membership_.node;
  options.host_name = HostName();
  options.state_dir = request_.cache / "swarm";
  options.listen = request_.listen;
  options.port = request_.port;
  options.peers = request_.peers;
  options.trackers = request_.trackers;
  options.lpd = request_.lpd;
  options.dht = request_.dht;
  options.read_only = request_.read_only;
  options.lazy = request_.lazy;
  std::string why;
  auto swarm = torrent::Swarm::Start(options, *catalogue_, *bridge_, &why);
  if (!swarm) return Fail(kExitFailed, why.empty() ? swarm.error().message() : why);
  swarm_ = std::move(swarm.value());
  bridge_->Connect(swarm_.get(), files_.get());
  catalogue_->OnPublish([this] { listening_.Pass([this] { swarm_->Published(); }); });
  catalogue_->OnChange([this](const auto& changes) { listening_.Pass([&] { Changed(changes); }); });
  WantMissing();
  const auto port = swarm_->Status().port;
  if (port != request_.port) {
    reporter_.Say(fmt::format("port {} is taken; listening on {}", request_.port, port));
  }
  return true;
}

bool Daemon::StartControl() {
  fs::ScrubOptions scrub;
  scrub.keep_strays = [this] { return RebuildPending(request_.cache); };
  scrub_ = std::make_unique<fs::Scrub>(*catalogue_, *store_, *bridge_, scrub,
                                       [this](const index::ContentId& id) {
                                         files_->Lost(id);
                                         if (!request_.lazy) swarm_->Want(id);
                                       });
  import_ = std::make_unique<ImportJob>(request_, std::move(below_), *catalogue_, *store_, *swarm_,
                                        *mount_);
  auto control = ControlServer::Start(request_.cache, [this](const nlohmann::json& asked) {
    return AnswerRequest(asked, request_, *catalogue_, *files_, *swarm_, *import_, *scrub_);
  });
  if (!control) {
    return Fail(kExitFailed, fmt::format("cannot make the control socket in {}: {}",
                                         request_.cache.string(), control.error().message()));
  }
  control_ = std::move(control.value());
  return true;
}

void Daemon::Changed(const std::vector<index::Change>& changes) {
  mount_->Changed(changes);
  if (request_.lazy) return;
  for (const auto& change : changes) {
    if (change.what == index::Change::What::kWanted) Want(change.content);
    // Superseded before it came: its holders have changed it and cannot deliver it any more.
    if (change.what == index::Change::What::kUnwanted) swarm_->Unwant(change.content);
  }
}

// An object whose row comes after it (a new index over an old store) need not be fetched again.
void Daemon::Want(const index::ContentId& id) {
  if (!store_->Has(id)) return swarm_->Want(id);
  {
    const std::lock_guard lock(store_->NameLock(id));
    if (!store_->Has(id) || !catalogue_->SetPresent(id, true)) return swarm_->Want(id);
  }
  files_->Arrived(id);
  swarm_->Available(id);
}

void Daemon::WantMissing() {
  if (request_.lazy) return;
  std::optional<index::ContentId> after;
  while (true) {
    const auto page = catalogue_->Missing(after, kMissingPage);
    if (!page) {
      spdlog::error("the index does not say what is missing: {}", page.error().message());
      return;
    }
    if (page.value().empty()) return;
    for (const auto& id : page.value()) Want(id);
    after = page.value().back();
  }
}

bool Daemon::HasObjects() const {
  std::error_code error;
  std::filesystem::directory_iterator entry(store_->objects_folder(), error);
  return !error && entry != std::filesystem::directory_iterator();
}

void Daemon::Ready() {
  spdlog::info("{} is mounted on {}, port {}, passthrough {}", request_.spec,
               request_.mount_point.string(), swarm_->Status().port,
               mount_->passthrough() ? "on" : "off");
  reporter_.Mounted();
  NoteMounted(request_.cache);
  if (membership_.new_cluster) {
    reporter_.Say("This is a new cluster. To add a host, bring it the key and mount there:");
    std::istringstream lines(
        HowToAddAHost(membership_.key_file, request_.spec, request_.mount_point, HomeFolder()));
    for (std::string line; std::getline(lines, line);) reporter_.Say(line);
  }
  if (first_mount_ && HasObjects()) {
    reporter_.Say(
        "The cache has contents but no index: the names come from the other hosts, and what is "
        "here is not fetched again.");
  }
  import_->Start([this](const std::string& line) { reporter_.Say(line); },
                 [this] {
                   reporter_.Ready();
                   if (!request_.foreground) DetachStandardStreams();
                 });
}

// What calls others ends before them: after Stop neither files nor swarm call the catalogue. What
// it still stores by itself is told to nobody, and the mount can go.
void Daemon::Shutdown() {
  if (mount_) spdlog::info("stopping");
  control_.reset();
  import_.reset();
  scrub_.reset();
  if (files_) files_->Stop();
  if (swarm_) swarm_->Stop();
  listening_.End();
  if (bridge_) bridge_->Disconnect();
  mount_.reset();
  swarm_.reset();
  files_.reset();
}

ExitCode Daemon::Run() {
  if (!CheckMountPoint() || request_.fake) return code_;
  if (TakeCache() && OpenIndex() && OpenFiles() && MakeMount() && StartSwarm() && StartControl()) {
    const SignalThread signals([this] { mount_->Unmount(); });
    mount_->Run([this] { Ready(); });
  }
  Shutdown();
  return code_;
}

}  // namespace

ExitCode RunDaemon(const MountRequest& request, Reporter& reporter) {
  // There is no log yet, and a terminal gets the reporter's lines only.
  if (!request.foreground) {
    spdlog::set_default_logger(
        std::make_shared<spdlog::logger>("", std::make_shared<spdlog::sinks::null_sink_mt>()));
  }
  return Daemon(request, reporter).Run();
}

}  // namespace btfc::mount_helper
