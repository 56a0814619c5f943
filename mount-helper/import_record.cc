#include "mount-helper/import_record.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <iterator>
#include <utility>

#include "fs/import_source.h"
#include "index/merkle.h"

namespace btfc::mount_helper {
namespace {

constexpr std::size_t kExamples = 3;
// Bytes. Small: what a kill finds unwritten is looked at again, and may have been deleted
// meanwhile.
constexpr std::size_t kWriteAt = 512;
constexpr unsigned kDepthMax = 1000;  // as fs::Import

using Visit = std::function<void(const std::string& path, const struct stat& stat)>;

// Every entry below a folder, a folder before what is in it, on its own filesystem only. What goes
// away meanwhile or cannot be read is left out.
Result<void> ForEach(int folder, const std::string& above, dev_t device, unsigned depth,
                     const Visit& visit, const std::function<bool()>& cancelled) {
  const auto names = fs::NamesIn(folder);
  if (!names || depth > kDepthMax) return Ok();
  for (const auto& name : names.value()) {
    if (cancelled()) return Error::kCancelled;
    struct stat stat {};
    if (fstatat(folder, name.c_str(), &stat, AT_SYMLINK_NOFOLLOW) != 0) continue;
    if (stat.st_dev != device) continue;
    visit(above + name, stat);
    if (!S_ISDIR(stat.st_mode)) continue;
    const fs::Fd inner(
        openat(folder, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (!inner) continue;
    BOOST_OUTCOME_TRYV(
        ForEach(inner.get(), above + name + "/", device, depth + 1, visit, cancelled));
  }
  return Ok();
}

Result<void> ForEach(int folder, const Visit& visit, const std::function<bool()>& cancelled) {
  struct stat stat {};
  if (fstat(folder, &stat) != 0) return Errno(errno);
  return ForEach(folder, "", stat.st_dev, 0, visit, cancelled);
}

void AppendNumber(std::string* text, std::uint64_t number) {
  for (int shift = 56; shift >= 0; shift -= 8) *text += static_cast<char>(number >> shift);
}

}  // namespace

std::size_t ImportRecord::MarkHash::operator()(const Mark& mark) const {
  std::size_t hash = 0;  // a mark is random already
  std::memcpy(&hash, mark.data(), sizeof hash);
  return hash;
}

ImportRecord::Mark ImportRecord::MarkOf(const std::string& path, const struct stat& stat) {
  std::string text = path + '\0';
  AppendNumber(&text, stat.st_mode & S_IFMT);
  // A folder's time moves with its entries, which are looked at themselves.
  if (!S_ISDIR(stat.st_mode)) {
    AppendNumber(&text, static_cast<std::uint64_t>(stat.st_size));
    AppendNumber(&text, static_cast<std::uint64_t>(stat.st_mtim.tv_sec));
    AppendNumber(&text, static_cast<std::uint64_t>(stat.st_mtim.tv_nsec));
    AppendNumber(&text, stat.st_rdev);
  }
  const auto id = index::ContentIdOf(text);
  Mark mark{};
  std::copy_n(id.root.begin(), mark.size(), mark.begin());
  return mark;
}

ImportRecord::ImportRecord(const std::filesystem::path& cache) : file_(cache / "import.record") {
  std::ifstream stream(file_, std::ios::binary);
  std::array<char, 1 + sizeof(Mark)> entry{};
  while (stream.read(entry.data(), entry.size())) {
    Mark mark{};
    std::copy(entry.begin() + 1, entry.end(), mark.begin());
    const auto how = static_cast<How>(entry[0]);
    if (how != How::kTaken && how != How::kLeft) return;
    (how == How::kTaken ? taken_ : left_).insert(mark);
  }
}

Result<ImportRecord::News> ImportRecord::Compare(int below, How known,
                                                 const std::function<bool()>& cancelled) const {
  News news;
  const auto look = [&](const std::string& path, const struct stat& stat) {
    const Mark mark = MarkOf(path, stat);
    if (taken_.contains(mark) || (known == How::kLeft && left_.contains(mark))) return;
    ++news.count;
    if (news.examples.size() < kExamples) news.examples.push_back(path);
    for (auto at = path; news.on_the_way.insert(at).second;) {
      const auto slash = at.rfind('/');
      if (slash == std::string::npos) break;
      at.resize(slash);
    }
  };
  BOOST_OUTCOME_TRYV(ForEach(below, look, cancelled));
  return news;
}

void ImportRecord::Add(How how, const std::string& path, const struct stat& stat) {
  const Mark mark = MarkOf(path, stat);
  if (!(how == How::kTaken ? taken_ : left_).insert(mark).second) return;
  unwritten_ += static_cast<char>(how);
  unwritten_.append(mark.data(), mark.size());
  if (unwritten_.size() >= kWriteAt) Flush().has_value();  // the last Flush tells
}

Result<void> ImportRecord::AddAll(How how, int below, const std::function<bool()>& cancelled) {
  BOOST_OUTCOME_TRYV(ForEach(
      below, [&](const std::string& path, const struct stat& stat) { Add(how, path, stat); },
      cancelled));
  return Flush();
}

Result<void> ImportRecord::Flush() {
  if (unwritten_.empty()) return Ok();
  const fs::Fd file(open(file_.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
  if (!file) return Errno(errno);
  // After the last whole entry: an earlier write may have been cut short.
  const off_t size = lseek(file.get(), 0, SEEK_END);
  const off_t entry = 1 + sizeof(Mark);
  off_t at = size - size % entry;
  while (!unwritten_.empty()) {
    const auto written = pwrite(file.get(), unwritten_.data(), unwritten_.size(), at);
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return Errno(errno);
    at += written;
    unwritten_.erase(0, static_cast<std::size_t>(written));
  }
  return Ok();
}

}  // namespace btfc::mount_helper
