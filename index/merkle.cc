#include "index/merkle.h"

#include <fcntl.h>
#include <openssl/evp.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <bit>
#include <cerrno>
#include <mutex>
#include <new>
#include <optional>
#include <thread>

namespace btfc::index {
namespace {

constexpr std::uint64_t kPieceMin = 256 * 1024;
constexpr std::uint64_t kPieceMax = 16 * 1024 * 1024;
constexpr std::uint64_t kPiecesMax = 4096;
// What one thread reads before it asks whether to go on.
constexpr std::uint64_t kChunk = 4 * 1024 * 1024;
// Small enough to be hashed from where the kernel's copy has left it, in the CPU's own cache.
constexpr std::size_t kBuffer = 128 * 1024;

// SHA256() of OpenSSL 3 looks the algorithm up at each call, which costs as much as some hundred
// bytes do.
class Digest {
 public:
  Digest() : context_(EVP_MD_CTX_new()) {
    if (context_ == nullptr || EVP_DigestInit_ex(context_, EVP_sha256(), nullptr) != 1) {
      throw std::bad_alloc();
    }
  }
  ~Digest() { EVP_MD_CTX_free(context_); }
  Digest(const Digest&) = delete;
  Digest& operator=(const Digest&) = delete;

  Hash Of(const void* bytes, std::size_t size) {
    Hash hash;
    if (EVP_DigestInit_ex(context_, nullptr, nullptr) != 1 ||
        EVP_DigestUpdate(context_, bytes, size) != 1 ||
        EVP_DigestFinal_ex(context_, hash.data(), nullptr) != 1) {
      throw std::bad_alloc();
    }
    return hash;
  }

 private:
  EVP_MD_CTX* context_;
};

Hash Sha256(const void* bytes, std::size_t size) {
  thread_local Digest digest;
  return digest.Of(bytes, size);
}

Hash Parent(const Hash& left, const Hash& right) {
  std::array<std::uint8_t, 64> both;
  std::copy(left.begin(), left.end(), both.begin());
  std::copy(right.begin(), right.end(), both.begin() + 32);
  return Sha256(both.data(), both.size());
}

// Folds `layer` to its root as if it were padded with `pad` to `width` nodes, a power of two.
Hash Fold(std::vector<Hash> layer, Hash pad, std::uint64_t width) {
  if (layer.empty()) layer.push_back(pad);
  for (; width > 1; width /= 2) {
    if (layer.size() % 2 == 1) layer.push_back(pad);
    for (std::size_t i = 0; i < layer.size() / 2; ++i) {
      layer[i] = Parent(layer[2 * i], layer[2 * i + 1]);
    }
    layer.resize(layer.size() / 2);
    pad = Parent(pad, pad);
  }
  return layer.front();
}

// The root of a subtree of `leaves` leaves that are all padding.
Hash PadOf(std::uint64_t leaves) {
  Hash pad{};
  for (; leaves > 1; leaves /= 2) pad = Parent(pad, pad);
  return pad;
}

// From the piece layer to the root: missing pieces are subtrees of padding.
Hash RootOfPieces(const std::vector<Hash>& pieces, std::uint64_t piece_length) {
  return Fold(pieces, PadOf(piece_length / kBlockSize), std::bit_ceil(pieces.size()));
}

// Hashes the blocks of [offset, offset + size) into `leaves`; a hole is hashed once.
class BlockHasher {
 public:
  explicit BlockHasher(int fd) : fd_(fd), buffer_(kBuffer) {}

  Result<void> Hash(std::uint64_t offset, std::uint64_t size, std::vector<index::Hash>& leaves) {
    leaves.clear();
    const std::uint64_t end = offset + size;
    while (offset < end) {
      const std::uint64_t data = std::min(NextData(offset), end);
      // Whole blocks inside a hole; the block where data begins is read.
      for (; offset + kBlockSize <= data; offset += kBlockSize) leaves.push_back(ZeroBlock());
      if (offset >= end) break;
      const std::size_t want = std::min<std::uint64_t>(buffer_.size(), end - offset);
      BOOST_OUTCOME_TRYV(Fill(offset, want));
      for (std::size_t at = 0; at < want; at += kBlockSize) {
        leaves.push_back(Sha256(buffer_.data() + at, std::min<std::size_t>(kBlockSize, want - at)));
      }
      offset += want;
    }
    return Ok();
  }

 private:
  // Where data begins at or after `offset`; ~0 if only a hole follows.
  std::uint64_t NextData(std::uint64_t offset) {
    if (known_data_ > offset && offset >= known_from_) return known_data_;
    const off_t data = lseek(fd_, static_cast<off_t>(offset), SEEK_DATA);
    // A filesystem that does not know its holes has none.
    const std::uint64_t found = data >= 0 ? static_cast<std::uint64_t>(data)
                                          : (errno == ENXIO ? ~std::uint64_t{0} : offset);
    known_from_ = offset;
    known_data_ = found;
    return found;
  }

  Result<void> Fill(std::uint64_t offset, std::size_t want) {
    std::size_t have = 0;
    while (have < want) {
      const ssize_t n =
          pread(fd_, buffer_.data() + have, want - have, static_cast<off_t>(offset + have));
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return Errno(errno);
      if (n == 0) return Errno(EBUSY);  // it became shorter while it was read
      have += static_cast<std::size_t>(n);
    }
    return Ok();
  }

  const index::Hash& ZeroBlock() {
    static const index::Hash hash = [] {
      const std::vector<unsigned char> zeros(kBlockSize);
      return Sha256(zeros.data(), zeros.size());
    }();
    return hash;
  }

