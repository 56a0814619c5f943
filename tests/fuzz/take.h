// Cuts an input into numbers and pieces. What is missing at its end is zero, or empty.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string_view>

namespace btfc::fuzz {

class Take {
 public:
  explicit Take(std::string_view bytes) : rest_(bytes) {}
  bool empty() const { return rest_.empty(); }

  // Big-endian, of so many bytes.
  std::uint64_t Number(std::size_t size) {
    std::uint64_t number = 0;
    const std::string_view bytes = Bytes(size);
    for (std::size_t i = 0; i < size; ++i) {
      number = number << 8U | (i < bytes.size() ? static_cast<unsigned char>(bytes[i]) : 0U);
    }
    return number;
  }
  std::string_view Bytes(std::size_t size) {
    const std::string_view bytes = rest_.substr(0, std::min(size, rest_.size()));
    rest_.remove_prefix(bytes.size());
    return bytes;
  }
  // Its length in two bytes before it.
  std::string_view Piece() { return Bytes(Number(2)); }
  // Three bytes.
  std::string_view LongPiece() { return Bytes(Number(3)); }
  std::string_view Rest() { return Bytes(rest_.size()); }

 private:
  std::string_view rest_;
};

}  // namespace btfc::fuzz
