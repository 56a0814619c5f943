#include "fs/acl.h"

#include <endian.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace btfc::fs {
namespace {

constexpr std::uint32_t kVersion = 2;
constexpr std::uint32_t kNoId = 0xffffffffU;
constexpr std::size_t kHeaderSize = 4;  // bytes: version
constexpr std::size_t kEntrySize = 8;   // bytes: tag, permissions, id; all little-endian

template <class T>
T Take(std::string_view bytes, std::size_t at) {
  T value{};
  std::memcpy(&value, bytes.data() + at, sizeof(value));
  if constexpr (sizeof(T) == 2) return le16toh(value);
  return static_cast<T>(le32toh(value));
}

template <class T>
void Put(std::string* bytes, T value) {
  if constexpr (sizeof(T) == 2) {
    value = htole16(value);
  } else {
    value = htole32(value);
  }
  bytes->append(reinterpret_cast<const char*>(&value), sizeof(value));  // NOLINT
}

bool HasId(Acl::Tag tag) { return tag == Acl::kUser || tag == Acl::kGroup; }

bool KnownTag(std::uint16_t tag) {
  switch (tag) {
    case Acl::kUserObject:
    case Acl::kUser:
    case Acl::kGroupObject:
    case Acl::kGroup:
    case Acl::kMask:
    case Acl::kOther:
      return true;
    default:
      return false;
  }
}

}  // namespace

Result<Acl> Acl::Parse(std::string_view value) {
  if (value.size() < kHeaderSize) return Errno(EINVAL);
  if (Take<std::uint32_t>(value, 0) != kVersion) return Errno(EOPNOTSUPP);
  if ((value.size() - kHeaderSize) % kEntrySize != 0) return Errno(EINVAL);
  Acl acl;
  for (std::size_t at = kHeaderSize; at < value.size(); at += kEntrySize) {
    const auto tag = Take<std::uint16_t>(value, at);
    const auto permissions = Take<std::uint16_t>(value, at + 2);
    if (!KnownTag(tag) || permissions > 7) return Errno(EINVAL);
    Entry entry{static_cast<Tag>(tag), permissions, Take<std::uint32_t>(value, at + 4)};
    if (!HasId(entry.tag)) entry.id = kNoId;
    acl.entries_.push_back(entry);
  }
  std::ranges::sort(acl.entries_, [](const Entry& a, const Entry& b) {
    return a.tag != b.tag ? a.tag < b.tag : a.id < b.id;
  });
  BOOST_OUTCOME_TRYV(acl.Check());
  return acl;
}

Result<void> Acl::Check() const {
  bool named = false;
  for (std::size_t i = 0; i < entries_.size(); ++i) {
    named = named || HasId(entries_[i].tag);
    if (i > 0 && entries_[i].tag == entries_[i - 1].tag && entries_[i].id == entries_[i - 1].id) {
      return Errno(EINVAL);
    }
  }
  if (Find(kUserObject) == nullptr || Find(kGroupObject) == nullptr || Find(kOther) == nullptr) {
    return Errno(EINVAL);
  }
  if (named && Find(kMask) == nullptr) return Errno(EINVAL);
  return Ok();
}

std::string Acl::Format() const {
  std::string value;
  Put(&value, kVersion);
  for (const Entry& entry : entries_) {
    Put(&value, static_cast<std::uint16_t>(entry.tag));
    Put(&value, entry.permissions);
    Put(&value, entry.id);
  }
  return value;
}

const Acl::Entry* Acl::Find(Tag tag) const {
  const auto found =
      std::ranges::find_if(entries_, [tag](const Entry& entry) { return entry.tag == tag; });
  return found == entries_.end() ? nullptr : &*found;
}

Acl::Entry* Acl::Find(Tag tag) {
  const auto found =
      std::ranges::find_if(entries_, [tag](const Entry& entry) { return entry.tag == tag; });
  return found == entries_.end() ? nullptr : &*found;
}

std::uint32_t Acl::Mode() const {
  const Entry* group = Find(kMask) != nullptr ? Find(kMask) : Find(kGroupObject);
  return (static_cast<std::uint32_t>(Find(kUserObject)->permissions) << 6U) |
         (static_cast<std::uint32_t>(group->permissions) << 3U) | Find(kOther)->permissions;
}

void Acl::SetMode(std::uint32_t mode) {
  Entry* group = Find(kMask) != nullptr ? Find(kMask) : Find(kGroupObject);
  Find(kUserObject)->permissions = static_cast<std::uint16_t>((mode >> 6U) & 7U);
  group->permissions = static_cast<std::uint16_t>((mode >> 3U) & 7U);
  Find(kOther)->permissions = static_cast<std::uint16_t>(mode & 7U);
}

std::uint32_t Acl::Inherit(std::uint32_t mode) {
  const std::uint32_t limited = mode & Mode();
  SetMode(limited);
  return limited;
}

}  // namespace btfc::fs
