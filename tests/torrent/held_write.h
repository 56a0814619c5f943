// One of libtorrent's writes to a partial file, held up and then refused.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <mutex>

namespace btfc::torrent {

// One at a time in a program. All calls from any thread.
class HeldWrite {
 public:
  // The write that comes after so many bytes waits.
  explicit HeldWrite(std::uint64_t after_bytes);
  ~HeldWrite();
  HeldWrite(const HeldWrite&) = delete;
  HeldWrite& operator=(const HeldWrite&) = delete;

  // It fails with `error`, as soon as it has come.
  void Refuse(int error);
  bool refused() const;

  // Of the program's pwrite64: waits if this is the one, and answers 0 or the error.
  int Pass(std::size_t bytes);

 private:
  const std::uint64_t after_bytes_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::uint64_t passed_bytes_ = 0;
  enum class Stage : std::uint8_t { kAwaited, kHeld, kDone } stage_ = Stage::kAwaited;
  int error_ = 0;
};

}  // namespace btfc::torrent
