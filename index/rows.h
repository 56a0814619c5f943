// The replicated rows, with this host's numbers for inodes, links and folders.
#pragma once

#include <optional>
#include <string>

#include "index/catalogue.h"
#include "index/ids.h"
#include "index/known.h"

namespace btfc::index {

using LinkNo = std::int64_t;     // place.link
using VersionNo = std::int64_t;  // version.version

inline constexpr InodeId kRootId{};  // all zero

// dot.n == 0: the row is only this host's so far. `extra`: fields of a newer version of btfc.
struct RowHead {
  Stamp stamp;
  Dot dot;
  std::string extra;
};

// device.role. A removal is a row of its own, whose id derives from the removed host's key, so that
// no row of another role can take it back.
enum Role : std::uint32_t { kWriter = 0, kReader = 1, kRemovedHost = 2 };

struct DeviceRow : RowHead {
  DeviceId device;
  std::string name;
  NodeKey key{};
  std::uint32_t role = kWriter;
  std::uint64_t incarnation = 0;  // with the key it gives the device
};

// What the host of a device knows, and its horizon: who does not cover it may lack removals that
// others let go of.
struct SeenRow {
  DeviceId device;
  Summary known;
  Summary horizon;
  Summary parts;  // of the horizon, see horizon_parts.h
  Dot dot;
  std::string extra;
};

struct InodeRow : RowHead {
  Ino ino = 0;
  InodeId id;  // only of a new one
  Kind kind = Kind::kFile;
  std::string target;
  std::uint64_t rdev = 0;
  Ino copy_of = 0;  // a conflict copy: the inode whose loser it holds
};

// The main register of row "attr".
struct AttributesRow : RowHead {
  Ino ino = 0;
  std::uint32_t mode = 0;
  Owner owner;
  std::string acl_access;
  std::string acl_default;
};

inline constexpr std::string_view kMtimeRegister = "m";  // value: 8 bytes big-endian, ns
inline constexpr char kXattrRegister = 'x';              // followed by the xattr's name

struct RegisterRow : RowHead {
  Ino ino = 0;
  std::string name;
  std::optional<std::string> value;  // nothing: removed
};

struct Slot {
  Ino folder = 0;
  std::string name;
  auto operator<=>(const Slot&) const = default;
};

struct PlaceRow : RowHead {
  LinkNo link = 0;
  Ino ino = 0;
  Slot spot;                     // folder as written, before merges
  std::optional<Slot> previous;  // before the last user's move
};

struct VersionRow : RowHead {
  Ino ino = 0;
  Dot commit;  // of the user's write that made the content; key together with ino
  ContentId content;
  std::int64_t mtime_ns = 0;
  std::string inline_bytes;
  Known known;
};

struct Removal {
  Stamp seen;   // place stamp that the remover saw
  Known known;  // versions seen, if it took the last live link
  Ino merged_into = 0;
  std::int64_t time_ns = 0;  // when; for the folder's mtime, decides nothing
  Dot dot;
  std::string extra;
};

struct RemovalRow : Removal {
  LinkNo link = 0;
};

// place.state
enum LinkState : unsigned {
  kAlive = 1,  // no removal took it
  kLive = 2,   // alive, published, in a folder that there is: what all hosts see
  kOurs = 4,   // what this host's users see, before two links at one name are told apart
  kShown = 8,  // found by Lookup
};

// A row of table place with what derives from it.
struct Link : PlaceRow {
  LinkId id;
  Ino up = 0;  // 0: none
  unsigned state = 0;
  Ino merged = 0;
};

inline bool IsAlive(const Link& link) { return (link.state & kAlive) != 0; }
inline bool IsLive(const Link& link) { return (link.state & kLive) != 0; }

// The figures of an inode that merging and repairing need.
struct InodeBrief {
  Ino ino = 0;
  InodeId id;
  std::optional<Kind> kind;  // nothing: the row has not come
  bool pending = false;
  std::int64_t live_links = 0;
  std::int64_t nlink = 0;
  VersionNo head = 0;
  bool undeleted = false;
  std::int64_t set_time = 0;
  Ino copy_of = 0;
  std::int64_t mtime_ns = 0;
  std::int64_t ctime_ns = 0;
};

struct HeldVersion : VersionRow {
  VersionNo version = 0;
};

}  // namespace btfc::index