  const int fd_;
  std::vector<unsigned char> buffer_;
  std::uint64_t known_from_ = 0, known_data_ = 0;
};

// Shared by the threads that hash one file: they take pieces in turn.
class FileHasher {
 public:
  FileHasher(int fd, std::uint64_t size, const EarlierFile* earlier,
             const std::function<bool()>& cancelled)
      : fd_(fd),
        earlier_(earlier),
        size_(size),
        piece_length_(PieceLength(size)),
        pieces_((size + piece_length_ - 1) / piece_length_),
        cancelled_(cancelled) {
    // A file of one piece has a tree of another width.
    const bool comparable = earlier != nullptr && PieceLength(earlier->size) == piece_length_ &&
                            earlier->pieces.size() > 1 && pieces_.size() > 1;
    if (!comparable) earlier_ = nullptr;
  }

  void Work() {
    BlockHasher blocks(fd_);
    std::vector<Hash> leaves;
    const std::uint64_t step = std::max<std::uint64_t>(1, kChunk / piece_length_);
    for (;;) {
      const std::uint64_t first = next_.fetch_add(step);
      if (first >= pieces_.size() || failed_) return;
      if (AskCancelled()) return Fail(Error::kCancelled);
      const std::uint64_t last = std::min<std::uint64_t>(first + step, pieces_.size());
      for (std::uint64_t piece = first; piece < last; ++piece) {
        const std::uint64_t offset = piece * piece_length_;
        const std::uint64_t length = std::min(piece_length_, size_ - offset);
        if (IsAsEarlier(piece, offset, length)) {
          pieces_[piece] = earlier_->pieces[piece];
          continue;
        }
        const auto hashed = blocks.Hash(offset, length, leaves);
        if (!hashed) return Fail(hashed.error());
        const std::uint64_t width =
            pieces_.size() == 1 ? std::bit_ceil(leaves.size()) : piece_length_ / kBlockSize;
        pieces_[piece] = Fold(leaves, Hash{}, width);
      }
    }
  }

  Result<HashedFile> Finish() {
    if (failed_) return error_;
    HashedFile file;
    file.id.size = size_;
    file.id.root = pieces_.size() == 1 ? pieces_.front() : RootOfPieces(pieces_, piece_length_);
    if (pieces_.size() > 1) file.pieces = std::move(pieces_);
    return file;
  }

 private:
  bool IsAsEarlier(std::uint64_t piece, std::uint64_t offset, std::uint64_t length) const {
    if (earlier_ == nullptr || piece >= earlier_->pieces.size()) return false;
    // The last piece of the one may go on in the other.
    const bool as_long = std::min(piece_length_, earlier_->size - offset) == length;
    return as_long && !earlier_->changed(offset, length);
  }

  bool AskCancelled() {
    if (!cancelled_) return false;
    const std::lock_guard lock(cancel_mutex_);  // the caller's function need not be thread-safe
    return cancelled_();
  }

  void Fail(std::error_code error) {
    const std::lock_guard lock(cancel_mutex_);
    if (!failed_) error_ = error;
    failed_ = true;
  }

  const int fd_;
  const EarlierFile* earlier_;  // null: everything is hashed
  const std::uint64_t size_;
  const std::uint64_t piece_length_;
  std::vector<Hash> pieces_;  // each element is written by one thread
  const std::function<bool()>& cancelled_;
  std::atomic<std::uint64_t> next_{0};
  std::mutex cancel_mutex_;
  std::error_code error_;
  std::atomic<bool> failed_{false};
};

}  // namespace

std::uint32_t PieceLength(std::uint64_t size) {
  std::uint64_t length = kPieceMin;
  while (length < kPieceMax && size > length * kPiecesMax) length *= 2;
  return static_cast<std::uint32_t>(length);
}

ContentId ContentIdOf(std::string_view bytes) {
  ContentId id;
  id.size = bytes.size();
  if (bytes.empty()) return id;
  std::vector<Hash> leaves;
  for (std::size_t at = 0; at < bytes.size(); at += kBlockSize) {
    leaves.push_back(
        Sha256(bytes.data() + at, std::min<std::size_t>(kBlockSize, bytes.size() - at)));
  }
  const std::uint64_t width = std::bit_ceil(leaves.size());
  id.root = Fold(std::move(leaves), Hash{}, width);
  return id;
}

Result<HashedFile> HashFile(int fd, const std::function<bool()>& cancelled, unsigned threads,
                            const EarlierFile* earlier) {
  struct stat status;
  if (fstat(fd, &status) != 0) return Errno(errno);
  if (S_ISDIR(status.st_mode)) return Errno(EISDIR);  // an empty one has no length on some disks
  if (status.st_size == 0) return HashedFile{};
  FileHasher hasher(fd, static_cast<std::uint64_t>(status.st_size), earlier, cancelled);
  // A second thread pays only for what takes longer than starting it.
  const std::uint64_t chunks = static_cast<std::uint64_t>(status.st_size) / kChunk;
  std::vector<std::thread> helpers;
  for (unsigned i = 1; i < std::min<std::uint64_t>(threads, chunks); ++i) {
    try {
      helpers.emplace_back([&hasher] { hasher.Work(); });
    } catch (const std::system_error&) {
      break;  // no more threads to be had: the ones that run do it
    }
  }
  hasher.Work();
  for (auto& helper : helpers) helper.join();
  return hasher.Finish();
}

}  // namespace btfc::index
