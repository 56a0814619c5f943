// Local operations as bytes, for the journal, and back.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "index/catalogue.h"

namespace btfc::index {

// What an operation asked for: its kind and arguments. Kinds are never renumbered: a journal may
// be read by the next version.
enum class Operation : std::uint8_t {
  kMake = 1,
  kLink,
  kUnlink,
  kRemoveFolder,
  kRename,
  kSetAttributes,
  kSetXattr,
  kRemoveXattr,
  kForget,
  kBeginWrite,
  kCommit,
  kAbandonWrite,
};

class Encoder {
 public:
  template <class T>
  requires std::is_integral_v<T> || std::is_enum_v<T> Encoder& operator<<(T value) {
    bytes_.append(reinterpret_cast<const char*>(&value), sizeof value);
    return *this;
  }
  Encoder& operator<<(std::string_view text) {
    *this << static_cast<std::uint32_t>(text.size());
    bytes_.append(text);
    return *this;
  }
  Encoder& operator<<(const std::string& text) { return *this << std::string_view(text); }
  Encoder& operator<<(const char*) = delete;
  template <std::size_t kSize>
  Encoder& operator<<(const std::array<std::uint8_t, kSize>& bytes) {
    bytes_.append(reinterpret_cast<const char*>(bytes.data()), kSize);
    return *this;
  }
  template <class T>
  Encoder& operator<<(const std::optional<T>& value) {
    *this << value.has_value();
    if (value) *this << *value;
    return *this;
  }
  Encoder& operator<<(const Owner& owner);
  Encoder& operator<<(const NewNode& node);
  Encoder& operator<<(const AttributeChange& change);
  Encoder& operator<<(const NewVersion& version);
  const std::string& bytes() const { return bytes_; }

 private:
  std::string bytes_;
};

template <class... Arguments>
std::string Record(Operation operation, const Arguments&... arguments) {
  Encoder encoder;
  encoder << operation;
  (encoder << ... << arguments);
  return encoder.bytes();
}

// Reads what Encoder wrote. `good` turns false where the bytes end too early.
class Decoder {
 public:
  explicit Decoder(std::string_view bytes) : bytes_(bytes) {}
  template <class T>
  requires std::is_integral_v<T> || std::is_enum_v<T> Decoder& operator>>(T& value) {
    Take(reinterpret_cast<char*>(&value), sizeof value);
    return *this;
  }
  Decoder& operator>>(std::string& text);
  template <std::size_t kSize>
  Decoder& operator>>(std::array<std::uint8_t, kSize>& bytes) {
    Take(reinterpret_cast<char*>(bytes.data()), kSize);
    return *this;
  }
  template <class T>
  Decoder& operator>>(std::optional<T>& value) {
    bool there = false;
    *this >> there;
    if (there) *this >> value.emplace();
    return *this;
  }
  Decoder& operator>>(Owner& owner);
  Decoder& operator>>(NewNode& node);
  Decoder& operator>>(AttributeChange& change);
  Decoder& operator>>(NewVersion& version);
  bool good() const { return good_; }
  std::string_view rest() const { return bytes_; }

 private:
  void Take(char* to, std::size_t size);

  std::string_view bytes_;
  bool good_ = true;
};

// Beside what was asked for, what the operation found by itself: done again with the same, on the
// same rows, it writes the same rows.
struct Circumstances {
  std::int64_t now_ns = 0;
  Ino next_ino = 0;
  std::vector<std::array<std::uint8_t, 16>> ids;  // the random ones, in order
};

Encoder& operator<<(Encoder& encoder, const Circumstances& circumstances);
Decoder& operator>>(Decoder& decoder, Circumstances& circumstances);

// Asks the catalogue for what Record wrote. Error::kCorrupt if it cannot be read.
Result<void> Repeat(Catalogue& catalogue, std::string_view record);

}  // namespace btfc::index
