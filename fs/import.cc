#include "fs/import.h"

#include <spdlog/spdlog.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <map>
#include <optional>
#include <string>
#include <utility>

#include "fs/import_content.h"
#include "fs/import_source.h"
#include "index/conflict_names.h"
#include "index/fault_point.h"
#include "index/merkle.h"

namespace btfc::fs {
namespace {

using index::Ino;
using index::Kind;

constexpr std::size_t kStagedFilesMax = 300;
constexpr std::uint64_t kStagedBytesMax = std::uint64_t{512} << 20U;
constexpr std::size_t kFailuresNamed = 20;  // in the result; the log has all
constexpr unsigned kDepthMax = 1000;        // folders; each holds a descriptor

// Nothing that comes later would fare better.
bool EndsImport(const std::error_code& error) {
  return error == Error::kCancelled || error == Error::kStorage || error == Errno(ENOSPC) ||
         error == Errno(EDQUOT) || error == Errno(EROFS) || error == Errno(EMFILE);
}

class Importer {
 public:
  Importer(index::Catalogue& catalogue, ObjectStore& store, const ImportOptions& options,
           const std::function<void(const ImportProgress&)>& progress,
           const std::function<bool()>& cancelled,
           const std::function<void(const std::vector<index::Change>&)>& changed)
      : catalogue_(catalogue),
        store_(store),
        options_(options),
        progress_(progress),
        cancelled_(cancelled),
        changed_(changed),
        owners_(options.owner, options.mounter) {}

  Result<ImportProgress> Run(int folder);

 private:
  // A file whose bytes are read, and safe in a file of ours if they are many.
  struct Staged {
    Ino parent = 0;
    FoundFile found;  // without its descriptor
    ReadFileContent content;
  };

  Result<void> Walk(int folder, Ino parent, unsigned depth);
  Result<void> TakeOne(int folder, Ino parent, const std::string& name, unsigned depth);
  Result<void> TakeFolder(FoundFile found, Ino parent, unsigned depth);
  Result<void> TakeOther(const FoundFile& found, Ino parent);
  Result<void> TakeFile(FoundFile found, Ino parent);
  Result<bool> TakeHardLink(const FoundFile& found, Ino parent);
  Result<void> Flush();
  Result<void> CommitSmall();
  Result<void> CommitObject(const Staged& staged);
  Result<void> Commit(const Staged& staged);
  Result<bool> SameFile(const index::Node& node, const FoundFile& found,
                        const std::optional<index::ContentId>& id);
  // A name that is free, or the inode that is what was found.
  struct Place {
    std::string name;
    Ino there = 0;
  };
  Result<Place> ChoosePlace(Ino parent, const FoundFile& found,
                            const std::optional<index::ContentId>& id);
  Result<index::Node> Make(Ino parent, const std::string& name, const FoundFile& found);
  std::string HostName();
  void Taken(const FoundFile& found);
  void Failed(const std::string& name, const std::error_code& why);
  void Appeared(Ino parent, const std::string& name);

  index::Catalogue& catalogue_;
  ObjectStore& store_;
  const ImportOptions& options_;
  const std::function<void(const ImportProgress&)>& progress_;
  const std::function<bool()>& cancelled_;
  const std::function<void(const std::vector<index::Change>&)>& changed_;
  OwnerMap owners_;

