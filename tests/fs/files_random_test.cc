// Random operations on a few files, compared with a model of them; one seed repeats a run.
#include <random>

#include "tests/fs/files_fixture.h"

namespace btfc::fs {
namespace {

class History {
 public:
  History(unsigned seed, bool passthrough) : random_(seed), passthrough_(passthrough), host_('a') {
    host_.Start(passthrough_);
    for (int i = 0; i < kFiles; ++i) {
      files_.push_back({host_.Make("f" + std::to_string(i)), {}});
      const auto opened = host_.Create(files_.back().ino);
      host_.Close(opened.handle);
    }
  }

  void Step() {
    switch (Below(16)) {
      case 0:
      case 1:
      case 2:
        return Open(Any());
      case 3:
      case 4:
      case 5:
        return Write();
      case 6:
      case 7:
        return Close();
      case 8:
        return TruncateByPath(Any());
      case 9:
        return TruncateByHandle();
      case 10:
        return MakeEqual(Any(), Any());
      case 11:
        return Supersede(Any());
      case 12:
        return Below(4) == 0 ? Crash() : Check();
      default:
        return Read();
    }
  }
  void Finish() {
    while (!handles_.empty()) Close();
    ASSERT_TRUE(host_.Quiet());
    Check();
    for (const auto& file : files_) EXPECT_TRUE(Same(host_.ReadAll(file.ino), file.bytes));
    EXPECT_TRUE(host_.catalogue->DirtyFiles().value().empty());
    EXPECT_EQ(host_.backing.registered(), 0U);
    EXPECT_TRUE(Eventually([&] { return host_.WorkNames().empty(); }));
  }

 private:
  static constexpr int kFiles = 3;
  struct File {
    index::Ino ino = 0;
    std::string bytes;
  };
  struct Open_ {
    std::size_t file = 0;
    Opened opened;
    Fd below;  // what the kernel opened, with passthrough
    bool writer = false;
    std::optional<std::string> kept;  // superseded: its own bytes
  };

  std::size_t Below(std::size_t limit) {
    return std::uniform_int_distribution<std::size_t>(0, limit - 1)(random_);
  }
  std::size_t Any() { return Below(files_.size()); }
  std::size_t AnySize() {
    static constexpr std::size_t kSizes[] = {0, 1, 5000, 16384, 16385, 100000, 1048576, 1200000};
    return kSizes[Below(std::size(kSizes))];
  }
  std::string AnyBytes(std::size_t size) { return Bytes(size, static_cast<unsigned>(random_())); }
  bool HasWriter(std::size_t file) const {
    return std::any_of(handles_.begin(), handles_.end(),
                       [&](const auto& open) { return open.file == file && open.writer; });
  }

