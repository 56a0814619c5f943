#include "torrent/partial_file.h"

#include <fcntl.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "torrent/content_info.h"
#include "torrent/private_file.h"

namespace btfc::torrent {
namespace {

constexpr std::size_t kNoteMax = std::size_t{16} * 1024 * 1024;  // bytes
constexpr std::uint64_t kCopyChunk = 8 * 1024 * 1024;            // bytes
constexpr std::uint64_t kCopyRun = 16;                           // pieces

// Blocks of filesystems, and the shortest run of zeros that is worth a hole: shorter ones would
// only scatter the file.
constexpr std::uint64_t kPunchBlock = 4096;           // bytes
constexpr std::uint64_t kPunchMin = 4 * kPunchBlock;  // bytes
constexpr std::uint64_t kPunchPeek = 32;              // bytes

class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  int get() const { return fd_; }

 private:
  const int fd_;
};

// Bytes that lie where those of another file do (reflinks). 0 where the filesystem does not tell,
// as most that have none. FIEMAP: Linux, Documentation/filesystems/fiemap.rst.
std::uint64_t SharedBytes(int fd) {
  constexpr std::size_t kAtOnce = 256;  // extents
  std::vector<std::uint64_t> room((sizeof(fiemap) + kAtOnce * sizeof(fiemap_extent)) / 8);
  auto* request = reinterpret_cast<fiemap*>(room.data());  // NOLINT(*-reinterpret-cast)
  std::uint64_t shared = 0;
  for (std::uint64_t from = 0;;) {
    *request = {};
    request->fm_start = from;
    request->fm_length = FIEMAP_MAX_OFFSET - from;
    request->fm_extent_count = kAtOnce;
    if (::ioctl(fd, FS_IOC_FIEMAP, request) != 0) return shared;
    const std::span found(request->fm_extents, request->fm_mapped_extents);
    if (found.empty()) return shared;
    for (const fiemap_extent& extent : found) {
      if ((extent.fe_flags & FIEMAP_EXTENT_SHARED) != 0) shared += extent.fe_length;
      if ((extent.fe_flags & FIEMAP_EXTENT_LAST) != 0) return shared;
      from = extent.fe_logical + extent.fe_length;
    }
  }
}

std::string BootId() {
  const auto id = ReadSmallFile("/proc/sys/kernel/random/boot_id", 4096, /*only_owner=*/false);
  return id ? id.value() : std::string();
}

std::string NoteHead(const index::ContentId& id, const struct stat& status) {
  return "btfc partial 1\n" + index::ToHex(id) + " " + std::to_string(id.size) + " " +
         std::to_string(status.st_ino) + "\n" + BootId();
}

std::optional<std::vector<bool>> ReadNote(const PartialFile& partial, const index::ContentId& id,
                                          int fd) {
  const auto note = ReadSmallFile(partial.note, kNoteMax, /*only_owner=*/false);
  struct stat status {};
  if (!note || ::fstat(fd, &status) != 0) return std::nullopt;
  const std::string head = NoteHead(id, status);
  const std::uint64_t count = PieceCount(id.size);
  if (!note.value().starts_with(head) || note.value().size() != head.size() + count) {
    return std::nullopt;
  }
  std::vector<bool> have(count);
  for (std::uint64_t i = 0; i < count; ++i) have[i] = note.value()[head.size() + i] == '1';
  return have;
}

// Reads [offset, offset + size) into the buffer; fewer bytes at the end of the file.
std::size_t ReadAt(int fd, std::uint64_t offset, std::string& buffer) {
  std::size_t done = 0;
  while (done < buffer.size()) {
    const ssize_t n =
        ::pread(fd, buffer.data() + done, buffer.size() - done, static_cast<off_t>(offset + done));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) break;
    done += static_cast<std::size_t>(n);
  }
  return done;
}

