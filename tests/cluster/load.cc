// What the applications do, and what they are told.
#include "load.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <iterator>

#include "lab.h"
#include "opened_file.h"

namespace btfc::cluster {
namespace {

constexpr std::size_t kFilesMax = 30;
constexpr std::size_t kLargeMax = 3;

using Bytes = std::string;
using Fits = std::function<bool(const Bytes&)>;

Fits Exactly(Bytes bytes) {
  return [bytes = std::move(bytes)](const Bytes& there) { return there == bytes; };
}

Fits Begins(Bytes bytes) {  // a write that may have been cut short
  return [bytes = std::move(bytes)](const Bytes& there) { return bytes.starts_with(there); };
}

// `before` with the first so many bytes of `patch` written over it.
Fits Patched(const Bytes& before, std::size_t offset, const Bytes& patch) {
  return [=](const Bytes& there) {
    if (there.size() < before.size() ||
        there.size() > std::max(before.size(), offset + patch.size()))
      return false;
    std::size_t written = 0;
    while (written < patch.size() && offset + written < there.size() &&
           there[offset + written] == patch[written]) {
      ++written;
    }
    Bytes expected = before;
    if (offset + written > expected.size()) expected.resize(offset + written);
    expected.replace(offset, written, patch, 0, written);
    return there == expected;
  };
}

// What calls answer in the mount of a daemon that is dead.
bool OfTheDead(int error) { return error == ENOTCONN || error == ECONNABORTED || error == ENODEV; }

}  // namespace

Application::Application(std::filesystem::path mount, std::string name, unsigned seed)
    : mount_(std::move(mount)), name_(std::move(name)), random_(seed) {}

bool Application::Begin() {
  return Told(::mkdir((mount_ / name_).c_str(), 0755), "mkdir", "") &&
         Told(::mkdir(Path(sub_).c_str(), 0755), "mkdir", sub_);
}

bool Application::Run(const std::atomic<bool>& stop, unsigned operations) {
  gone_ = false;
  for (unsigned i = 0; i < operations && !stop && !gone_ && complaint_.empty(); ++i) {
    if (Operate()) ++done_;
  }
  return complaint_.empty();
}

bool Application::Operate() {
  if (files_.size() >= kFilesMax) return Remove();
  switch (Random(22)) {
    case 0:
    case 1:
    case 2:
      return Save();
    case 3:
    case 4:
    case 5:
      return Append();
    case 6:
    case 7:
    case 8:
      return Patch(false);
    case 9:
    case 10:
      return Patch(true);
    case 11:
      return Rewrite(false);
    case 12:
      return Rewrite(true);
    case 13:
      return Truncate();
    case 14:
      return Remove();
    case 15:
      return Move();
    case 16:
      return MoveFolder();
    case 17:
      return OpenAndClose();
    case 18:
      return ReadBack();
    default:
      return Create();
  }
}

// --- operations

bool Application::Create() { return CreateOf(RandomBytes()); }

bool Application::CreateOf(const std::string& bytes) {
  const auto name = NewName();
  Expect({{{name, std::nullopt}}, {{name, Begins(bytes)}}});
  if (!WriteNew(name, bytes, O_CREAT | O_EXCL)) return false;
  files_[name] = bytes;
  Settled();
  return true;
}

// As an editor saves: into a temporary file, then renamed over.
bool Application::Save() {
  const auto* any = Any();
  if (any == nullptr) return Create();
  const auto target = *any;
  const auto temporary = NewName();
  const auto bytes = RandomBytes();
  Expect({{{temporary, std::nullopt}}, {{temporary, Begins(bytes)}}});
  if (!WriteNew(temporary, bytes, O_CREAT | O_EXCL)) return false;
  files_[temporary] = bytes;
  Expect({{{temporary, Exactly(bytes)}, {target, Exactly(files_[target])}},
          {{temporary, std::nullopt}, {target, Exactly(bytes)}}});
  if (!Told(::rename(Path(temporary).c_str(), Path(target).c_str()), "rename", target)) {
    return false;
  }
  files_.erase(temporary);
  files_[target] = bytes;
  Settled();
  return true;
}

bool Application::Append() {
  const auto* any = Any();
  if (any == nullptr) return Create();
  const auto name = *any;
  const auto record = cluster::RandomBytes(1 + Random(3000), random_());
  const auto before = files_[name];
  Expect({{{name, Patched(before, before.size(), record)}}});
  OpenedFile file(Path(name), O_WRONLY | O_APPEND);
  if (!Told(file.fd(), "open", name) || !WriteWhole(file.fd(), record, -1, name) ||
      !Told(file.Close(), "close", name)) {
    return false;
  }
  files_[name] = before + record;
  Settled();
  return true;
}

bool Application::Patch(bool beside_a_reader) {
  const auto* any = Any();
  if (any == nullptr || files_[*any].empty()) return Create();
  const auto name = *any;
  const auto before = files_[name];
  const auto offset = Random(static_cast<unsigned>(before.size()));
  const auto length = std::min<std::size_t>(before.size() - offset, 1 + Random(20'000));
  const auto patch = cluster::RandomBytes(length, random_());
  Expect({{{name, Patched(before, offset, patch)}}});
  std::optional<OpenedFile> reader;
  if (beside_a_reader) {
    reader.emplace(Path(name), O_RDONLY);
    if (!Told(reader->fd(), "open", name)) return false;
  }
  OpenedFile file(Path(name), O_RDWR);
  if (!Told(file.fd(), "open", name) || !WriteWhole(file.fd(), patch, offset, name)) return false;
  if (Random(4) == 0 && !Told(::fsync(file.fd()), "fsync", name)) return false;
  if (!Told(file.Close(), "close", name)) return false;
  files_[name].replace(offset, patch.size(), patch);
  Settled();
  return true;
}

bool Application::Rewrite(bool beside_a_reader) {
  const auto* any = Any();
  if (any == nullptr) return Create();
  const auto name = *any;
  const auto bytes = RandomBytes();
  Expect({{{name, Exactly(files_[name])}}, {{name, Begins(bytes)}}});
  std::optional<OpenedFile> reader;
  if (beside_a_reader) {
    reader.emplace(Path(name), O_RDONLY);
    if (!Told(reader->fd(), "open", name)) return false;
  }
  if (!WriteNew(name, bytes, O_TRUNC)) return false;
  files_[name] = bytes;
  Settled();
  return true;
}

bool Application::Truncate() {
  const auto* any = Any();
  if (any == nullptr) return Create();
  const auto name = *any;
  const auto before = files_[name];
  const auto after = before.substr(0, Random(static_cast<unsigned>(before.size()) + 1));
  Expect({{{name, Exactly(before)}}, {{name, Exactly(after)}}});
  const auto path = Path(name);
  const auto size = static_cast<off_t>(after.size());
  if (!Told(TEMP_FAILURE_RETRY(::truncate(path.c_str(), size)), "truncate", name)) return false;
  files_[name] = after;
  Settled();
  return true;
}

bool Application::Remove() {
  const auto* any = Any();
  if (any == nullptr) return Create();
  const auto name = *any;
  Expect({{{name, std::nullopt}}, {{name, Exactly(files_[name])}}});
  if (!Told(::unlink(Path(name).c_str()), "unlink", name)) return false;
  files_.erase(name);
  Settled();
  return true;
}

bool Application::Move() {
  const auto* any = Any();
  if (any == nullptr) return Create();
  const auto name = *any;
  const auto target = sub_ + "/" + NewName();
  const auto bytes = files_[name];
  Expect({{{name, Exactly(bytes)}, {target, std::nullopt}},
          {{name, std::nullopt}, {target, Exactly(bytes)}}});
  if (!Told(::rename(Path(name).c_str(), Path(target).c_str()), "rename", name)) return false;
  files_.erase(name);
  files_[target] = bytes;
  Settled();
  return true;
}

bool Application::MoveFolder() {
  const auto target = "sub" + std::to_string(++next_);
  Outcome here;
  Outcome there;
  std::map<std::string, Bytes> after;
  for (const auto& [name, bytes] : files_) {
    if (!name.starts_with(sub_ + "/")) {
      after[name] = bytes;
      continue;
    }
    const auto moved = target + name.substr(sub_.size());
    here[name] = there[moved] = Exactly(bytes);
    here[moved] = there[name] = std::nullopt;
    after[moved] = bytes;
  }
  Expect({here, there});
  if (!Told(::rename(Path(sub_).c_str(), Path(target).c_str()), "rename", sub_)) {
    return false;  // Check looks which of the two is there
  }
  files_ = std::move(after);
  sub_ = target;
  Settled();
  return true;
}

bool Application::OpenAndClose() {
  const auto* any = Any();
  if (any == nullptr) return Create();
  OpenedFile file(Path(*any), O_RDWR);
  return Told(file.fd(), "open", *any) && Told(file.Close(), "close", *any);
}

bool Application::ReadBack() {
  const auto* any = Any();
  if (any == nullptr) return Create();
  OpenedFile file(Path(*any), O_RDONLY);
  if (!Told(file.fd(), "open", *any)) return false;
  Bytes bytes(files_[*any].size() + 1, '\0');
  const auto got = ::pread(file.fd(), bytes.data(), bytes.size(), 0);
  if (!Told(got, "read", *any)) return false;
  bytes.resize(static_cast<std::size_t>(got));
  return bytes == files_[*any] || Complain(*any + " reads otherwise than it was written");
}

// --- calls

bool Application::Told(long result, const char* call, const std::string& name) {
  if (result >= 0) return true;
  const int problem = errno;
  // A request that the daemon was just reading when it was killed ends with EIO (fuse_dev_do_read
  // in the kernel's fs/fuse/dev.c); then the next call finds nobody there.
  struct statvfs status {};
  gone_ = OfTheDead(problem) ||
          (problem == EIO && ::statvfs(mount_.c_str(), &status) != 0 && OfTheDead(errno));
  if (!gone_) Complain(fmt::format("{} {}: {}", call, name, std::strerror(problem)));
  return false;
}

bool Application::WriteWhole(int fd, const Bytes& bytes, long offset, const std::string& name) {
  const auto written = offset < 0 ? ::write(fd, bytes.data(), bytes.size())
                                  : ::pwrite(fd, bytes.data(), bytes.size(), offset);
  if (!Told(written, "write", name)) return false;
  gone_ = written != static_cast<ssize_t>(bytes.size());
  return !gone_;
}

bool Application::WriteNew(const std::string& name, const Bytes& bytes, int flags) {
  OpenedFile file(Path(name), O_WRONLY | flags);
  if (!Told(file.fd(), "open", name) || !WriteWhole(file.fd(), bytes, 0, name)) return false;
  if (Random(8) == 0 && !Told(::fsync(file.fd()), "fsync", name)) return false;
  return Told(file.Close(), "close", name);
}

// --- choices

std::string Application::Path(const std::string& name) const { return mount_ / name_ / name; }

std::string Application::NewName() { return "f" + std::to_string(++next_); }

const std::string* Application::Any() {
  if (files_.empty()) return nullptr;
  return &std::next(files_.begin(), Random(static_cast<unsigned>(files_.size())))->first;
}

// Of every kind: in the index, objects, and those whose own file is written to.
Application::Bytes Application::RandomBytes() {
  const auto large = std::count_if(files_.begin(), files_.end(),
                                   [](const auto& file) { return file.second.size() > 1U << 20U; });
  switch (Random(8)) {
    case 0:
      return cluster::RandomBytes(16'384 + Random(2), random_());
    case 1:
      return cluster::RandomBytes(17'000 + Random(200'000), random_());
    case 2:
      if (static_cast<std::size_t>(large) < kLargeMax) {
        return cluster::RandomBytes(1'100'000 + Random(800'000), random_());
      }
      return {};
    default:
      return cluster::RandomBytes(Random(6000), random_());
  }
}

unsigned Application::Random(unsigned below) {
  return std::uniform_int_distribution<unsigned>(0, below - 1)(random_);
}

}  // namespace btfc::cluster
