#include "fs/version_tree.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/fuse.h>

#include <algorithm>
#include <cerrno>
#include <ctime>
#include <set>

#include "fs/attributes.h"

namespace btfc::fs {
namespace {

constexpr std::string_view kVersionsName = "versions";
constexpr double kVersionTimeout_s = 60;
constexpr std::size_t kHostMax = 64;       // bytes of a host's name
constexpr std::size_t kExtensionMax = 16;  // bytes, with the dot
constexpr std::int64_t kMillisecond = 1'000'000;
constexpr std::uint32_t kReadable = 0444;

// FOPEN_* of the kernel.
constexpr std::uint32_t kDirectIo = 1U << 0U;
constexpr std::uint32_t kKeepCache = 1U << 1U;

std::string_view NameOf(std::string_view path) { return path.substr(path.rfind('/') + 1); }

std::string_view ExtensionOf(std::string_view name) {
  const auto dot = name.rfind('.');
  if (dot == name.npos || dot == 0 || name.size() - dot > kExtensionMax) return {};
  return name.substr(dot);
}

// "2026-11-22 21.20.46.123 HOST.txt": sorts by time, and opens in what opens the file itself.
std::string VersionName(const index::VersionInfo& version, std::string_view file) {
  const timespec time = ToTimespec(version.time_ns);
  tm utc{};
  ::gmtime_r(&time.tv_sec, &utc);
  std::string host = version.host.substr(0, kHostMax);
  std::replace(host.begin(), host.end(), '/', '-');
  return fmt::format("{:04}-{:02}-{:02} {:02}.{:02}.{:02}.{:03} {}{}", utc.tm_year + 1900,
                     utc.tm_mon + 1, utc.tm_mday, utc.tm_hour, utc.tm_min, utc.tm_sec,
                     time.tv_nsec / kMillisecond, host.empty() ? "?" : host, ExtensionOf(file));
}

// Who could read it may read it now; an ACL may have said less than the mode shows.
std::uint32_t ReadableBy(const index::Node& inode, const std::string& acl) {
  return inode.mode & (acl.empty() ? 0777U : 0700U) & 0555U;
}

std::int64_t Now() {
  timespec now{};
  ::clock_gettime(CLOCK_REALTIME, &now);
  return FromTimespec(now);
}

}  // namespace

// --- nodes

std::optional<VersionTree::Entry> VersionTree::EntryOf(NodeId node) const {
  const std::lock_guard lock(mutex_);
  const auto found = nodes_.find(node);
  if (found == nodes_.end()) return std::nullopt;
  return found->second.entry;
}

NodeId VersionTree::Reference(const Entry& entry) {
  std::string key = fmt::format("{}{}", static_cast<int>(entry.kind), entry.path);
  if (entry.kind == Kind::kVersion) {
    key += fmt::format("\n{} {} {}", entry.version.ino, index::ToHex(entry.version.commit.device),
                       entry.version.commit.n);
  }
  const std::lock_guard lock(mutex_);
  const auto [found, fresh] = by_key_.try_emplace(key, next_);
  if (fresh) ++next_;
  Node& node = nodes_[found->second];
  node.entry = entry;
  node.key = std::move(key);
  ++node.references;
  return found->second;
}

void VersionTree::Forget(NodeId node, std::uint64_t count) {
  const std::lock_guard lock(mutex_);
  const auto found = nodes_.find(node);
  if (found == nodes_.end()) return;
  found->second.references -= std::min(found->second.references, count);
  if (found->second.references > 0) return;
  by_key_.erase(found->second.key);
  nodes_.erase(found);
}

// --- what is where

Result<std::vector<std::pair<std::string, VersionTree::Entry>>> VersionTree::Entries(
    const Entry& folder) {
  std::vector<std::pair<std::string, Entry>> entries;
  if (folder.kind == Kind::kTop) {
    entries.emplace_back(kVersionsName, Entry{Kind::kPlace, "", {}});
    return entries;
  }
  std::set<std::string> taken;
  const auto names = catalogue_.NamesAt(folder.path);
  if (names) {
    for (const auto& name : names.value()) {
      if (!name.folder && !name.file) continue;
      entries.emplace_back(name.name, Entry{Kind::kPlace, folder.path + "/" + name.name, {}});
      taken.insert(name.name);
    }
  }
  const auto versions = catalogue_.VersionsAt(folder.path);
  if (!names && !versions) {
    // A file whose first version is not made yet is shown, with nothing in it.
    if (names.error() == Errno(ENOTDIR)) return entries;
    return names.error();
  }
  if (!versions) return entries;
  // The oldest one first, so that names stay when newer ones come.
  for (auto version = versions.value().rbegin(); version != versions.value().rend(); ++version) {
    const std::string plain = VersionName(*version, NameOf(folder.path));
    std::string name = plain;
    for (int i = 2; !taken.insert(name).second; ++i) {
      const auto extension = ExtensionOf(NameOf(folder.path));
      name = fmt::format("{} {}{}", plain.substr(0, plain.size() - extension.size()), i, extension);
    }
    entries.emplace_back(std::move(name), Entry{Kind::kVersion, folder.path, *version});
  }
  return entries;
}

Result<VersionTree::Entry> VersionTree::Find(const Entry& folder, std::string_view name) {
  if (folder.kind == Kind::kVersion) return Errno(ENOTDIR);
  if (name.size() > index::kNameMax) return Errno(ENAMETOOLONG);
  BTFC_TRY(entries, Entries(folder));
  for (auto& [entry_name, entry] : entries) {
    if (entry_name == name) return std::move(entry);
  }
  return Errno(ENOENT);
}

Result<struct stat> VersionTree::StatOf(const Entry& entry, NodeId node) {
  struct stat result {};
  index::Node shown;
  shown.kind = entry.kind == Kind::kVersion ? index::Kind::kFile : index::Kind::kFolder;
  shown.mode = 0555;
  shown.nlink = entry.kind == Kind::kVersion ? 1 : 2;
  shown.owner.mounter = shown.owner.mounter_group = true;
  // Never twice the same, so that the kernel lists anew.
  shown.mtime_ns = shown.ctime_ns = shown.atime_ns = Now();
  const auto restrict_by = [&](index::Ino ino) -> Result<void> {
    BTFC_TRY(inode, catalogue_.Get(ino));
    BTFC_TRY(acl, catalogue_.AclAccess(ino));
    const std::uint32_t mode = ReadableBy(inode, acl);
    // Who may read a file may look into the folder of its versions.
    shown.mode &= inode.kind == index::Kind::kFolder ? mode : mode | (mode & kReadable) >> 2U;
    shown.owner = inode.owner;
    return Ok();
  };
  if (entry.kind == Kind::kPlace) {
    BTFC_TRY(inodes, catalogue_.InodesAt(entry.path));
    std::set<std::pair<std::uint32_t, std::uint32_t>> owners;
    for (const auto* some : {&inodes.others, &inodes.folders}) {
      for (const index::Ino ino : *some) {
        BOOST_OUTCOME_TRYV(restrict_by(ino));
        const auto owner = owners_.ToLocal(shown.owner);
        owners.emplace(owner.uid, owner.gid);
      }
    }
    // Of several owners none may see what another one had.
    if (owners.size() > 1) {
      shown.mode = 0500;
      shown.owner = {};
      shown.owner.mounter = shown.owner.mounter_group = true;
    }
  } else if (entry.kind == Kind::kVersion) {
    BOOST_OUTCOME_TRYV(restrict_by(entry.version.ino));
    shown.mode &= kReadable;
    shown.size = entry.version.id.size;
    shown.mtime_ns = shown.atime_ns = entry.version.mtime_ns;
    shown.ctime_ns = entry.version.time_ns;
  }
  result = MakeStat(shown, std::nullopt, node, owners_.ToLocal(shown.owner));
  return result;
}

// --- requests

void VersionTree::Reply(Request request, const Entry& entry) {
  const NodeId node = Reference(entry);
  const auto attributes = StatOf(entry, node);
  if (!attributes) {
    Forget(node, 1);
    return request.Error(attributes.error());
  }
  fuse_entry_param reply{};
  reply.ino = node;
  reply.attr = attributes.value();
  reply.entry_timeout = reply.attr_timeout = entry.kind == Kind::kVersion ? kVersionTimeout_s : 0;
  if (!request.Entry(reply)) Forget(node, 1);
}

void VersionTree::LookupTop(Request request) { Reply(std::move(request), Entry{}); }

void VersionTree::Lookup(Request request, NodeId parent, std::string_view name) {
  const auto folder = EntryOf(parent);
  if (!folder) return request.Error(ESTALE);
  auto entry = Find(*folder, name);
  if (!entry) return request.Error(entry.error());
  Reply(std::move(request), entry.value());
}

void VersionTree::GetAttributes(Request request, NodeId node) {
  const auto entry = EntryOf(node);
  if (!entry) return request.Error(ESTALE);
  const auto attributes = StatOf(*entry, node);
  if (!attributes) return request.Error(attributes.error());
  request.Attributes(attributes.value(), entry->kind == Kind::kVersion ? kVersionTimeout_s : 0);
}

// Entries get no node until they are looked up: node 0 says so.
void VersionTree::List(Request request, NodeId node, std::size_t size, off_t offset, bool plus) {
  const auto folder = EntryOf(node);
  if (!folder) return request.Error(ESTALE);
  if (folder->kind == Kind::kVersion) return request.Error(ENOTDIR);
  const auto entries = Entries(*folder);
  if (!entries) return request.Error(entries.error());
  std::vector<std::pair<std::string, mode_t>> lines{{".", S_IFDIR}, {"..", S_IFDIR}};
  for (const auto& [name, entry] : entries.value()) {
    lines.emplace_back(name, entry.kind == Kind::kVersion ? S_IFREG : S_IFDIR);
  }
  std::string bytes(size, '\0');
  std::size_t used = 0;
  for (auto at = static_cast<std::size_t>(offset); at < lines.size(); ++at) {
    fuse_entry_param line{};
    line.attr.st_mode = lines[at].second;
    line.attr.st_ino = node;  // of no use, but 0 would hide the entry
    const auto next = static_cast<off_t>(at + 1);
    const char* name = lines[at].first.c_str();
    char* to = bytes.data() + used;
    const std::size_t needed =
        plus ? fuse_add_direntry_plus(request.get(), to, size - used, name, &line, next)
             : fuse_add_direntry(request.get(), to, size - used, name, &line.attr, next);
    if (needed > size - used) break;
    used += needed;
  }
  request.Payload(bytes.data(), used);
}

void VersionTree::Open(Request request, NodeId node, int flags) {
  const auto entry = EntryOf(node);
  if (!entry) return request.Error(ESTALE);
  if ((flags & O_ACCMODE) != O_RDONLY || (flags & O_TRUNC) != 0) return request.Error(EROFS);
  fuse_open_out reply{};
  // Bytes that have to come from another host are read directly, so that the wait can be
  // interrupted.
  const bool here = entry->version.id.size <= index::kInlineMax || entry->version.present;
  reply.open_flags = here ? kKeepCache : kDirectIo;
  request.Payload(&reply, sizeof(reply));
}

void VersionTree::Read(Request request, NodeId node, std::size_t size, off_t offset,
                       fuse_interrupt_func_t interrupt) {
  const auto entry = EntryOf(node);
  if (!entry || entry->kind != Kind::kVersion) return request.Error(ESTALE);
  const auto& version = entry->version;
  const auto from = static_cast<std::uint64_t>(offset);
  if (version.id.size <= index::kInlineMax) {
    const auto bytes = catalogue_.VersionBytes(version.ino, version.commit);
    if (!bytes) return request.Error(EIO);  // no longer kept
    if (from >= bytes.value().size()) return request.Bytes({});
    return request.Bytes(std::string_view(bytes.value()).substr(from, size));
  }
  Parked<std::string>::Start(
      std::move(request),
      [](Request waiting, Result<std::string> result) {
        if (!result) return waiting.Error(result.error());
        waiting.Bytes(result.value());
      },
      interrupt,
      [&](Files::Done<std::string> done) {
        return files_.ReadContent(version.id, from, size, std::move(done));
      });
}

// Without holes, as far as anybody knows.
void VersionTree::Seek(Request request, NodeId node, off_t offset, int whence) {
  const auto entry = EntryOf(node);
  if (!entry || entry->kind != Kind::kVersion) return request.Error(ESTALE);
  const auto from = static_cast<std::uint64_t>(offset);
  if (offset < 0 || from >= entry->version.id.size) return request.Error(ENXIO);
  request.Offset(whence == SEEK_DATA ? from : entry->version.id.size);
}

}  // namespace btfc::fs