bool PieceMatches(int fd, const index::ContentId& id, const std::vector<index::Hash>& layer,
                  std::uint64_t piece, std::string& buffer) {
  const std::uint64_t length = index::PieceLength(id.size);
  const std::uint64_t offset = piece * length;
  buffer.resize(std::min(length, id.size - offset));
  return ReadAt(fd, offset, buffer) == buffer.size() &&
         HashPiece(buffer, id.size) == PieceHash(id, layer, piece);
}

Result<std::vector<bool>> HashAll(int fd, const index::ContentId& id,
                                  const std::vector<index::Hash>& layer,
                                  const std::function<bool()>& cancelled) {
  const std::uint64_t length = index::PieceLength(id.size);
  std::vector<bool> have(PieceCount(id.size));
  std::string buffer;
  for (std::uint64_t piece = 0; piece < have.size();) {
    if (cancelled()) return Error::kCancelled;
    // What was never written is a hole.
    const off_t data = ::lseek(fd, static_cast<off_t>(piece * length), SEEK_DATA);
    if (data < 0 && errno == ENXIO) break;
    if (data >= 0) piece = std::max(piece, static_cast<std::uint64_t>(data) / length);
    if (piece >= have.size()) break;  // the file may be longer than the object
    have[piece] = PieceMatches(fd, id, layer, piece, buffer);
    ++piece;
  }
  return have;
}

bool Punch(int fd, std::uint64_t offset, std::uint64_t size) {
  return ::fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, static_cast<off_t>(offset),
                     static_cast<off_t>(size)) == 0;
}

// Holes stay holes: without shared extents copy_file_range writes them as zeros. Error::kCorrupt if
// the file ends before `end`.
Result<void> CopyRange(int to, int from, std::uint64_t begin, std::uint64_t end,
                       const std::function<bool()>& cancelled) {
  auto at = static_cast<loff_t>(begin);
  const auto stop = static_cast<loff_t>(end);
  while (at < stop) {
    if (cancelled()) return Error::kCancelled;
    const off_t data = ::lseek(from, at, SEEK_DATA);
    const loff_t hole_end = data >= 0 ? data : (errno == ENXIO ? stop : at);
    const loff_t skip = std::min(hole_end, stop) - at;
    // Something may stand there, of a piece that has not come as a whole.
    if (skip > 0 && Punch(to, static_cast<std::uint64_t>(at), static_cast<std::uint64_t>(skip))) {
      at += skip;
      continue;
    }
    const off_t hole = ::lseek(from, at, SEEK_HOLE);
    const loff_t until = hole > at ? std::min<loff_t>(hole, stop) : stop;
    loff_t out = at;
    const auto want = std::min<std::uint64_t>(kCopyChunk, static_cast<std::uint64_t>(until - at));
    const ssize_t n = ::copy_file_range(from, &at, to, &out, want, 0);
    if (n < 0 && errno != EINTR) return Errno(errno);
    if (n == 0) return Error::kCorrupt;
  }
  return Ok();
}

// Pieces that are all zeros are known by their hashes: nobody has to send them. The file has its
// full length; where `empty`, nothing was ever written to it.
void TakeZeroPieces(int fd, const index::ContentId& id, const std::vector<index::Hash>& layer,
                    bool empty, std::vector<bool>& have) {
  const std::uint64_t length = index::PieceLength(id.size);
  const auto hash_of_zeros = [&id](std::uint64_t size) {
    return HashPiece(std::string(size, '\0'), id.size);
  };
  const index::Hash zeros = hash_of_zeros(std::min(length, id.size));
  for (std::uint64_t piece = 0; piece < have.size(); ++piece) {
    if (have[piece]) continue;
    const std::uint64_t size = std::min(length, id.size - piece * length);
    const bool zero = PieceHash(id, layer, piece) == (size == length ? zeros : hash_of_zeros(size));
    if (zero) have[piece] = empty || Punch(fd, piece * length, size);
  }
}

