#include "index/journal.h"

#include <fcntl.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <bit>
#include <cerrno>
#include <cstring>

namespace btfc::index {
namespace {

constexpr std::uint64_t kRecordMax = std::uint64_t{1} << 20U;  // bytes; ACLs, names, inline bytes

struct Header {
  std::uint64_t group = 0;
  std::uint64_t sequence = 0;
  std::uint64_t nonce = 0;
  std::uint64_t length = 0;
  std::uint64_t checksum = 0;
};
static_assert(std::endian::native == std::endian::little);

// Against stale and torn bytes, not against anybody: words folded by multiplication.
std::uint64_t Fold(std::uint64_t sum, std::uint64_t word) {
  constexpr std::uint64_t kOdd = 0x9E3779B97F4A7C15U;
  return std::rotl((sum ^ word) * kOdd, 29);
}

std::uint64_t Checksum(const Header& header, std::string_view bytes) {
  std::uint64_t sum = Fold(Fold(Fold(1, header.group), header.sequence), header.nonce);
  sum = Fold(sum, header.length);
  for (; bytes.size() >= 8; bytes.remove_prefix(8)) {
    std::uint64_t word = 0;
    std::memcpy(&word, bytes.data(), 8);
    sum = Fold(sum, word);
  }
  std::uint64_t last = 0;
  std::memcpy(&last, bytes.data(), bytes.size());
  return Fold(sum, last);
}

// False at the end of the file.
Result<bool> ReadAt(int fd, std::uint64_t offset, void* to, std::size_t size) {
  for (std::size_t have = 0; have < size;) {
    const ssize_t n =
        ::pread(fd, static_cast<char*>(to) + have, size - have, static_cast<off_t>(offset + have));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return Errno(errno);
    if (n == 0) return false;
    have += static_cast<std::size_t>(n);
  }
  return true;
}

}  // namespace

Result<std::unique_ptr<Journal>> Journal::Open(const std::filesystem::path& file) {
  std::uint64_t nonce = 0;
  while (::getrandom(&nonce, sizeof nonce, 0) != sizeof nonce) {
  }
  const int fd = ::open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0) return Errno(errno);
  return std::unique_ptr<Journal>(new Journal(fd, nonce));
}

Journal::~Journal() { ::close(fd_); }

Result<std::vector<std::string>> Journal::Read(std::uint64_t group) const {
  std::vector<std::string> records;
  std::uint64_t nonce = 0;
  for (std::uint64_t offset = 0;;) {
    Header header;
    BOOST_OUTCOME_TRYA(there, ReadAt(fd_, offset, &header, sizeof header));
    if (!there || header.group != group || header.sequence != records.size()) break;
    if (header.length > kRecordMax) break;
    if (records.empty()) nonce = header.nonce;
    if (header.nonce != nonce) break;
    std::string record(header.length, '\0');
    BOOST_OUTCOME_TRYA(whole, ReadAt(fd_, offset + sizeof header, record.data(), record.size()));
    if (!whole || Checksum(header, record) != header.checksum) break;
    offset += sizeof header + record.size();
    records.push_back(std::move(record));
  }
  return records;
}

void Journal::Begin(std::uint64_t group) {
  group_ = group;
  sequence_ = 0;
  offset_ = 0;
}

Result<void> Journal::Append(std::string_view record) {
  if (record.size() > kRecordMax) return Errno(EFBIG);
  Header header{group_, sequence_, nonce_, record.size(), 0};
  header.checksum = Checksum(header, record);
  buffer_.assign(reinterpret_cast<const char*>(&header), sizeof header);
  buffer_.append(record);
  for (std::size_t done = 0; done < buffer_.size();) {
    const ssize_t n = ::pwrite(fd_, buffer_.data() + done, buffer_.size() - done,
                               static_cast<off_t>(offset_ + done));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return Errno(errno);
    done += static_cast<std::size_t>(n);
  }
  offset_ += buffer_.size();
  ++sequence_;
  return Ok();
}

}  // namespace btfc::index