  void Open(std::size_t file) {
    if (handles_.size() > 8) return;
    static constexpr int kFlags[] = {O_RDONLY, O_RDONLY, O_RDWR, O_RDWR | O_TRUNC};
    const int flags = kFlags[Below(std::size(kFlags))];
    const auto opened = host_.Open(files_[file].ino, flags);
    ASSERT_TRUE(opened) << opened.error().message();
    for (const auto& other : handles_) {
      if (other.file != file || other.kept) continue;
      // What the kernel takes together (a mixture is EIO at the application's open).
      ASSERT_EQ(opened.value().mode, other.opened.mode);
      ASSERT_EQ(opened.value().backing_id, other.opened.backing_id);
    }
    Open_ open;
    open.file = file;
    open.opened = opened.value();
    open.writer = flags != O_RDONLY;
    if (open.opened.mode == KernelMode::kPassthrough) {
      open.below = host_.backing.Open(open.opened.backing_id, flags & O_ACCMODE);
    }
    if ((flags & O_TRUNC) != 0) files_[file].bytes.clear();
    handles_.push_back(std::move(open));
  }
  void Write() {
    if (handles_.empty()) return;
    auto& open = handles_[Below(handles_.size())];
    if (!open.writer) return;
    auto& bytes = files_[open.file].bytes;
    const auto offset = Below(4) == 0 ? bytes.size() : Below(bytes.size() + 1);
    PutAt(open, offset, AnyBytes(Below(3) == 0 ? AnySize() : 100));
  }
  void PutAt(const Open_& open, std::size_t offset, const std::string& part) {
    auto& bytes = files_[open.file].bytes;
    if (open.below) {
      ASSERT_TRUE(WriteAll(open.below.get(), offset, part));
    } else {
      host_.Write(open.opened.handle, part, offset);
    }
    bytes.resize(std::max(bytes.size(), offset + part.size()));
    bytes.replace(offset, part.size(), part);
  }
  void Read() {
    if (handles_.empty()) return;
    const auto& open = handles_[Below(handles_.size())];
    const auto& bytes = open.kept ? *open.kept : files_[open.file].bytes;
    const auto got = open.below ? ReadUpTo(open.below.get(), 0, bytes.size() + 1)
                                : host_.Read(open.opened.handle, 0, bytes.size() + 1);
    ASSERT_TRUE(got) << got.error().message();
    ASSERT_TRUE(Same(got.value(), bytes));
  }
  void Close() {
    if (handles_.empty()) return;
    const auto at = handles_.begin() + static_cast<std::ptrdiff_t>(Below(handles_.size()));
    Open_ open = std::move(*at);
    handles_.erase(at);
    open.below.Reset();
    host_.Close(open.opened.handle);
  }
  void TruncateByPath(std::size_t file) {
    const auto size = AnySize();
    Answer<void> answer;
    host_.files->Truncate(files_[file].ino, std::nullopt, size, answer.Done());
    const auto result = answer.Wait();
    ASSERT_TRUE(result) << result.error().message();
    files_[file].bytes.resize(size);
  }
  void TruncateByHandle() {
    if (handles_.empty()) return;
    const auto& open = handles_[Below(handles_.size())];
    if (!open.writer) return;
    const auto size = AnySize();
    Answer<void> answer;
    host_.files->Truncate(files_[open.file].ino, open.opened.handle, size, answer.Done());
    ASSERT_TRUE(answer.Wait());
    files_[open.file].bytes.resize(size);
  }
  // Two inodes with one content.
  void MakeEqual(std::size_t from, std::size_t to) {
    if (from == to) return;
    Open_ open;
    open.file = to;
    const auto opened = host_.Open(files_[to].ino, O_WRONLY | O_TRUNC);
    ASSERT_TRUE(opened);
    open.opened = opened.value();
    if (open.opened.mode == KernelMode::kPassthrough) {
      open.below = host_.backing.Open(open.opened.backing_id, O_WRONLY);
    }
    files_[to].bytes.clear();
    PutAt(open, 0, files_[from].bytes);
    open.below.Reset();
    host_.Close(open.opened.handle);
  }
  // As a delta does that brings another host's version.
  void Supersede(std::size_t file) {
    if (HasWriter(file)) return;
    ASSERT_TRUE(Committed(file));
    auto& old = files_[file];
    const auto now = AnyBytes(Below(16384));
    if (now == old.bytes) return;
    ASSERT_TRUE(host_.catalogue->BeginWrite(old.ino, false));
    ASSERT_TRUE(host_.catalogue->Commit(old.ino, {index::ContentIdOf(now), now, 1}, false));
    bool open_here = false;
    for (auto& open : handles_) {
      if (open.file != file || open.kept) continue;
      open.kept = old.bytes;
      open_here = true;
    }
    ASSERT_EQ(host_.ContentChanged(old.ino), open_here);
    old.bytes = now;
  }
  bool Committed(std::size_t file) {
    return Eventually([&] { return !host_.files->Stat(files_[file].ino); });
  }
  void Check() {
    for (std::size_t i = 0; i < files_.size(); ++i) {
      const auto live = host_.files->Stat(files_[i].ino);
      if (live) {
        ASSERT_EQ(live->size, files_[i].bytes.size());
      }
      if (HasWriter(i)) continue;
      ASSERT_TRUE(Committed(i));
      ASSERT_EQ(host_.Id(files_[i].ino), index::ContentIdOf(files_[i].bytes));
    }
  }
  void Crash() {
    for (auto& open : handles_) open.below.Reset();
    handles_.clear();
    host_.Crash();
    host_.backing.Reset();
    host_.Start(passthrough_);
  }

  std::mt19937 random_;
  const bool passthrough_;
  Host host_;
  std::vector<File> files_;
  std::vector<Open_> handles_;
};

class FilesRandom : public testing::TestWithParam<std::tuple<unsigned, bool>> {};
INSTANTIATE_TEST_SUITE_P(Seeds, FilesRandom,
                         testing::Combine(testing::Range(1U, 13U), testing::Bool()));

TEST_P(FilesRandom, AsTheModel) {
  const auto [seed, passthrough] = GetParam();
  History run(seed, passthrough);
  for (int step = 0; step < 250 && !HasFailure(); ++step) run.Step();
  if (!HasFailure()) run.Finish();
}

}  // namespace
}  // namespace btfc::fs