bool IsZero(std::string_view bytes) {
  return bytes.empty() ||
         (bytes[0] == 0 && std::memcmp(bytes.data(), bytes.data() + 1, bytes.size() - 1) == 0);
}

bool AnyOf(const std::vector<bool>& pieces) {
  return std::find(pieces.begin(), pieces.end(), true) != pieces.end();
}

// Copies the pieces that are `common`; where extents can be shared, all of the file at once if none
// of `have` would suffer.
Result<void> CopyPieces(int to, int from, const index::ContentId& id, const BaseObject& base,
                        std::vector<bool> common, const std::vector<bool>& have,
                        const std::function<bool()>& cancelled, const CopyHooks& hooks) {
  const std::uint64_t end = std::min(id.size, base.id.size);
  if (!AnyOf(have) && !base.only && ::ioctl(to, FICLONE, from) == 0) {
    return ::ftruncate(to, static_cast<off_t>(id.size)) == 0 ? Ok() : Result<void>(Errno(errno));
  }
  const std::uint64_t length = index::PieceLength(id.size);
  std::uint64_t next = 0;  // all before it are copied
  for (;;) {
    while (next < common.size() && !common[next]) ++next;
    if (next == common.size()) return Ok();
    std::uint64_t first = next;
    for (const std::uint64_t piece : hooks.read()) {
      if (piece >= common.size() || !common[piece]) continue;
      first = piece;
      break;
    }
    std::uint64_t last = first;
    while (last + 1 < std::min(common.size(), first + kCopyRun) && common[last + 1]) ++last;
    BOOST_OUTCOME_TRYV(
        CopyRange(to, from, first * length, std::min((last + 1) * length, end), cancelled));
    for (std::uint64_t piece = first; piece <= last; ++piece) common[piece] = false;
    hooks.copied(first, last);
  }
}

bool SameTime(const timespec& a, const timespec& b) {
  return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
}

// One and the same file, which was not written to nor changed its mode in between: an object that
// becomes a working file does before anybody can write to it.
bool Untouched(const struct stat& a, const struct stat& b) {
  return a.st_dev == b.st_dev && a.st_ino == b.st_ino && a.st_size == b.st_size &&
         SameTime(a.st_mtim, b.st_mtim) && SameTime(a.st_ctim, b.st_ctim);
}

// What is missing and stands in the base. Equal hashes of pieces mean equal bytes, and of the same
// number, if pieces are equally long.
std::vector<bool> Common(const index::ContentId& id, const std::vector<index::Hash>& layer,
                         const BaseObject& base, const std::vector<bool>& have) {
  std::vector<bool> common(have.size());
  if (index::PieceLength(id.size) != index::PieceLength(base.id.size)) return common;
  for (std::size_t i = 0; i < std::min(layer.size(), base.layer.size()); ++i) {
    const bool may = !base.only || base.only->contains(i);
    common[i] = may && !have[i] && layer[i] == base.layer[i];
  }
  return common;
}

Result<void> TakeFromBase(int fd, const index::ContentId& id, const std::vector<index::Hash>& layer,
                          const BaseObject& base, const std::function<bool()>& cancelled,
                          const CopyHooks& hooks, std::vector<bool>& have) {
  const std::vector<bool> common = Common(id, layer, base, have);
  // Who appended to a file made its last piece another one, which begins with the same bytes.
  const std::uint64_t last = have.size() - 1;
  const bool appended = !layer.empty() && !have[last] && !common[last] && base.id.size > id.size &&
                        (!base.only || base.only->contains(last));
  if (!AnyOf(common) && !appended) return Ok();
  struct stat before {};
  if (::lstat(base.file.c_str(), &before) != 0) return Ok();
  if (static_cast<std::uint64_t>(before.st_size) != base.id.size) return Ok();
  const Descriptor from(::open(base.file.c_str(), O_RDONLY | O_CLOEXEC));
  if (from.get() < 0) return Ok();
  const auto copied = CopyPieces(fd, from.get(), id, base, common, have, cancelled, hooks);
  if (!copied && copied.error() != Error::kCorrupt) return copied;
  if (copied && appended) {
    const auto begin = last * index::PieceLength(id.size);
    const auto tail = CopyRange(fd, from.get(), begin, id.size, cancelled);
    if (!tail && tail.error() != Error::kCorrupt) return tail;
    std::string buffer;
    have[last] = tail && PieceMatches(fd, id, layer, last, buffer);
  }
  // Its file may have become a working file meanwhile, with or without another in its place, and
  // have been written to.
  struct stat after {};
  struct stat named {};
  if (!copied || ::fstat(from.get(), &after) != 0 || !Untouched(before, after) ||
      ::lstat(base.file.c_str(), &named) != 0 || !Untouched(before, named)) {
    return Ok();
  }
  for (std::size_t i = 0; i < have.size(); ++i) have[i] = have[i] || common[i];
  return Ok();
}

