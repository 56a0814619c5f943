// What a crash left: working files, notes without one, objects whose rows were lost.
#include <fcntl.h>
#include <spdlog/spdlog.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <map>
#include <set>
#include <utility>

#include "fs/clone.h"
#include "fs/files_impl.h"
#include "index/fault_point.h"
#include "index/merkle.h"

namespace btfc::fs {
namespace {

constexpr std::size_t kMissingAtOnce = 1000;

// A name that is free in `folder`, as close to `name` as can be.
Result<void> MoveAside(const std::filesystem::path& file, const std::filesystem::path& folder) {
  const auto name = file.filename().string();
  for (int number = 0; number < 10000; ++number) {
    const auto target = folder / (number == 0 ? name : name + "." + std::to_string(number));
    if (::renameat2(AT_FDCWD, file.c_str(), AT_FDCWD, target.c_str(), RENAME_NOREPLACE) == 0) {
      spdlog::warn("{} belongs to no file of the cluster; kept as {}", file.string(),
                   target.string());
      return Ok();
    }
    if (errno != EEXIST) return LastError();
  }
  return Errno(EEXIST);
}

}  // namespace

// What the last daemon left in work/.
struct Files::Impl::Leftovers {
  std::set<index::Ino> plain;  // work/INO
  std::map<index::Ino, std::map<std::uint64_t, std::filesystem::path>> aside;
  std::vector<std::filesystem::path> strange;
  std::set<index::Ino> committed;  // work/INO is the object of the current version, too
  std::vector<index::ContentId> verify;
  std::set<std::filesystem::path> versions;  // of shared files: those that are versions' objects
};

Result<void> Files::Impl::Recover() {
  fault::Pass("recover.begin");
  BOOST_OUTCOME_TRYA(left, ReadWorkFolder());
  BOOST_OUTCOME_TRYA(dirty, catalogue_.DirtyFiles());
  for (const auto& strange : left.strange) {
    BOOST_OUTCOME_TRYV(MoveAside(strange, store_.lost_folder()));
  }
  BOOST_OUTCOME_TRYV(UnshareWorkFiles(left));
  RestorePlain(left);
  for (const auto ino : left.committed) collector_.LetGo(ino, false);
  std::set<index::Ino> noted;
  for (const auto& file : dirty) {
    noted.insert(file.ino);
    if (file.orphan) {
      ::unlink(store_.WorkPath(file.ino).c_str());
      BOOST_OUTCOME_TRYV(catalogue_.Forget(file.ino));
    } else if (left.committed.contains(file.ino)) {
      BOOST_OUTCOME_TRYV(catalogue_.AbandonWrite(file.ino));
    } else if (left.plain.contains(file.ino)) {
      BOOST_OUTCOME_TRYV(RecoverWorkFile(file.ino, true));
    } else {
      BOOST_OUTCOME_TRYV(RecoverWithoutWorkFile(file.ino));
    }
  }
  for (const auto ino : left.plain) {
    if (noted.contains(ino) || left.committed.contains(ino)) continue;
    if (left.versions.contains(store_.WorkPath(ino))) {
      ::unlink(store_.WorkPath(ino).c_str());  // another host's has followed it
      continue;
    }
    BOOST_OUTCOME_TRYV(RecoverUnnoted(ino));
  }
  fault::Pass("recover.end");
  workers_.Post(Workers::Length::kLong, [this, verify = left.verify] {
    for (const auto& id : verify) VerifyCommitted(id);
    RecoverPresence();
  });
  return Ok();
}

// Files in the making are worthless and go.
Result<Files::Impl::Leftovers> Files::Impl::ReadWorkFolder() {
  Leftovers left;
  std::error_code error;
  for (std::filesystem::directory_iterator entry(store_.work_folder(), error), end;
       !error && entry != end; entry.increment(error)) {
    const auto name = entry->path().filename().string();
    if (name.ends_with(".new")) {
      ::unlink(entry->path().c_str());
      continue;
    }
    index::Ino ino = 0;
    std::uint64_t number = 0;
    const auto* text_end = name.data() + name.size();
    auto parsed = std::from_chars(name.data(), text_end, ino);
    if (parsed.ec == std::errc() && parsed.ptr == text_end) {
      left.plain.insert(ino);
      continue;
    }
    if (parsed.ec == std::errc() && *parsed.ptr == '-') {
      parsed = std::from_chars(parsed.ptr + 1, text_end, number);
      if (parsed.ec == std::errc() && parsed.ptr == text_end) {
        left.aside[ino][number] = entry->path();
        continue;
      }
    }
    left.strange.push_back(entry->path());
  }
  if (error) return error;
  return left;
}

// A working file with a second name was being committed, or waited for the disk afterwards. Where
// its row is there, it is that version's object; where not, the object's name goes: the file may be
// written to again, and whether its bytes are the object's is not known.
Result<void> Files::Impl::UnshareWorkFiles(Leftovers& left) {
  struct Shared {
    index::Ino ino = 0;
    bool plain = false;
    std::filesystem::path path;
  };
  std::multimap<ino_t, Shared> shared;
  const auto look = [&shared](Shared file) {
    struct stat st {};
    if (::lstat(file.path.c_str(), &st) != 0 || st.st_nlink == 1) return;
    shared.emplace(st.st_ino, std::move(file));
  };
  for (const auto ino : left.plain) look({ino, true, store_.WorkPath(ino)});
  for (const auto& [ino, paths] : left.aside) {
    for (const auto& path : paths) look({ino, false, path.second});
  }
  if (shared.empty()) return Ok();
  std::error_code error;
  std::filesystem::recursive_directory_iterator entry(store_.objects_folder(), error);
  for (const std::filesystem::recursive_directory_iterator end; !error && entry != end;
       entry.increment(error)) {
    const auto id = index::ParseContentName(entry->path().filename().string());
    struct stat st {};
    if (!id || ::lstat(entry->path().c_str(), &st) != 0) continue;
    bool version = false;
    const auto [first, last] = shared.equal_range(st.st_ino);
    if (first == last) continue;
    for (auto file = first; file != last; ++file) {
      const auto& [ino, plain, path] = file->second;
      const auto node = catalogue_.Get(ino);
      const bool current = node && node.value().content.id == *id &&
                           node.value().content.state == index::Content::State::kObject;
      if (current && plain) left.committed.insert(ino);
      // A version that is not kept any more: its object goes when the collector gets to it.
      const auto present = catalogue_.IsPresent(*id);
      const bool former = IsVersion(ino, [&](const auto& each) { return each.id == *id; });
      if (!current && !former && !(present && present.value())) continue;
      left.versions.insert(path);
      version = true;
    }
    BOOST_OUTCOME_TRYV(catalogue_.SetPresent(*id, version));
    if (version) {
      left.verify.push_back(*id);
      const std::lock_guard lock(tables_mutex_);
      doubtful_.insert(*id);
    } else {
      BOOST_OUTCOME_TRYV(store_.Remove(*id));
    }
  }
  if (error) return error;
  return Ok();
}

// Of the files that were set aside, the last one takes the place of a working file that is missing
// if it holds no version: its commit's row was lost. The others were superseded here, also those
// whose versions are kept no more.
void Files::Impl::RestorePlain(Leftovers& left) {
  for (const auto& [ino, paths] : left.aside) {
    const auto& last = paths.rbegin()->second;
    const bool missing =
        !left.plain.contains(ino) && !left.versions.contains(last) && !HoldsVersion(ino, last);
    if (missing && ::rename(last.c_str(), store_.WorkPath(ino).c_str()) == 0) {
      left.plain.insert(ino);
    }
    for (const auto& path : paths) ::unlink(path.second.c_str());  // what was restored bears none
  }
}

bool Files::Impl::IsVersion(index::Ino ino,
                            const std::function<bool(const index::VersionInfo&)>& is) const {
  const auto history = catalogue_.History(ino);
  return history && std::any_of(history.value().begin(), history.value().end(), is);
}

// Whether a file without a note is one that was committed. Told by its time, which the commit
// wrote down to the nanosecond and every write moves: hashing could take minutes, and until it is
// known, opens would be shown bytes that other versions may have followed.
bool Files::Impl::HoldsVersion(index::Ino ino, const std::filesystem::path& path) const {
  struct stat st {};
  if (::lstat(path.c_str(), &st) != 0) return false;
  return IsVersion(ino, [&](const auto& version) {
    return version.id.size == static_cast<std::uint64_t>(st.st_size) &&
           version.mtime_ns == ToNs(st.st_mtim);
  });
}

// A power cut may have torn what was not on the disk yet.
void Files::Impl::VerifyCommitted(const index::ContentId& id) {
  const auto path = store_.ObjectPath(id);
  const auto fd = OpenFile(path, O_RDONLY);
  if (!fd || abandon_) return;
  const auto hashed = index::HashFile(fd.value().get(), [this] { return abandon_.load(); });
  if (!hashed) return;
  if (hashed.value().id == id) {
    const std::lock_guard lock(tables_mutex_);
    doubtful_.erase(id);
    return;
  }
  const std::lock_guard lock(store_.NameLock(id));
  struct stat now {};
  const auto hashed_file = StatOf(fd.value().get());
  if (!hashed_file || ::lstat(path.c_str(), &now) != 0 ||
      now.st_ino != hashed_file.value().st_ino) {
    return;  // it became a working file meanwhile
  }
  spdlog::error("{} was damaged by a crash; it is fetched again", path.string());
  catalogue_.SetPresent(id, false).has_value();
  MoveAside(path, store_.lost_folder()).has_value();
}

// The file opens from its working file at once; its commit goes on where it was interrupted.
Result<void> Files::Impl::RecoverWorkFile(index::Ino ino, bool noted) {
  const auto node = catalogue_.Get(ino);
  if (!node) return MoveAside(store_.WorkPath(ino), store_.lost_folder());
  BOOST_OUTCOME_TRYV(catalogue_.BeginWrite(ino, false));
  Later later;
  const auto [state, lock] = LockedState(ino);
  BOOST_OUTCOME_TRYA(fd, OpenFile(store_.WorkPath(ino), O_RDONLY));
  if (::fchmod(fd.get(), 0600) != 0) return LastError();
  state->file = std::make_shared<const Fd>(std::move(fd));
  state->work_name = true;
  const auto& content = node.value().content;
  std::optional<index::ContentId> base;
  if (content.state != index::Content::State::kNone) base = content.id;
  BOOST_OUTCOME_TRYV(EnterWriting(*state, base));
  state->base.comparable = false;
  state->base.unnoted = !noted;
  state->base.taken = true;        // nobody knows any more
  state->base.passthrough = true;  // who had it open may still write, past a daemon that is gone
  // Not at any pace: until it is committed, opens are shown what another version may have followed.
  state->phase = Phase::kSettling;
  TryLease(state, later);
  fault::Pass("recover.file");
  return Ok();
}

// No note and a working file: the note was lost with the power, or the file was committed and its
// name had to wait for the disk.
Result<void> Files::Impl::RecoverUnnoted(index::Ino ino) {
  const auto path = store_.WorkPath(ino);
  const auto node = catalogue_.Get(ino);
  if (!node || node.value().kind != index::Kind::kFile) {
    BTFC_TRY(removed, catalogue_.WasRemoved(ino));
    if (!removed) return MoveAside(path, store_.lost_folder());
    ::unlink(path.c_str());  // its removal had to wait for the disk
    return Ok();
  }
  if (node.value().nlink == 0) {
    ::unlink(path.c_str());
    return catalogue_.Forget(ino);
  }
  // The object's own file, taken for a write that never came, may be all there is of it.
  const auto& content = node.value().content;
  const bool only_copy = content.state == index::Content::State::kObject && !store_.Has(content.id);
  if (HoldsVersion(ino, path) && !only_copy) {
    ::unlink(path.c_str());
    return Ok();
  }
  return RecoverWorkFile(ino, false);
}

// A note and no working file: the crash came before there was one, or after its bytes were
// committed, or the object's own file was about to be written to.
Result<void> Files::Impl::RecoverWithoutWorkFile(index::Ino ino) {
  const auto got = catalogue_.Get(ino);
  if (!got) return catalogue_.AbandonWrite(ino);
  const auto& content = got.value().content;
  if (content.state == index::Content::State::kInline) return catalogue_.AbandonWrite(ino);
  if (content.state == index::Content::State::kNone) {
    BOOST_OUTCOME_TRYV(MakeWorkFile(ino, {}, std::nullopt));
    return RecoverWorkFile(ino, true);
  }
  struct stat st {};
  const auto object = store_.ObjectPath(content.id);
  if (::lstat(object.c_str(), &st) != 0) return catalogue_.AbandonWrite(ino);
  if (st.st_nlink > 1) {  // a file with names outside is never written to
    BOOST_OUTCOME_TRYV(catalogue_.SetPresent(content.id, true));
    return catalogue_.AbandonWrite(ino);
  }
  // Whether it was written to is for its hash to say.
  BOOST_OUTCOME_TRYV(catalogue_.SetPresent(content.id, false));
  BOOST_OUTCOME_TRYV(store_.Take(content.id, store_.WorkPath(ino)));
  return RecoverWorkFile(ino, true);
}

// Objects that are here though the catalogue says otherwise: their rows were lost, or were taken
// back for a change that never came.
void Files::Impl::RecoverPresence() {
  std::optional<index::ContentId> after;
  while (!abandon_) {
    const auto missing = catalogue_.Missing(after, kMissingAtOnce);
    if (!missing || missing.value().empty()) break;
    for (const auto& id : missing.value()) {
      if (abandon_) return;
      const std::lock_guard lock(store_.NameLock(id));
      if (store_.Has(id)) catalogue_.SetPresent(id, true).has_value();
    }
    after = missing.value().back();
  }
  if (!abandon_) collector_.Start();
}

}  // namespace btfc::fs