  dev_t device_ = 0;
  std::string path_;  // of the folder that is walked; empty or with a slash at its end
  ImportProgress done_;
  std::vector<Staged> staged_;
  std::uint64_t staged_bytes_ = 0;
  std::uint64_t next_file_ = 1;
  std::map<ino_t, Ino> hard_links_;
  std::vector<std::pair<Ino, std::int64_t>> folder_times_;
  std::vector<index::Change> changes_;
  std::string host_name_;
};

Result<ImportProgress> Importer::Run(int folder) {
  BOOST_OUTCOME_TRYA(st, StatOf(folder));
  device_ = st.st_dev;
  auto walked = Walk(folder, index::kRootIno, 0);
  // What was read is taken in, whatever came after it.
  const auto flushed = Flush();
  for (const auto& staged : staged_) {
    if (!staged.content.file.empty()) ::unlink(staged.content.file.c_str());
  }
  if (walked && !flushed) walked = flushed.error();
  if (walked) {
    // Making the entries moved the folders' times.
    index::Catalogue::Batch batch(catalogue_);
    for (const auto& [ino, mtime_ns] : folder_times_) {
      index::AttributeChange change;
      change.mtime_ns = mtime_ns;
      catalogue_.SetAttributes(ino, change).has_value();  // it may be gone again
    }
    BOOST_OUTCOME_TRYV(batch.Finish());
  }
  progress_(done_);
  if (!walked) return walked.error();
  return done_;
}

Result<void> Importer::Walk(int folder, Ino parent, unsigned depth) {
  if (depth > kDepthMax) return Errno(ELOOP);
  BOOST_OUTCOME_TRYA(names, NamesIn(folder));
  for (const auto& name : names) {
    if (cancelled_()) return Error::kCancelled;
    const auto taken = TakeOne(folder, parent, name, depth);
    if (!taken && EndsImport(taken.error())) return taken.error();
    if (!taken) Failed(path_ + name, taken.error());
    progress_(done_);
  }
  return Ok();
}

Result<void> Importer::TakeOne(int folder, Ino parent, const std::string& name, unsigned depth) {
  const std::string path = path_ + name;
  if (options_.leave_out && options_.leave_out(path)) return Ok();
  auto looked = LookAt(folder, name, owners_, options_.owner == OwnerPolicy::kNumeric);
  if (!looked) return looked.error() == Errno(ENOENT) ? Ok() : Result<void>(looked.error());
  auto& found = looked.value();
  found.path = path;
  if (found.stat.st_dev != device_) return Ok();
  if (found.node.kind == Kind::kFolder) return TakeFolder(std::move(found), parent, depth);
  if (found.stat.st_nlink > 1) {
    BOOST_OUTCOME_TRYA(linked, TakeHardLink(found, parent));
    if (linked) {
      Taken(found);
      return Ok();
    }
  }
  if (found.node.kind == Kind::kFile) return TakeFile(std::move(found), parent);
  return TakeOther(found, parent);
}

Result<void> Importer::TakeFolder(FoundFile found, Ino parent, unsigned depth) {
  Ino ino = 0;
  const auto node = catalogue_.Lookup(parent, found.name);
  if (node && node.value().kind == Kind::kFolder) {
    ino = node.value().ino;  // folders merge
  } else {
    BOOST_OUTCOME_TRYA(place, ChoosePlace(parent, found, std::nullopt));
    ino = place.there;
    if (ino == 0) {
      BOOST_OUTCOME_TRYA(made, Make(parent, place.name, found));
      ino = made.ino;
      folder_times_.emplace_back(ino, ToNs(found.stat.st_mtim));
      ++done_.files;
    }
  }
  Taken(found);
  const std::string above = std::exchange(path_, found.path + "/");
  auto walked = Walk(found.fd.get(), ino, depth + 1);
  path_ = above;
  return walked;
}

Result<void> Importer::TakeOther(const FoundFile& found, Ino parent) {
  BOOST_OUTCOME_TRYA(place, ChoosePlace(parent, found, std::nullopt));
  if (place.there != 0) {
    Taken(found);
    return Ok();
  }
  index::Catalogue::Batch batch(catalogue_);
  BOOST_OUTCOME_TRYA(made, Make(parent, place.name, found));
  index::AttributeChange change;
  change.mtime_ns = ToNs(found.stat.st_mtim);
  BOOST_OUTCOME_TRYV(catalogue_.SetAttributes(made.ino, change));
  BOOST_OUTCOME_TRYV(batch.Finish());
  if (found.stat.st_nlink > 1) hard_links_[found.stat.st_ino] = made.ino;
  Taken(found);
  ++done_.files;
  return Ok();
}

// Another name of a file that was taken in already.
Result<bool> Importer::TakeHardLink(const FoundFile& found, Ino parent) {
  const bool is_staged = std::any_of(staged_.begin(), staged_.end(), [&](const auto& staged) {
    return staged.found.stat.st_ino == found.stat.st_ino;
  });
  if (is_staged) {
    BOOST_OUTCOME_TRYV(Flush());
  }
  const auto known = hard_links_.find(found.stat.st_ino);
  if (known == hard_links_.end()) return false;
  const auto there = catalogue_.Lookup(parent, found.name);
  if (there && there.value().ino == known->second) return true;
  if (there) return false;  // something else: a file of its own, compared and perhaps beside it
  const auto linked = catalogue_.Link(known->second, parent, found.name);
  if (!linked) return linked.error();
  Appeared(parent, found.name);
  ++done_.files;
  return true;
}

// --- files

Result<void> Importer::TakeFile(FoundFile found, Ino parent) {
  const auto there = catalogue_.Lookup(parent, found.name);
  if (there) {
    BOOST_OUTCOME_TRYA(same, SameFile(there.value(), found, std::nullopt));
    if (same) {
      if (found.stat.st_nlink > 1) hard_links_[found.stat.st_ino] = there.value().ino;
      Taken(found);
      return Ok();
    }
  }
  BOOST_OUTCOME_TRYA(content, ReadContent(found, store_, options_.mode, next_file_++, cancelled_));
  Staged staged{parent, std::move(found), std::move(content)};
  staged.found.fd.Reset();
  staged_bytes_ += staged.content.version.id.size;
  staged_.push_back(std::move(staged));
  if (staged_.size() < kStagedFilesMax && staged_bytes_ < kStagedBytesMax) return Ok();
  return Flush();
}

// --- into the catalogue

Result<void> Importer::Flush() {
  const bool objects = std::any_of(staged_.begin(), staged_.end(),
                                   [](const auto& staged) { return !staged.content.file.empty(); });
  // The bytes are on the disk before a row says so.
  if (objects && options_.mode == ImportMode::kCopy) {
    BOOST_OUTCOME_TRYA(folder, OpenFile(store_.work_folder(), O_RDONLY | O_DIRECTORY));
    if (::syncfs(folder.get()) != 0) return LastError();
  }
  fault::Pass("import.staged");
  auto flushed = CommitSmall();
  for (const auto& staged : staged_) {
    if (staged.content.file.empty()) continue;
    if (flushed || !EndsImport(flushed.error())) {
      flushed = CommitObject(staged);
      if (flushed) {
        Taken(staged.found);
      } else {
        Failed(staged.found.path, flushed.error());
      }
    }
    ::unlink(staged.content.file.c_str());
  }
  staged_.clear();
  staged_bytes_ = 0;
  if (!changes_.empty()) changed_(std::exchange(changes_, {}));
  if (!flushed && EndsImport(flushed.error())) return flushed;
  return Ok();
}

Result<void> Importer::CommitSmall() {
  index::Catalogue::Batch batch(catalogue_);
  std::vector<const FoundFile*> committed;
  for (const auto& staged : staged_) {
    if (!staged.content.file.empty()) continue;
    if (const auto done = Commit(staged)) {
      committed.push_back(&staged.found);
    } else {
      Failed(staged.found.path, done.error());
    }
  }
  BOOST_OUTCOME_TRYV(batch.Finish());
  for (const FoundFile* found : committed) Taken(*found);
  return Ok();
}

// One by one: the name of an object is locked until its row is there, and who holds such a lock
// may have to wait for a batch.
Result<void> Importer::CommitObject(const Staged& staged) {
  const std::lock_guard lock(store_.NameLock(staged.content.version.id));
  index::Catalogue::Batch batch(catalogue_);
  auto linked = options_.mode == ImportMode::kLink
                    ? store_.LinkAsIs(staged.content.file, staged.content.version.id)
                    : store_.Link(staged.content.file, staged.content.version.id);
  if (!linked) return linked.error();
  fault::Pass("import.linked");
  BOOST_OUTCOME_TRYV(Commit(staged));
  BOOST_OUTCOME_TRYV(batch.Finish());
  fault::Pass("import.done");
  return Ok();
}

Result<void> Importer::Commit(const Staged& staged) {
  const auto& found = staged.found;
  BOOST_OUTCOME_TRYA(place, ChoosePlace(staged.parent, found, staged.content.version.id));
  Ino ino = place.there;
  if (ino == 0) {
    BOOST_OUTCOME_TRYA(made, Make(staged.parent, place.name, found));
    ino = made.ino;
    BOOST_OUTCOME_TRYA(committed, catalogue_.Commit(ino, staged.content.version, false));
    ino = committed.ino;
  }
  if (found.stat.st_nlink > 1) hard_links_[found.stat.st_ino] = ino;
  if (place.there != 0) return Ok();
  ++done_.files;
  done_.bytes += staged.content.version.id.size;
  return Ok();
}

// Whether what the catalogue has under a name is the file that was found.
Result<bool> Importer::SameFile(const index::Node& node, const FoundFile& found,
                                const std::optional<index::ContentId>& id) {
  if (node.kind != found.node.kind) return false;
  if (node.kind == Kind::kSymlink) {
    BOOST_OUTCOME_TRYA(target, catalogue_.Target(node.ino));
    return target == found.node.target;
  }
  if (node.kind != Kind::kFile) return node.rdev == found.node.rdev;
  if (node.content.state == index::Content::State::kNone) return false;
  if (id) return node.content.id == *id;
  if (node.content.id.size != static_cast<std::uint64_t>(found.stat.st_size)) return false;
  // Equal size and time do not make equal bytes: another host's file may be the one that is there.
  BOOST_OUTCOME_TRYA(hashed, index::HashFile(found.fd.get(), cancelled_));
  return hashed.id == node.content.id;
}

// Its own name, or, if that is something else's, the one of a conflict.
Result<Importer::Place> Importer::ChoosePlace(Ino parent, const FoundFile& found,
                                              const std::optional<index::ContentId>& id) {
  const std::string mark = index::ToHex(id ? *id : index::ContentIdOf(found.node.target));
  const auto beside =
      index::ConflictName(found.name, HostName(), ToNs(found.stat.st_mtim), mark.substr(0, 6));
  for (const auto& name : {found.name, beside}) {
    const auto there = catalogue_.Lookup(parent, name);
    if (!there && there.error() == Errno(ENOENT)) return Place{name, 0};
    if (!there) return there.error();
    BOOST_OUTCOME_TRYA(same, SameFile(there.value(), found, id));
    if (same) return Place{name, there.value().ino};
  }
  return Errno(EEXIST);
}

Result<index::Node> Importer::Make(Ino parent, const std::string& name, const FoundFile& found) {
  BOOST_OUTCOME_TRYA(made, catalogue_.Make(parent, name, found.node));
  for (const auto& [key, value] : found.xattrs) {
    BOOST_OUTCOME_TRYV(catalogue_.SetXattr(made.ino, key, value, 0));
  }
  Appeared(parent, name);
  return made;
}

std::string Importer::HostName() {
  if (host_name_.empty()) {
    const auto devices = catalogue_.Devices();
    for (const auto& device : devices ? devices.value() : std::vector<index::DeviceInfo>()) {
      if (device.self) host_name_ = device.name;
    }
  }
  return host_name_;
}

void Importer::Taken(const FoundFile& found) {
  if (options_.taken) options_.taken(found.path, found.stat);
}

void Importer::Failed(const std::string& name, const std::error_code& why) {
  spdlog::warn("cannot import {}: {}", name, why.message());
  ++done_.failed;
  if (done_.failures.size() < kFailuresNamed) done_.failures.push_back({name, why});
}

void Importer::Appeared(Ino parent, const std::string& name) {
  index::Change change;
  change.what = index::Change::What::kEntry;
  change.parent = parent;
  change.name = name;
  changes_.push_back(std::move(change));
}

}  // namespace

Result<ImportProgress> Import(
    int folder, index::Catalogue& catalogue, ObjectStore& store, const ImportOptions& options,
    const std::function<void(const ImportProgress&)>& progress,
    const std::function<bool()>& cancelled,
    const std::function<void(const std::vector<index::Change>&)>& changed) {
  return Importer(catalogue, store, options, progress, cancelled, changed).Run(folder);
}

}  // namespace btfc::fs
