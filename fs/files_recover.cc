// What a crash left: working files, notes without one, objects whose rows were lost.
#include <fcntl.h>
#include <spdlog/spdlog.h>
#include <sys/stat.h>
#include <unistd.h>

#include <charconv>
#include <filesystem>
#include <map>
#include <set>
#include <utility>

#include "fs/clone.h"
#include "fs/files_impl.h"
#include "index/merkle.h"

namespace btfc::fs {
namespace {

constexpr std::size_t kMissingAtOnce = 1000;

struct Leftovers {
  std::set<index::Ino> inodes;
  std::vector<std::filesystem::path> strange;
};

// Reads work/. Files in the making are worthless and go.
Result<Leftovers> ReadWorkFolder(const std::filesystem::path& folder) {
  Leftovers left;
  std::error_code error;
  for (std::filesystem::directory_iterator entry(folder, error), end; !error && entry != end;
       entry.increment(error)) {
    const auto name = entry->path().filename().string();
    if (name.ends_with(".new")) {
      ::unlink(entry->path().c_str());
      continue;
    }
    index::Ino ino = 0;
    const auto parsed = std::from_chars(name.data(), name.data() + name.size(), ino);
    if (parsed.ec == std::errc() && parsed.ptr == name.data() + name.size()) {
      left.inodes.insert(ino);
    } else {
      left.strange.push_back(entry->path());
    }
  }
  if (error) return error;
  return left;
}

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

Result<void> Files::Impl::Recover() {
  BOOST_OUTCOME_TRYA(left, ReadWorkFolder(store_.work_folder()));
  BOOST_OUTCOME_TRYA(dirty, catalogue_.DirtyFiles());
  for (const auto& strange : left.strange) {
    BOOST_OUTCOME_TRYV(MoveAside(strange, store_.lost_folder()));
  }
  std::set<index::Ino> noted;
  for (const auto& file : dirty) {
    noted.insert(file.ino);
    if (file.orphan) {
      ::unlink(store_.WorkPath(file.ino).c_str());
      BOOST_OUTCOME_TRYV(catalogue_.Forget(file.ino));
    } else if (!left.inodes.contains(file.ino)) {
      BOOST_OUTCOME_TRYV(RecoverWithoutWorkFile(file.ino));
    } else {
      BOOST_OUTCOME_TRYV(RecoverWorkFile(file.ino));
    }
  }
  for (const auto ino : left.inodes) {
    if (noted.contains(ino)) continue;
    BOOST_OUTCOME_TRYV(RecoverUnnoted(ino));
  }
  workers_.Post(Workers::Length::kLong, [this] { RecoverPresence(); });
  return Ok();
}

// The file opens from its working file at once; its commit goes on where it was interrupted.
Result<void> Files::Impl::RecoverWorkFile(index::Ino ino) {
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
  state->base.taken = true;        // nobody knows any more
  state->base.passthrough = true;  // who had it open may still write, past a daemon that is gone
  Settle(state, later);
  return Ok();
}

// No note and a working file: the note was lost with the power, or the file was committed and its
// name had to wait for the disk.
Result<void> Files::Impl::RecoverUnnoted(index::Ino ino) {
  const auto path = store_.WorkPath(ino);
  const auto node = catalogue_.Get(ino);
  if (!node || node.value().kind != index::Kind::kFile) {
    return MoveAside(path, store_.lost_folder());
  }
  if (node.value().nlink == 0) {
    ::unlink(path.c_str());
    return catalogue_.Forget(ino);
  }
  return RecoverWorkFile(ino);
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
    return RecoverWorkFile(ino);
  }
  if (!store_.Has(content.id)) return catalogue_.AbandonWrite(ino);
  // Whether the object was written to is for its hash to say.
  BOOST_OUTCOME_TRYV(catalogue_.SetPresent(content.id, false));
  BOOST_OUTCOME_TRYV(store_.Take(content.id, store_.WorkPath(ino)));
  return RecoverWorkFile(ino);
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
      const std::lock_guard lock(objects_.NameLock(id));
      if (store_.Has(id)) catalogue_.SetPresent(id, true).has_value();
    }
    after = missing.value().back();
  }
  if (!abandon_) collector_.Start();
}

}  // namespace btfc::fs