// Of a file that is empty, and stays so.
bool CanClone(int fd, const BaseObject& base) {
  const Descriptor from(::open(base.file.c_str(), O_RDONLY | O_CLOEXEC));
  if (from.get() < 0 || ::ioctl(fd, FICLONE, from.get()) != 0) return false;
  return ::ftruncate(fd, 0) == 0;
}

// The pieces that are better copied when the others have come; none if that is not so.
std::vector<bool> Later(int fd, const index::ContentId& id, const std::vector<index::Hash>& layer,
                        const std::vector<BaseObject>& bases, std::uint64_t few_bytes) {
  const std::uint64_t length = index::PieceLength(id.size);
  const std::vector<bool> none(PieceCount(id.size));
  std::vector<bool> later = none;
  for (const auto& base : bases) {
    const auto common = Common(id, layer, base, later);
    for (std::size_t i = 0; i < later.size(); ++i) later[i] = later[i] || common[i];
  }
  std::uint64_t rest = 0;
  for (std::size_t i = 0; i < later.size(); ++i) {
    if (!later[i]) rest += std::min(length, id.size - i * length);
  }
  const bool worth = rest > 0 && rest <= few_bytes && id.size - rest > few_bytes;
  return worth && !CanClone(fd, bases.front()) ? later : none;
}

}  // namespace

int OpenPartial(const std::filesystem::path& file, int flags) {
  std::error_code ignored;
  std::filesystem::create_directories(file.parent_path(), ignored);
  const auto open = [&] { return ::open(file.c_str(), flags | O_CREAT | O_CLOEXEC, 0600); };
  const int fd = open();
  return fd < 0 && errno == EACCES && ::chmod(file.c_str(), 0600) == 0 ? open() : fd;
}

Result<std::vector<bool>> PreparePartial(
    const PartialFile& partial, const index::ContentId& id, const std::vector<index::Hash>& layer,
    const std::function<std::optional<BaseObject>()>& next_base,
    const std::function<bool()>& cancelled, const CopyHooks& hooks) {
  const Descriptor fd(OpenPartial(partial.file, O_RDWR));
  if (fd.get() < 0) return Errno(errno);
  struct stat status {};
  if (::fstat(fd.get(), &status) != 0) return Errno(errno);
  const bool fresh = status.st_size == 0;
  auto noted = fresh ? std::nullopt : ReadNote(partial, id, fd.get());
  // From now on the file changes.
  ::unlink(partial.note.c_str());
  std::vector<bool> have(PieceCount(id.size));
  if (noted && static_cast<std::uint64_t>(status.st_size) == id.size) {
    have = std::move(*noted);
  } else if (!fresh) {
    BOOST_OUTCOME_TRY(found, HashAll(fd.get(), id, layer, cancelled));
    have = std::move(found);
  }
  bool empty = fresh;
  while (std::find(have.begin(), have.end(), false) != have.end()) {
    const auto base = next_base();
    if (!base) break;
    BOOST_OUTCOME_TRYV(TakeFromBase(fd.get(), id, layer, *base, cancelled, hooks, have));
    empty = false;
  }
  if (::ftruncate(fd.get(), static_cast<off_t>(id.size)) != 0) return Errno(errno);
  TakeZeroPieces(fd.get(), id, layer, empty, have);
  return have;
}

