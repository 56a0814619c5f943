#include "mount-helper/rebuild.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <spdlog/spdlog.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <span>
#include <unordered_set>
#include <utility>

#include "fs/clone.h"
#include "index/salvage.h"
#include "index/summaries.h"
#include "mount-helper/cache_lock.h"

namespace btfc::mount_helper {
namespace {

namespace sfs = std::filesystem;

// So long others that write wait.
constexpr std::size_t kRemovalsAtOnce = 256;

sfs::path Aside(const sfs::path& cache) { return cache / "damaged"; }
sfs::path AloneMark(const sfs::path& cache) { return Aside(cache) / "alone"; }
// The index is set aside, whole: written last, so that an interrupted call is seen and goes on.
sfs::path ReadyMark(const sfs::path& cache) { return Aside(cache) / "ready"; }

Result<void> Touch(const sfs::path& file) {
  const fs::Fd made(open(file.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
  return made ? Ok() : Result<void>(Errno(errno));
}

Result<void> Move(const sfs::path& from, const sfs::path& to) {
  if (rename(from.c_str(), to.c_str()) == 0 || errno == ENOENT) return Ok();
  return Errno(errno);
}

Result<void> MoveAll(const sfs::path& cache, bool alone) {
  std::error_code error;
  sfs::create_directories(Aside(cache) / "work", error);
  if (error) return error;
  for (sfs::directory_iterator entry(cache / "work", error), end; !error && entry != end;
       entry.increment(error)) {
    BOOST_OUTCOME_TRYV(Move(entry->path(), Aside(cache) / "work" / entry->path().filename()));
  }
  if (error && error != std::errc::no_such_file_or_directory) return error;
  // The database last: while it is there a mount refuses, and this can be called again.
  for (const auto* name :
       {"index.db.ops", "index.db-reserve", "index.db-shm", "index.db-wal", "index.db"}) {
    BOOST_OUTCOME_TRYV(Move(cache / name, Aside(cache) / name));
  }
  if (alone) {
    BOOST_OUTCOME_TRYV(Touch(AloneMark(cache)));
  }
  return Touch(ReadyMark(cache));
}

// Gathers in the folder rescued/ what is to be imported.
class Gatherer {
 public:
  Gatherer(const sfs::path& cache, const index::Summary& known, const fs::ObjectStore& store)
      : aside_(Aside(cache)), rescued_(cache / "rescued"), known_(known), store_(store) {}

  const sfs::path& folder() const { return rescued_; }
  const Rescued& rescued() const { return rescued_counts_; }
  bool Took(index::Ino ino) const { return taken_.contains(ino); }

  void Take(const index::SalvagedFile& file) {
    // What was being written here is newer than any version.
    const auto work = aside_ / "work" / std::to_string(file.ino);
    struct stat stat {};
    // With a second name it is a committed object.
    if (file.kind == index::Kind::kFile && lstat(work.c_str(), &stat) == 0 && stat.st_nlink == 1) {
      if (!MakeParents(file.path)) return Lost(file, "its folder");
      // A name of its own: when the import is done, the folder damaged/ is put away whole.
      if (link(work.c_str(), (rescued_ / file.path).c_str()) != 0 && errno != EEXIST) {
        return Lost(file, "its working file");
      }
      chmod((rescued_ / file.path).c_str(), file.mode);
      return Taken(file);
    }
    const bool committed = file.kind == index::Kind::kSymlink || file.id != index::ContentId{};
    if (!committed || (file.dot && index::Covers(known_, *file.dot))) return;
    if (!file.readable) return Lost(file, "its bytes are damaged");
    if (!MakeParents(file.path)) return Lost(file, "its folder");
    const auto written = file.kind == index::Kind::kSymlink ? MakeLink(file) : Write(file);
    if (!written) {
      unlink((rescued_ / file.path).c_str());  // a part of a file is none
      return Lost(file, written.error().message());
    }
    Taken(file);
  }

 private:
  bool MakeParents(const std::string& path) const {
    std::error_code error;
    sfs::create_directories((rescued_ / path).parent_path(), error);
    return !error;
  }
  Result<void> MakeLink(const index::SalvagedFile& file) const {
    if (symlink(file.target.c_str(), (rescued_ / file.path).c_str()) == 0 || errno == EEXIST) {
      return Ok();
    }
    return Errno(errno);
  }
  Result<void> Write(const index::SalvagedFile& file) const {
    const auto path = rescued_ / file.path;
    const fs::Fd to(open(path.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600));
    if (!to) return Errno(errno);
    if (file.id.size <= index::kInlineMax) {
      BOOST_OUTCOME_TRYV(fs::WriteAll(to.get(), 0, file.inline_bytes));
    } else {
      const fs::Fd from(open(store_.ObjectPath(file.id).c_str(), O_RDONLY | O_CLOEXEC));
      if (!from) return Errno(errno);
      BOOST_OUTCOME_TRYV(fs::CloneFile(from.get(), to.get(), file.id.size));
    }
    const timespec time{file.mtime_ns / 1'000'000'000, file.mtime_ns % 1'000'000'000};
    const timespec times[2] = {time, time};
    if (futimens(to.get(), times) != 0 || fchmod(to.get(), file.mode) != 0) return Errno(errno);
    return Ok();
  }
  void Taken(const index::SalvagedFile& file) {
    taken_.insert(file.ino);
    ++rescued_counts_.files;
  }
  void Lost(const index::SalvagedFile& file, const std::string& why) {
    ++rescued_counts_.lost;
    spdlog::error("rebuild: /{} cannot be taken over from the damaged index: {}", file.path, why);
  }

  const sfs::path aside_, rescued_;
  const index::Summary& known_;
  const fs::ObjectStore& store_;
  Rescued rescued_counts_;
  std::unordered_set<index::Ino> taken_;
};

// Working files whose names could not be read.
void TakeNameless(const sfs::path& cache, const sfs::path& rescued) {
  std::error_code error;
  for (sfs::directory_iterator entry(Aside(cache) / "work", error), end; !error && entry != end;
       entry.increment(error)) {
    struct stat stat {};
    if (lstat(entry->path().c_str(), &stat) != 0 || !S_ISREG(stat.st_mode)) continue;
    const auto name = entry->path().filename().string();
    // A second name: it was taken, or it is a committed object's.
    if (stat.st_nlink > 1 || name.find_first_not_of("0123456789") != std::string::npos) continue;
    std::error_code ignored;
    sfs::create_directories(rescued / index::kLostFolder, ignored);
    const auto to = rescued / index::kLostFolder / ("file " + name);
    if (link(entry->path().c_str(), to.c_str()) != 0) continue;
    spdlog::warn("rebuild: a file without a name is in \"{}\"", index::kLostFolder);
  }
}

// Objects that no row speaks of, as links in `rescued`: with an index that is lost whole, and no
// other host, they are all that there is. How many.
Result<std::uint64_t> TakeObjectsWithoutRows(const sfs::path& rescued, index::Catalogue& catalogue,
                                             const fs::ObjectStore& store) {
  const auto folder = rescued / index::kLostFolder;
  std::error_code error;
  sfs::create_directories(folder, error);
  if (error) return error;
  std::uint64_t count = 0;
  sfs::recursive_directory_iterator entry(store.objects_folder(), error);
  for (const sfs::recursive_directory_iterator end; !error && entry != end;
       entry.increment(error)) {
    const auto id = index::ParseContentName(entry->path().filename().native());
    if (!id) continue;
    BTFC_TRY(users, catalogue.Users(*id, std::nullopt));
    if (users > 0) continue;
    const auto to = folder / ("content " + index::ToHex(*id).substr(0, 12));
    if (link(entry->path().c_str(), to.c_str()) != 0 && errno != EEXIST) return Errno(errno);
    ++count;
  }
  if (error) return error;
  return count;
}

// What was deleted on this host, or told to it, while the others went on without it. How many.
Result<std::uint64_t> RemoveAgain(const sfs::path& cache, index::Catalogue& catalogue,
                                  const index::Summary& known, const Gatherer& gatherer,
                                  const std::function<bool()>& cancelled) {
  const auto removals = index::SalvageRemovals(
      Aside(cache) / "index.db", known, [&gatherer](index::Ino ino) { return gatherer.Took(ino); });
  if (!removals) {
    spdlog::warn("rebuild: what was deleted on this host alone is there again: {}",
                 removals.error().message());
    return std::uint64_t{0};
  }
  std::uint64_t count = 0;
  std::span<const index::SalvagedRemoval> rest = removals.value();
  while (!rest.empty()) {
    if (cancelled()) return Error::kCancelled;
    const auto some = rest.first(std::min(rest.size(), kRemovalsAtOnce));
    index::Catalogue::Batch batch(catalogue);
    for (const auto& removal : some) {
      BTFC_TRY(removed, catalogue.RemoveAgain(removal));
      if (removed) ++count;
    }
    BOOST_OUTCOME_TRYV(batch.Finish());
    rest = rest.subspan(some.size());
  }
  BOOST_OUTCOME_TRYV(catalogue.Sync());  // before the index that says so is put away
  return count;
}

// `folder` is new and empty afterwards.
Result<void> MakeAnew(const sfs::path& folder) {
  std::error_code error;
  sfs::remove_all(folder, error);  // of an interrupted try
  sfs::create_directory(folder, error);
  if (error) return error;
  return Ok();
}

}  // namespace

Result<void> SetIndexAside(const sfs::path& cache, bool alone, std::string* why) {
  std::error_code error;
  if (!sfs::exists(cache / "cluster.key", error) && !sfs::exists(cache / "index.db", error)) {
    *why = fmt::format("{} is no cache folder of btfc", cache.string());
    return Errno(ENOENT);
  }
  auto lock = CacheLock::Take(cache, "", std::chrono::milliseconds(0));
  if (auto* refused = std::get_if<CacheLock::Refused>(&lock)) {
    *why = refused->message + "; umount it first";
    return Errno(EBUSY);
  }
  if (RebuildPending(cache)) {
    *why = fmt::format(
        "{} was set aside already and is taken up by the next mount, once another "
        "host is connected",
        (cache / "damaged").string());
    return Errno(EEXIST);
  }
  if (!sfs::exists(cache / "index.db", error)) {
    *why = fmt::format("there is no index in {}: mount, and it comes from the other hosts",
                       cache.string());
    return Errno(ENOENT);
  }
  const auto moved = MoveAll(cache, alone);
  if (!moved) {
    *why = fmt::format("cannot set {} aside: {}", (cache / "index.db").string(),
                       moved.error().message());
  }
  return moved;
}

Result<void> PutIndexAside(const sfs::path& cache) { return MoveAll(cache, false); }

bool RebuildPending(const sfs::path& cache) {
  std::error_code error;
  return sfs::exists(ReadyMark(cache), error);
}

bool RebuildAlone(const sfs::path& cache) {
  std::error_code error;
  return sfs::exists(AloneMark(cache), error);
}

Result<Rescued> TakeUpRebuild(
    const sfs::path& cache, index::Catalogue& catalogue, fs::ObjectStore& store,
    const fs::ImportOptions& options, const std::function<bool()>& cancelled,
    const std::function<void(const std::vector<index::Change>&)>& changed) {
  const auto known = catalogue.Known();
  Gatherer gatherer(cache, known, store);
  const auto take_in = [&](const fs::ImportOptions& how) -> Result<fs::ImportProgress> {
    const fs::Fd folder(
        open(gatherer.folder().c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (!folder) return Errno(errno);
    BTFC_TRY(imported, fs::Import(
                           folder.get(), catalogue, store, how, [](const fs::ImportProgress&) {},
                           cancelled, changed));
    if (imported.failed > 0) return imported.failures.front().why;  // it stays where it is
    return imported;
  };
  BOOST_OUTCOME_TRYV(MakeAnew(gatherer.folder()));
  const auto read = index::Salvage(Aside(cache) / "index.db", [&](const auto& file) {
    if (!cancelled()) gatherer.Take(file);
  });
  if (cancelled()) return Error::kCancelled;
  if (!read) {
    spdlog::error("rebuild: nothing can be read of {}: {}", (Aside(cache) / "index.db").string(),
                  read.error().message());
  }
  TakeNameless(cache, gatherer.folder());
  auto rescued = gatherer.rescued();
  // Before the import: a file that was saved under the name of another one finds it free. If that
  // file cannot be read any more, the other one is better than nothing.
  if (read && rescued.lost == 0) {
    BOOST_OUTCOME_TRYA(removed, RemoveAgain(cache, catalogue, known, gatherer, cancelled));
    rescued.removed = removed;
  }
  BOOST_OUTCOME_TRYV(take_in(options));
  if (!read && RebuildAlone(cache)) {
    BOOST_OUTCOME_TRYV(MakeAnew(gatherer.folder()));
    BTFC_TRY(nameless, TakeObjectsWithoutRows(gatherer.folder(), catalogue, store));
    auto how = options;
    how.mode = fs::ImportMode::kLink;  // they are in the store already
    BOOST_OUTCOME_TRYV(take_in(how));
    rescued.files += nameless;
  }
  std::error_code error;
  sfs::remove_all(gatherer.folder(), error);
  sfs::remove_all(cache / "damaged.done", error);
  BOOST_OUTCOME_TRYV(Move(Aside(cache), cache / "damaged.done"));
  return rescued;
}

}  // namespace btfc::mount_helper
