// Listing folders.
#include <cerrno>
#include <memory>
#include <string>
#include <string_view>

#include "fs/attributes.h"
#include "fs/filesystem.h"

namespace btfc::fs {
namespace {

// The kernel's offset of an entry says where to go on after it. "." and ".." come before what the
// catalogue lists.
constexpr std::uint64_t kAfterDot = 1;
constexpr std::uint64_t kAfterDotDot = 2;
std::uint64_t OffsetAfter(std::uint64_t cookie) { return cookie + kAfterDotDot; }
std::uint64_t CookieAt(std::uint64_t offset) { return offset - kAfterDotDot; }

// An entry with attributes, if its name is of ordinary length: asking for more than a buffer holds
// only costs.
constexpr std::size_t kEntryPlusSize = 176;  // bytes

// "." or "..": the kernel knows the folder, so it gets no reference.
fuse_entry_param DotEntry(NodeId node) {
  fuse_entry_param entry{};
  entry.attr.st_ino = node;
  entry.attr.st_mode = S_IFDIR;
  return entry;
}

}  // namespace

// Collects entries until the kernel's buffer is full.
class Filesystem::Listing {
 public:
  Listing(fuse_req_t request, std::size_t size, bool plus)
      : request_(request), plus_(plus), room_(size), bytes_(new char[size]) {}

  // False if it did not fit.
  bool Add(const std::string& name, const fuse_entry_param& entry, std::uint64_t next) {
    const auto offset = static_cast<off_t>(next);
    char* at = bytes_.get() + used_;
    const std::size_t needed =
        plus_ ? fuse_add_direntry_plus(request_, at, room_, name.c_str(), &entry, offset)
              : fuse_add_direntry(request_, at, room_, name.c_str(), &entry.attr, offset);
    if (needed > room_) return false;
    used_ += needed;
    room_ -= needed;
    return true;
  }

  std::string_view bytes() const { return {bytes_.get(), used_}; }
  // With attributes: how many more, about.
  std::size_t EntriesPlus() const { return room_ / kEntryPlusSize; }

 private:
  const fuse_req_t request_;
  const bool plus_;
  std::size_t used_ = 0;
  std::size_t room_;
  const std::unique_ptr<char[]> bytes_;  // NOLINT(*-avoid-c-arrays)
};

// The kernel then lists folders without opening them here, and keeps the listing until the folder
// changes. No state of ours is needed: cookies stay right while the folder changes, and what a
// page once read might say of an entry would be out of date at the next request.
void Filesystem::OpenFolder(Request request, NodeId /*node*/, const fuse_file_info* /*info*/) {
  request.Error(ENOSYS);
}

void Filesystem::ReadFolder(Request request, NodeId node, std::size_t size, off_t offset,
                            const fuse_file_info* /*info*/) {
  ListInto(std::move(request), node, size, offset, false);
}

void Filesystem::ReadFolderPlus(Request request, NodeId node, std::size_t size, off_t offset,
                                const fuse_file_info* /*info*/) {
  ListInto(std::move(request), node, size, offset, true);
}

void Filesystem::ListInto(Request request, NodeId node, std::size_t size, off_t offset, bool plus) {
  if (VersionTree::Owns(node)) {
    return versions_.List(std::move(request), node, size, offset, plus);
  }
  const auto folder = InoOf(request, node);
  if (!folder) return;
  Listing listing(request.get(), size, plus);
  auto at = static_cast<std::uint64_t>(offset);
  if (at < kAfterDot && listing.Add(".", DotEntry(node), kAfterDot)) at = kAfterDot;
  if (at == kAfterDot) {
    const auto parent = catalogue_.Parent(*folder);
    const NodeId above = parent ? nodes_.Current(parent.value()) : node;
    if (listing.Add("..", DotEntry(above), kAfterDotDot)) at = kAfterDotDot;
  }
  if (at < kAfterDotDot) {
    request.Payload(listing.bytes().data(), listing.bytes().size());
    return;
  }
  std::vector<NodeId> referenced;
  const auto listed = plus ? AddEntries(listing, *folder, CookieAt(at), &referenced)
                           : AddNames(listing, *folder, CookieAt(at));
  // With something to show, the error comes with the next request.
  if (!listed && listing.bytes().empty()) return request.Error(listed.error());
  if (request.Payload(listing.bytes().data(), listing.bytes().size())) return;
  for (const NodeId child : referenced) Forget(child, 1);
}

Result<void> Filesystem::AddNames(Listing& listing, index::Ino folder, std::uint64_t cookie) {
  fuse_entry_param param{};
  return catalogue_.ListNames(folder, cookie, [&](const index::EntryName& entry) {
    if (folder == index::kRootIno && entry.name == VersionTree::kTopName) return true;
    param.attr.st_ino = nodes_.Current(entry.ino);
    param.attr.st_mode = TypeBits(entry.kind);
    return listing.Add(entry.name, param, OffsetAfter(entry.cookie));
  });
}

Result<void> Filesystem::AddEntries(Listing& listing, index::Ino folder, std::uint64_t cookie,
                                    std::vector<NodeId>* referenced) {
  for (;;) {
    const std::uint64_t commits = files_.Commits();
    BTFC_TRY(entries, catalogue_.List(folder, cookie, listing.EntriesPlus() + 1));
    if (entries.empty()) return Ok();
    for (index::Entry& entry : entries) {
      cookie = entry.cookie;
      if (folder == index::kRootIno && entry.name == VersionTree::kTopName) continue;
      const NodeId child = nodes_.Reference(entry.node.ino);
      const auto param = EntryOf(Complete(commits, std::move(entry.node)), child);
      if (!listing.Add(entry.name, param, OffsetAfter(entry.cookie))) {
        Forget(child, 1);
        return Ok();
      }
      referenced->push_back(child);
    }
  }
}

void Filesystem::FsyncFolder(Request request, NodeId /*node*/, int /*data_only*/,
                             const fuse_file_info* /*info*/) {
  auto parked = std::make_shared<Request>(std::move(request));
  aside_.Run([this, parked] {
    const auto synced = catalogue_.Sync();
    parked->Error(synced ? 0 : ToErrno(synced.error()));
  });
}

}  // namespace btfc::fs
