#include "fs/object_store.h"

#include <linux/fs.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <functional>
#include <string>

#include "fs/clone.h"
#include "fs/fd.h"
#include "index/fault_point.h"
#include "index/merkle.h"

namespace btfc::fs {
namespace {

constexpr mode_t kFolderMode = 0700;
constexpr mode_t kObjectMode = 0400;
constexpr mode_t kWorkMode = 0600;

Result<void> MakeFolder(const std::filesystem::path& path) {
  if (::mkdir(path.c_str(), kFolderMode) == 0) return Ok();
  const int error = errno;
  struct stat st {};
  if (error == EEXIST && ::stat(path.c_str(), &st) == 0) {
    return S_ISDIR(st.st_mode) ? Ok() : Result<void>(Errno(ENOTDIR));
  }
  return Errno(error);
}

// `step` answers 0 or -1 with errno; tried again once the fan-out folder of `path` was made.
Result<void> WithFanOut(const std::filesystem::path& path, const std::function<int()>& step) {
  if (step() == 0) return Ok();
  if (errno != ENOENT) return LastError();
  BOOST_OUTCOME_TRYV(MakeFolder(path.parent_path()));
  if (step() == 0) return Ok();
  return LastError();
}

Result<void> ChangeMode(const std::filesystem::path& path, mode_t mode) {
  if (::chmod(path.c_str(), mode) != 0) return LastError();
  return Ok();
}

}  // namespace

ObjectStore::ObjectStore(const std::filesystem::path& cache)
    : objects_(cache / "objects"),
      partial_(cache / "partial"),
      work_(cache / "work"),
      lost_(cache / "lost+found") {}

Result<std::unique_ptr<ObjectStore>> ObjectStore::Open(const std::filesystem::path& cache) {
  std::unique_ptr<ObjectStore> store(new ObjectStore(cache));
  BOOST_OUTCOME_TRYV(MakeFolder(cache));
  for (const auto* folder : {&store->objects_, &store->partial_, &store->work_, &store->lost_}) {
    BOOST_OUTCOME_TRYV(MakeFolder(*folder));
  }
  store->reflinks_ = store->ProbeReflinks();
  return store;
}

bool ObjectStore::ProbeReflinks() const {
  const auto from_path = work_ / "probe.new";
  const auto to_path = work_ / "probe-to.new";
  bool works = false;
  {
    auto from = OpenFile(from_path, O_CREAT | O_TRUNC | O_RDWR, kWorkMode);
    auto to = OpenFile(to_path, O_CREAT | O_TRUNC | O_RDWR, kWorkMode);
    works = from && to && WriteAll(from.value().get(), 0, std::string(4096, 'x')) &&
            Reflink(from.value().get(), to.value().get());
  }
  ::unlink(from_path.c_str());
  ::unlink(to_path.c_str());
  return works;
}

std::filesystem::path ObjectStore::ObjectPath(const index::ContentId& id) const {
  const auto name = index::ContentName(id);
  return objects_ / name.substr(0, 2) / name;
}

std::filesystem::path ObjectStore::PartialPath(const index::ContentId& id) const {
  return partial_ / index::ContentName(id);
}

std::filesystem::path ObjectStore::WorkPath(index::Ino ino) const {
  return work_ / std::to_string(ino);
}

std::filesystem::path ObjectStore::AsideWorkPath(index::Ino ino, std::uint64_t number) const {
  return work_ / (std::to_string(ino) + "-" + std::to_string(number));
}

std::filesystem::path ObjectStore::ImportPath(std::uint64_t number) const {
  return work_ / ("import-" + std::to_string(number) + ".new");
}

std::filesystem::path ObjectStore::SpareWorkPath(std::uint64_t number) const {
  return work_ / ("spare-" + std::to_string(number) + ".new");
}

std::filesystem::path ObjectStore::NewWorkPath(index::Ino ino) const {
  return work_ / (std::to_string(ino) + ".new");
}

bool ObjectStore::Has(const index::ContentId& id) const {
  struct stat st {};
  return ::lstat(ObjectPath(id).c_str(), &st) == 0 && S_ISREG(st.st_mode) &&
         static_cast<std::uint64_t>(st.st_size) == id.size;
}

// Linux tells of an error once, and takes the pages for written from then on: another fdatasync may
// succeed without the bytes being there. So they are written again before it. Only a process that
// is killed before that leaves what the next one takes for written; should the power fail then,
// too, `btfc verify` finds the object.
Result<void> ObjectStore::SyncFetched(int fd, const index::ContentId& id) {
  if (IsUnwritten(id)) {
    BOOST_OUTCOME_TRYV(WriteFetchedAgain(id));
    SetUnwritten(id, false);
  }
  if (::fdatasync(fd) == 0) return Ok();
  const auto failed = LastError();
  SetUnwritten(id, true);
  return failed;
}

// What is not in memory any more came from the disk, which may have other bytes: then
// Error::kCorrupt.
Result<void> ObjectStore::WriteFetchedAgain(const index::ContentId& id) const {
  BOOST_OUTCOME_TRYV(ChangeMode(PartialPath(id), kWorkMode));
  BOOST_OUTCOME_TRYA(fd, OpenFile(PartialPath(id), O_RDWR));
  BOOST_OUTCOME_TRYV(WriteAgain(fd.get(), id.size));
  BOOST_OUTCOME_TRYA(hashed, index::HashFile(fd.get(), [] { return false; }));
  return hashed.id == id ? Ok() : Result<void>(Error::kCorrupt);
}

bool ObjectStore::IsUnwritten(const index::ContentId& id) const {
  const std::lock_guard lock(unwritten_mutex_);
  return unwritten_.contains(id);
}

void ObjectStore::SetUnwritten(const index::ContentId& id, bool unwritten) {
  const std::lock_guard lock(unwritten_mutex_);
  if (unwritten) {
    unwritten_.insert(id);
  } else {
    unwritten_.erase(id);
  }
}

Result<void> ObjectStore::Adopt(const index::ContentId& id) {
  const auto from = PartialPath(id);
  const auto to = ObjectPath(id);
  {
    BOOST_OUTCOME_TRYA(fd, OpenFile(from, O_RDONLY));
    BOOST_OUTCOME_TRYA(st, StatOf(fd.get()));
    if (static_cast<std::uint64_t>(st.st_size) != id.size) return Error::kCorrupt;
    BOOST_OUTCOME_TRYV(SyncFetched(fd.get(), id));
    if (::fchmod(fd.get(), kObjectMode) != 0) return LastError();
  }
  fault::Pass("adopt.synced");
  const auto adopted = WithFanOut(to, [&] {
    return ::renameat2(AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str(), RENAME_NOREPLACE);
  });
  if (adopted || adopted.error() != Errno(EEXIST)) return adopted;
  // Written here meanwhile: that file may be open, so it stays, unless it is damaged.
  const int done = Has(id) ? ::unlink(from.c_str()) : ::rename(from.c_str(), to.c_str());
  return done == 0 ? Ok() : Result<void>(LastError());
}

Result<bool> ObjectStore::Link(const std::filesystem::path& working, const index::ContentId& id) {
  BOOST_OUTCOME_TRYA(ours, LinkAsIs(working, id));
  if (ours) {
    BOOST_OUTCOME_TRYV(ChangeMode(working, kObjectMode));
  }
  return ours;
}

Result<void> ObjectStore::Unlink(const std::filesystem::path& working, const index::ContentId& id) {
  BOOST_OUTCOME_TRYV(Remove(id));
  return ChangeMode(working, kWorkMode);
}

Result<bool> ObjectStore::LinkAsIs(const std::filesystem::path& working,
                                   const index::ContentId& id) {
  const auto to = ObjectPath(id);
  const auto linked = WithFanOut(to, [&] { return ::link(working.c_str(), to.c_str()); });
  if (linked) return true;
  if (linked.error() != Errno(EEXIST)) return linked.error();
  struct stat ours {};
  struct stat theirs {};
  if (::lstat(working.c_str(), &ours) != 0 || ::lstat(to.c_str(), &theirs) != 0) {
    return LastError();
  }
  if (ours.st_ino == theirs.st_ino && ours.st_dev == theirs.st_dev) return true;
  if (S_ISREG(theirs.st_mode) && static_cast<std::uint64_t>(theirs.st_size) == id.size) {
    return false;
  }
  // A damaged object under this name: these bytes are the right ones. Never without the name.
  const auto spare = working.string() + ".new";
  ::unlink(spare.c_str());
  if (::link(working.c_str(), spare.c_str()) != 0) return LastError();
  if (::rename(spare.c_str(), to.c_str()) != 0) return LastError();
  return true;
}

Result<void> ObjectStore::Take(const index::ContentId& id, const std::filesystem::path& working) {
  const auto from = ObjectPath(id);
  // rename(2) leaves two names of one file both alone, so the object's name goes separately.
  if (::rename(from.c_str(), working.c_str()) != 0) return LastError();
  int failure = 0;
  if (::unlink(from.c_str()) != 0 && errno != ENOENT) failure = errno;
  if (failure == 0 && ::chmod(working.c_str(), kWorkMode) != 0) failure = errno;
  if (failure == 0) return Ok();
  // The object's only file never stays without the object's name.
  if (::rename(working.c_str(), from.c_str()) == 0) ::unlink(working.c_str());
  return Errno(failure);
}

Result<void> ObjectStore::Exchange(const std::filesystem::path& copy, const index::ContentId& id) {
  const auto object = ObjectPath(id);
  BOOST_OUTCOME_TRYV(ChangeMode(copy, kObjectMode));
  if (::renameat2(AT_FDCWD, copy.c_str(), AT_FDCWD, object.c_str(), RENAME_EXCHANGE) != 0) {
    return LastError();
  }
  return ChangeMode(copy, kWorkMode);
}

Result<void> ObjectStore::Demote(const index::ContentId& id) {
  const auto from = ObjectPath(id);
  struct stat st {};
  if (::lstat(from.c_str(), &st) != 0) return LastError();
  if (st.st_nlink != 1) return Errno(EMLINK);
  if (::rename(from.c_str(), PartialPath(id).c_str()) != 0) return LastError();
  return ChangeMode(PartialPath(id), kWorkMode);
}

Result<void> ObjectStore::Remove(const index::ContentId& id) {
  if (::unlink(ObjectPath(id).c_str()) != 0 && errno != ENOENT) return LastError();
  return Ok();
}

}  // namespace btfc::fs
