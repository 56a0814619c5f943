// POSIX ACLs in the form of the system.posix_acl_* extended attributes (see acl(5)).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "index/result.h"

namespace btfc::fs {

class Acl {
 public:
  // Tags as in linux/posix_acl.h.
  enum Tag : std::uint16_t {
    kUserObject = 1,
    kUser = 2,
    kGroupObject = 4,
    kGroup = 8,
    kMask = 16,
    kOther = 32,
  };
  struct Entry {
    Tag tag = kOther;
    std::uint16_t permissions = 0;  // rwx
    std::uint32_t id = 0;           // kUser, kGroup
    bool operator==(const Entry&) const = default;
  };

  // EINVAL for what acl_valid(3) refuses, EOPNOTSUPP for another format version.
  static Result<Acl> Parse(std::string_view value);
  std::string Format() const;

  const std::vector<Entry>& entries() const { return entries_; }
  // Nothing beyond what the nine mode bits say.
  bool EqualsMode() const { return entries_.size() == 3; }
  // The nine mode bits that this access ACL stands for.
  std::uint32_t Mode() const;
  // chmod: sets owner, other, and mask (or the group, if there is no mask).
  void SetMode(std::uint32_t mode);
  // As the default ACL of a folder applied to a new file that asks for `mode`: limits the ACL by
  // the mode; answers the mode's nine bits limited by the ACL.
  std::uint32_t Inherit(std::uint32_t mode);

 private:
  Entry* Find(Tag tag);
  const Entry* Find(Tag tag) const;
  Result<void> Check() const;

  std::vector<Entry> entries_;  // by tag, then id
};

}  // namespace btfc::fs
