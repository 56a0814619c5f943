#include "tests/fs/disk_log.h"

#include <sys/stat.h>

#include <algorithm>
#include <cstdio>
#include <string_view>
#include <utility>

#include "tests/fs/disk_recorder.h"

namespace btfc::fs {

using Event = DiskLog::Event;
using What = DiskLog::Event::What;

namespace {

constexpr std::uint64_t kPage = 4096;

bool IsBytes(What what) {
  return what == What::kWrite || what == What::kSize || what == What::kTimes;
}

}  // namespace

DiskLog::DiskLog(std::filesystem::path root) : root_(std::move(root)) {
  DiskRecorder& recorder = DiskRecorder::Get();
  const std::lock_guard lock(recorder.mutex);
  recorder.log = this;
  recorder.files.clear();
  DiskRecorder::watching = true;
}

void DiskLog::Stop() {
  DiskRecorder& recorder = DiskRecorder::Get();
  const std::lock_guard lock(recorder.mutex);
  DiskRecorder::watching = false;
  recorder.log = nullptr;
}

std::size_t DiskLog::Now() const {
  const std::lock_guard lock(DiskRecorder::Get().mutex);
  return events_.size();
}

std::string DiskLog::Describe(std::size_t first, std::size_t end) const {
  static constexpr const char* kWords[] = {"make",     "make folder", "link",      "rename",
                                           "exchange", "unlink",      "write",     "size",
                                           "times",    "sync",        "sync data", "sync folder"};
  std::string text;
  for (std::size_t at = first; at < end && at < events_.size(); ++at) {
    const Event& event = events_[at];
    text += std::to_string(at) + " " + kWords[static_cast<std::size_t>(event.what)] + " file " +
            std::to_string(event.file) + " at " + std::to_string(event.offset) + ", " +
            std::to_string(event.bytes.size()) + " bytes " + event.path + " " + event.to + "\n";
  }
  return text;
}

// Up to which event names are kept: no less than what a sync has promised.
std::size_t DiskLog::NamesKept(std::size_t events, Random& random) const {
  std::size_t least = 0;
  std::map<FileNo, std::size_t> named;  // the last event about a name of it
  std::map<FileNo, std::size_t> made;
  std::map<std::string, FileNo> names;
  for (std::size_t at = 0; at < events; ++at) {
    const Event& event = events_[at];
    switch (event.what) {
      case What::kFile:
        made[event.file] = named[event.file] = at + 1;
        names[event.path] = event.file;
        break;
      case What::kLink:
        named[event.file] = at + 1;
        names[event.path] = event.file;
        break;
      case What::kUnlink:
        if (const auto name = names.find(event.path); name != names.end()) {
          named[name->second] = at + 1;
          names.erase(name);
        }
        break;
      case What::kRename:
        if (const auto name = names.find(event.path); name != names.end()) {
          named[name->second] = at + 1;
          names[event.to] = name->second;
          names.erase(event.path);
        }
        break;
      case What::kExchange:
        named[names[event.path]] = named[names[event.to]] = at + 1;
        std::swap(names[event.path], names[event.to]);
        break;
      case What::kSync:
        least = std::max(least, named[event.file]);
        break;
      case What::kDataSync:
        least = std::max(least, made[event.file]);
        break;
      case What::kFolderSync:
        least = at;
        break;
      default:
        break;
    }
  }
  switch (random() % 3) {
    case 0:
      return least;
    case 1:
      return events;
    default:
      return least + random() % (events - least + 1);
  }
}

// The folders are made, the files answered.
std::map<std::string, DiskLog::FileNo> DiskLog::NamesAt(std::size_t names_kept,
                                                        const std::filesystem::path& to) const {
  std::map<std::string, FileNo> names;
  for (std::size_t at = 0; at < names_kept; ++at) {
    const Event& event = events_[at];
    switch (event.what) {
      case What::kFile:
      case What::kLink:
        names[event.path] = event.file;
        break;
      case What::kFolder:
        std::filesystem::create_directories(to / event.path);
        break;
      case What::kUnlink:
        names.erase(event.path);
        break;
      case What::kRename:
        // Two names of one file are both left alone.
        if (names.contains(event.to) && names[event.to] == names[event.path]) break;
        names[event.to] = names[event.path];
        names.erase(event.path);
        break;
      case What::kExchange:
        std::swap(names[event.path], names[event.to]);
        break;
      default:
        break;
    }
  }
  return names;
}

void DiskLog::RebuildFile(FileNo file, std::size_t events, Random& random,
                          const std::filesystem::path& path) const {
  std::vector<const Event*> safe, loose;
  for (std::size_t at = 0; at < events; ++at) {
    const Event& event = events_[at];
    if (event.file != file) continue;
    if (IsBytes(event.what)) loose.push_back(&event);
    if (event.what == What::kSync || event.what == What::kDataSync) {
      safe.insert(safe.end(), loose.begin(), loose.end());
      loose.clear();
    }
  }
  std::string bytes;
  std::uint64_t size = 0;
  timespec mtime{};
  // `kept(page)`: whether the event reached this page's place on the disk.
  const auto apply = [&](const Event& event, const auto& kept) {
    if (event.what == What::kTimes) return;
    if (event.what == What::kSize) {
      for (auto at = event.offset; at < bytes.size(); at = (at / kPage + 1) * kPage) {
        const auto end = std::min<std::uint64_t>(bytes.size(), (at / kPage + 1) * kPage);
        if (kept(at / kPage)) std::fill(bytes.begin() + at, bytes.begin() + end, '\0');
      }
      return;
    }
    const auto end = event.offset + event.bytes.size();
    if (bytes.size() < end) bytes.resize(end);
    for (auto at = event.offset; at < end;) {
      const auto until = std::min(end, (at / kPage + 1) * kPage);
      if (kept(at / kPage)) {
        std::copy_n(event.bytes.begin() + static_cast<std::ptrdiff_t>(at - event.offset),
                    until - at, bytes.begin() + static_cast<std::ptrdiff_t>(at));
      }
      at = until;
    }
  };
  const auto sized = [&](const Event& event) {
    if (event.what == What::kSize) size = event.offset;
    if (event.what == What::kWrite) size = std::max(size, event.offset + event.bytes.size());
    mtime = event.mtime;
  };
  for (const Event* event : safe) {
    apply(*event, [](std::uint64_t) { return true; });
    sized(*event);
  }
  // Nothing of the rest, all of it, or some.
  const auto fate = random() % 4;
  const std::size_t sizes = fate == 0   ? 0
                            : fate == 1 ? loose.size()
                                        : random() % (loose.size() + 1);
  std::map<std::uint64_t, std::size_t> stage;  // of a page: how many of the loose events it saw
  for (std::size_t at = 0; at < loose.size(); ++at) {
    apply(*loose[at], [&](std::uint64_t page) {
      if (fate < 2) return fate == 1;
      const auto seen = stage.try_emplace(page, random() % (loose.size() + 1)).first->second;
      return at < seen;
    });
    if (at < sizes) sized(*loose[at]);
  }
  bytes.resize(size);
  std::FILE* const out = std::fopen(path.c_str(), "wb");
  if (out == nullptr) return;
  std::fwrite(bytes.data(), 1, bytes.size(), out);
  std::fflush(out);
  const timespec times[] = {mtime, mtime};
  if (mtime.tv_sec != 0) ::futimens(::fileno(out), times);
  std::fclose(out);
}

void DiskLog::Rebuild(std::size_t events, std::uint64_t seed,
                      const std::filesystem::path& to) const {
  Random random(seed);
  const auto names = NamesAt(NamesKept(events, random), to);
  std::map<FileNo, std::filesystem::path> built;
  for (const auto& [name, file] : names) {
    std::filesystem::create_directories((to / name).parent_path());
    const auto [first, fresh] = built.try_emplace(file, to / name);
    if (!fresh) {
      std::filesystem::create_hard_link(first->second, to / name);
    } else {
      RebuildFile(file, events, random, to / name);
    }
  }
}

}  // namespace btfc::fs
