#include "torrent/layers.h"

#include <fcntl.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string>
#include <utility>

#include "torrent/content_info.h"
#include "torrent/private_file.h"

namespace btfc::torrent {
namespace {

constexpr std::uint64_t kKeptMax = std::uint64_t{256} * 1024 * 1024;  // bytes
constexpr std::size_t kLayerFileMax = std::size_t{64} * 1024 * 1024;  // bytes
constexpr unsigned kThreads = 2;

void DropOldest(const std::filesystem::path& folder) {
  namespace fs = std::filesystem;
  std::vector<std::pair<fs::file_time_type, fs::path>> files;
  std::uint64_t total = 0;
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(folder, ignored)) {
    const auto size = entry.file_size(ignored);
    if (ignored) continue;
    total += size;
    files.emplace_back(entry.last_write_time(ignored), entry.path());
  }
  if (total <= kKeptMax) return;
  std::sort(files.begin(), files.end());
  for (const auto& [time, path] : files) {
    if (total <= kKeptMax) break;
    total -= std::min<std::uint64_t>(total, fs::file_size(path, ignored));
    fs::remove(path, ignored);
  }
}

}  // namespace

Layers::Layers(std::filesystem::path folder) : folder_(std::move(folder)) {
  std::error_code error;
  std::filesystem::create_directories(folder_, error);
  if (error) spdlog::warn("cannot keep hashes in {}: {}", folder_.string(), error.message());
  DropOldest(folder_);
}

std::filesystem::path Layers::File(const index::ContentId& id) const {
  return folder_ / index::ContentName(id);
}

std::optional<std::vector<index::Hash>> Layers::Find(const index::ContentId& id) const {
  if (PieceCount(id.size) <= 1) return std::vector<index::Hash>();
  const auto bytes = ReadSmallFile(File(id), kLayerFileMax, /*only_owner=*/false);
  if (!bytes || bytes.value().size() != PieceCount(id.size) * sizeof(index::Hash)) {
    return std::nullopt;
  }
  std::vector<index::Hash> layer(PieceCount(id.size));
  std::memcpy(layer.data(), bytes.value().data(), bytes.value().size());
  if (!IsLayerOf(id, layer)) return std::nullopt;
  return layer;
}

bool Layers::Has(const index::ContentId& id) const { return ::access(File(id).c_str(), R_OK) == 0; }

void Layers::Keep(const index::ContentId& id, const std::vector<index::Hash>& layer) const {
  if (layer.empty()) return;
  ++kept_;
  const std::filesystem::path file = File(id);
  const std::filesystem::path fresh = file.string() + ".new";
  const int fd = ::open(fresh.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (fd < 0) return;
  const auto size = static_cast<ssize_t>(layer.size() * sizeof(index::Hash));
  // Not fsynced: what a crash damages is found out by the root.
  const bool written = ::write(fd, layer.data(), static_cast<std::size_t>(size)) == size;
  ::close(fd);
  if (!written || ::rename(fresh.c_str(), file.c_str()) != 0) ::unlink(fresh.c_str());
}

void Layers::DropUseless(const std::function<bool(const index::ContentId&)>& of_use,
                         std::chrono::seconds age) const {
  if (kept_ < kKeptBetween) return;
  kept_ = 0;
  const auto before = std::filesystem::file_time_type::clock::now() - age;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(folder_, error)) {
    const auto written = entry.last_write_time(error);
    if (error || written > before) continue;
    const auto id =
        index::ParseContentName(entry.path().filename().native());  // or a file left half written
    if (!id || !of_use(*id)) std::filesystem::remove(entry.path(), error);
  }
}

Result<std::vector<index::Hash>> Layers::Of(const index::ContentId& id,
                                            const std::filesystem::path& file,
                                            const std::function<bool()>& cancelled) const {
  if (auto kept = Find(id)) return std::move(*kept);
  const int fd = ::open(file.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return Errno(errno);
  auto hashed = index::HashFile(fd, cancelled, kThreads);
  ::close(fd);
  if (!hashed) return hashed.error();
  if (hashed.value().id != id) return Error::kCorrupt;
  Keep(id, hashed.value().pieces);
  return std::move(hashed.value().pieces);
}

}  // namespace btfc::torrent