std::optional<PartialPieces> PrepareFew(const PartialFile& partial, const index::ContentId& id,
                                        const std::vector<index::Hash>& layer,
                                        const std::vector<BaseObject>& bases,
                                        std::uint64_t few_bytes) {
  const Descriptor fd(OpenPartial(partial.file, O_RDWR));
  struct stat status {};
  if (fd.get() < 0 || ::fstat(fd.get(), &status) != 0 || status.st_size != 0) return std::nullopt;
  PartialPieces pieces;
  pieces.have.resize(PieceCount(id.size));
  pieces.later = Later(fd.get(), id, layer, bases, few_bytes);
  if (!AnyOf(pieces.later)) return std::nullopt;
  ::unlink(partial.note.c_str());
  if (::ftruncate(fd.get(), static_cast<off_t>(id.size)) != 0) return std::nullopt;
  TakeZeroPieces(fd.get(), id, layer, /*empty=*/true, pieces.have);
  for (std::size_t i = 0; i < pieces.have.size(); ++i) {
    pieces.later[i] = pieces.later[i] && !pieces.have[i];
  }
  return pieces;
}

void PunchZeros(const std::filesystem::path& file, std::uint64_t begin, std::uint64_t end) {
  const Descriptor fd(::open(file.c_str(), O_RDWR | O_CLOEXEC));
  if (fd.get() < 0) return;
  std::string block;
  std::uint64_t run = begin;  // where the zeros that end at `at` begin
  const auto end_run = [&](std::uint64_t at) {
    if (at - run >= kPunchMin) Punch(fd.get(), run, at - run);
  };
  for (std::uint64_t at = begin; at < end; at += kPunchBlock) {
    const std::uint64_t size = std::min(kPunchBlock, end - at);
    // Most blocks say in their first bytes that they are none.
    block.resize(std::min<std::uint64_t>(size, kPunchPeek));
    bool zero = ReadAt(fd.get(), at, block) == block.size() && IsZero(block);
    if (zero) {
      block.resize(size);
      zero = ReadAt(fd.get(), at, block) == size && IsZero(block);
    }
    if (zero) continue;
    end_run(at);
    run = at + size;
  }
  end_run(end);
}

std::uint64_t OwnDiskBytes(const std::filesystem::path& file) {
  const Descriptor fd(::open(file.c_str(), O_RDONLY | O_CLOEXEC));
  struct stat st {};
  if (fd.get() < 0 || ::fstat(fd.get(), &st) != 0) return 0;
  const auto all = static_cast<std::uint64_t>(st.st_blocks) * 512;
  return all - std::min(all, SharedBytes(fd.get()));
}

void NotePartial(const PartialFile& partial, const index::ContentId& id,
                 const std::vector<bool>& have) {
  struct stat status {};
  if (::stat(partial.file.c_str(), &status) != 0) return;
  std::string note = NoteHead(id, status);
  for (const bool there : have) note += there ? '1' : '0';
  std::error_code ignored;
  std::filesystem::create_directories(partial.note.parent_path(), ignored);
  // Without it everything is hashed: nothing to report.
  if (!WritePrivateFile(partial.note, note, IfExists::kReplace)) ::unlink(partial.note.c_str());
}

bool PieceIsThere(const std::filesystem::path& file, const index::ContentId& id,
                  const std::vector<index::Hash>& layer, std::uint64_t piece) {
  const Descriptor fd(::open(file.c_str(), O_RDONLY | O_CLOEXEC));
  std::string buffer;
  return fd.get() >= 0 && PieceMatches(fd.get(), id, layer, piece, buffer);
}

}  // namespace btfc::torrent
