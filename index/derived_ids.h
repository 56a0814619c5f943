// Ids that are functions of what they belong to, so that every host derives the same.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "index/ids.h"

namespace btfc::index {

// The first 16 bytes of SHA-256 over the domain, a zero byte and the fields: ids as their bytes,
// integers big-endian.
class DerivedId {
 public:
  explicit DerivedId(std::string_view domain) : bytes_(domain) { bytes_ += '\0'; }
  DerivedId& Add(std::string_view bytes) {
    bytes_ += bytes;
    return *this;
  }
  DerivedId& Add(std::uint64_t value) { return AddBigEndian(value, 8); }
  DerivedId& Add(std::uint32_t value) { return AddBigEndian(value, 4); }
  DerivedId& Add(std::int64_t value) { return Add(static_cast<std::uint64_t>(value)); }
  template <class Tag>
  DerivedId& Add(const Id<Tag>& id) {
    return Add(std::string_view(reinterpret_cast<const char*>(id.bytes.data()), id.bytes.size()));
  }
  std::array<std::uint8_t, 16> Finish() const;

 private:
  DerivedId& AddBigEndian(std::uint64_t value, int size) {
    while (size > 0) bytes_ += static_cast<char>(value >> (8 * --size));
    return *this;
  }
  std::string bytes_;
};

DeviceId DeviceIdOf(const std::array<std::uint8_t, 32>& node_key, std::uint64_t incarnation);
// The device row that says that a host was removed.
DeviceId RemovalIdOf(const NodeKey& node_key);
// The conflict copy that holds a losing version, and its link. A device never writes two versions
// of one inode with one time.
InodeId CopyInodeOf(const InodeId& inode, const Stamp& loser);
LinkId CopyLinkOf(const InodeId& copy);
// The ID in the name that a link gets when it has to leave a place.
std::string RenameSuffix(const LinkId& link, const Stamp& placed);
std::string CopySuffix(const LinkId& link);

}  // namespace btfc::index
