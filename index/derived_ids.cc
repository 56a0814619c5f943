#include "index/derived_ids.h"

#include <openssl/sha.h>

#include <algorithm>

namespace btfc::index {
namespace {

constexpr std::size_t kSuffixDigits = 6;

}  // namespace

std::array<std::uint8_t, 16> DerivedId::Finish() const {
  std::array<std::uint8_t, SHA256_DIGEST_LENGTH> hash;
  SHA256(reinterpret_cast<const unsigned char*>(bytes_.data()), bytes_.size(), hash.data());
  std::array<std::uint8_t, 16> id;
  std::copy_n(hash.begin(), id.size(), id.begin());
  return id;
}

DeviceId DeviceIdOf(const std::array<std::uint8_t, 32>& node_key, std::uint64_t incarnation) {
  const std::string_view key(reinterpret_cast<const char*>(node_key.data()), node_key.size());
  return {DerivedId("btfc device").Add(key).Add(incarnation).Finish()};
}

DeviceId RemovalIdOf(const NodeKey& node_key) {
  return {
      DerivedId("btfc removed")
          .Add(std::string_view(reinterpret_cast<const char*>(node_key.data()), node_key.size()))
          .Finish()};
}

InodeId CopyInodeOf(const InodeId& inode, const Stamp& loser) {
  return {DerivedId("btfc copy").Add(inode).Add(loser.device).Add(loser.time_ns).Finish()};
}

LinkId CopyLinkOf(const InodeId& copy) { return {DerivedId("btfc link").Add(copy).Finish()}; }

std::string RenameSuffix(const LinkId& link, const Stamp& placed) {
  const LinkId hash{DerivedId("btfc name")
                        .Add(link)
                        .Add(placed.time_ns)
                        .Add(placed.device)
                        .Add(placed.life)
                        .Add(placed.sub)
                        .Finish()};
  return ToHex(hash).substr(0, kSuffixDigits);
}

std::string CopySuffix(const LinkId& link) { return ToHex(link).substr(0, kSuffixDigits); }

}  // namespace btfc::index
