#include "fs/spare_files.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <utility>

namespace btfc::fs {
namespace {

constexpr std::size_t kSparesMax = 256;
constexpr off_t kSizeMax = off_t{256} << 10U;  // bytes; more takes its time to be let go of
constexpr mode_t kMode = S_IFREG | 0600;

// Whether no other open file or mapping is left, also none that only reads: what the kernel grants
// a write lease for.
bool Alone(int fd) {
  if (::fcntl(fd, F_SETLEASE, F_WRLCK) != 0) return false;
  ::fcntl(fd, F_SETLEASE, F_UNLCK);
  return true;
}

// Opened, truncated and closed at once: ext4 would write the next bytes to the disk as soon as the
// file was closed, if that was not the close which follows the truncation.
bool Empty(const std::filesystem::path& path) {
  return OpenFile(path, O_WRONLY | O_TRUNC).has_value();
}

}  // namespace

std::optional<std::filesystem::path> SpareFiles::Take() {
  const std::lock_guard lock(mutex_);
  if (spares_.empty()) return std::nullopt;
  auto spare = std::move(spares_.back());
  spares_.pop_back();
  return spare;
}

void SpareFiles::Give(const std::filesystem::path& working, const std::shared_ptr<const Fd>& file) {
  std::filesystem::path spare;
  {
    const std::lock_guard lock(mutex_);
    if (!stopped_ && file.use_count() == 1 && spares_.size() < kSparesMax) {
      spare = store_.SpareWorkPath(next_++);
    }
  }
  if (spare.empty() || !Keep(working, spare, *file)) {
    ::unlink(working.c_str());
    return;
  }
  {
    const std::lock_guard lock(mutex_);
    if (!stopped_) {
      spares_.push_back(std::move(spare));
      return;
    }
  }
  ::unlink(spare.c_str());
}

bool SpareFiles::Keep(const std::filesystem::path& working, const std::filesystem::path& spare,
                      const Fd& file) const {
  const auto st = StatOf(file.get());
  if (!st || st.value().st_nlink != 1 || st.value().st_mode != kMode ||
      st.value().st_size > kSizeMax || !Alone(file.get())) {
    return false;
  }
  // Its name goes before its bytes: an empty file of that name would be a version after a crash.
  if (::rename(working.c_str(), spare.c_str()) != 0) return false;
  if (Empty(spare)) return true;
  ::unlink(spare.c_str());
  return false;
}

void SpareFiles::Stop() {
  std::vector<std::filesystem::path> spares;
  {
    const std::lock_guard lock(mutex_);
    stopped_ = true;
    spares = std::move(spares_);
  }
  for (const auto& spare : spares) ::unlink(spare.c_str());
}

}  // namespace btfc::fs
