// The catalogue: every file's names, attributes and versions, replicated between hosts.
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_set>
#include <vector>

#include "index/content.h"
#include "index/ids.h"
#include "index/replica.h"
#include "index/result.h"

namespace btfc::index {

// This cache's number of an inode: what stat shows as st_ino. Never reused, the same after a
// restart, different on other hosts. The root folder is kRootIno.
using Ino = std::uint64_t;
inline constexpr Ino kRootIno = 1;

inline constexpr std::size_t kNameMax = 255;  // bytes

enum class Kind : std::uint8_t {
  kFile = 1,
  kFolder,
  kSymlink,
  kFifo,
  kSocket,
  kCharDevice,
  kBlockDevice,
};

// As the writing host saw it. Which local user that is here, fs decides (owner=map|numeric).
struct Owner {
  std::uint32_t uid = 0;
  std::uint32_t gid = 0;
  std::string user;  // names, empty if the writer had none
  std::string group;
  bool mounter = false;        // uid is the user who mounted there
  bool mounter_group = false;  // gid is that user's primary group
  bool operator==(const Owner&) const = default;
};

// Where a file's bytes are.
struct Content {
  enum class State : std::uint8_t {
    kNone,    // created here, no version yet
    kInline,  // in the index: Catalogue::InlineBytes
    kObject,  // in the object store, if present, else to be fetched
  };
  State state = State::kNone;
  ContentId id;
  bool present = false;  // kObject: the whole object is in this host's store
};

// One inode as the catalogue has it. For a file that is open for writing, fs lays the working
// file's size and times over this.
struct Node {
  Ino ino = 0;
  Kind kind = Kind::kFile;
  std::uint32_t mode = 0;  // permission bits, 07777
  Owner owner;
  std::uint32_t nlink = 0;    // 0: no name left; folders: 2 + number of subfolders
  std::uint64_t size = 0;     // bytes; symlinks: length of the target
  std::int64_t atime_ns = 0;  // local only
  std::int64_t mtime_ns = 0;
  std::int64_t ctime_ns = 0;
  std::uint64_t rdev = 0;
  Content content;  // kFile only
};

struct NewNode {
  Kind kind = Kind::kFile;
  std::uint32_t mode = 0;
  Owner owner;
  std::string target;  // kSymlink
  std::uint64_t rdev = 0;
  std::string acl_access;  // as in system.posix_acl_access; empty: none
  std::string acl_default;
};

// Unset members stay as they are.
struct AttributeChange {
  std::optional<std::uint32_t> mode;
  std::optional<Owner> owner;
  std::optional<std::string> acl_access;
  std::optional<std::string> acl_default;
  std::optional<std::int64_t> mtime_ns;
  std::optional<std::int64_t> atime_ns;
};

// A name of an inode.
struct NameAt {
  Ino parent = 0;
  std::string name;
};

struct Removed {
  Ino ino = 0;
  Kind kind = Kind::kFile;
  std::uint32_t nlink = 0;  // links left; at 0 the inode lives on until Catalogue::Forget
};

struct FileNow {
  Node node;
  std::string bytes;  // of an inline content
};

struct Entry {
  std::string name;
  Node node;
  std::uint64_t cookie = 0;  // resume List after this entry; stable while the folder changes
};

// What a plain listing needs of an entry.
struct EntryName {
  std::string name;
  Ino ino = 0;
  Kind kind = Kind::kFile;
  std::uint64_t cookie = 0;
};

enum RenameFlags : unsigned { kNoReplace = 1, kExchange = 2, kWhiteout = 4 };  // as RENAME_*

struct NewVersion {
  ContentId id;
  std::string inline_bytes;  // exactly id.size bytes if id.size <= kInlineMax, else empty
  std::int64_t mtime_ns = 0;
  // What this host's users saw as ctime before, 0: the time of the commit. Other hosts show the
  // time of the commit.
  std::int64_t ctime_ns = 0;
};

// A file whose bytes may differ from its last version.
struct DirtyFile {
  Ino ino = 0;
  bool orphan = false;  // removed here meanwhile: to be dropped
};

struct VersionInfo {
  ContentId id;
  std::int64_t time_ns = 0;  // when it was committed
  std::int64_t mtime_ns = 0;
  std::string host;  // name of the device that wrote it
  bool current = false;
  bool present = false;  // bytes are here
  Ino ino = 0;           // with `commit`: which version, for VersionBytes and Restore
  Dot commit;
  bool removed = false;  // VersionsAt: the file is not at this path any more
};

// What is kept of earlier versions and of what was deleted, on this host.
struct VersionLimits {
  std::int64_t age_ns = std::int64_t{30} * 24 * 3600 * 1'000'000'000;  // since it was replaced
  std::uint64_t bytes = UINT64_MAX;  // of objects that only earlier versions need
  static constexpr std::int64_t kForEver_ns = std::int64_t{36'500} * 24 * 3600 * 1'000'000'000;
  // A host that is silent for longer is not waited for when rows are let go of; it begins anew.
  std::int64_t absence_ns = kForEver_ns;
};

struct PastInodes {
  std::vector<Ino> folders;
  std::vector<Ino> others;  // no folders
};

// A name that a folder has or had.
struct PastName {
  std::string name;
  bool exists = false;
  bool folder = false;  // it is, or was, a folder's
  bool file = false;    // it is, or was, a file's; both may be true
};

// What a remote delta, or a repair after a local commit, changed in what users see.
struct Change {
  enum class What : std::uint8_t {
    kEntry,       // (parent, name) now leads elsewhere or nowhere
    kAttributes,  // of ino
    kContent,     // of ino
    kWanted,      // content: a current version's object that is not here
    kUnwanted,    // content: was wanted, never came, and no current version has it any more
  };
  What what = What::kEntry;
  Ino parent = 0;
  std::string name{};
  Ino ino = 0;
  ContentId content{};
};

struct Counts {
  std::uint64_t files = 0;
  std::uint64_t folders = 0;
  std::uint64_t bytes = 0;
  std::uint64_t missing_objects = 0;
  std::uint64_t missing_bytes = 0;
  std::uint64_t conflicts = 0;
};

struct MissingTotal {
  std::uint64_t objects = 0;
  std::uint64_t bytes = 0;
};

struct DeviceInfo {
  DeviceId id;
  std::string name;
  std::uint64_t known = 0;  // highest dot known here
  bool self = false;
  NodeKey node_key{};    // the host's; all its devices have it
  bool removed = false;  // the host is no member any more
};

struct CatalogueOptions {
  std::filesystem::path path;               // index.db
  std::array<std::uint8_t, 32> node_key{};  // SHA-256 of this host's public key
  std::array<std::uint8_t, 32> cluster{};   // SHA-256 of the CA certificate
  std::string host_name;                    // shown in conflict names
  std::function<std::int64_t()> now_ns;     // wall clock; the system's if empty
  std::size_t kept_versions = 32;           // earlier versions of a file, thinned out by age
  // For histories that must come out the same every time: random ids (the system's if empty), and
  // this cache's first incarnation. The catalogue calls new_id one call at a time.
  std::function<std::array<std::uint8_t, 16>()> new_id;
  std::optional<std::uint64_t> incarnation;
  // Show security.* and trusted.* xattrs that other hosts set (owner=numeric). They mean what this
  // host's administrator lets them mean, so by default a peer's do not count; they stay in the
  // rows.
  bool foreign_privileged_xattrs = false;
};

struct SalvagedRemoval;  // index/salvage.h

// Local operations are one transaction each and answer with errno codes (ENOENT, EEXIST,
// ENOTDIR, EISDIR, ENOTEMPTY, ENAMETOOLONG, EINVAL, ENODATA, EMLINK, ENOSPC, EIO).
// All calls from any thread; reads do not wait for a delta that is being applied.
class Catalogue : public Replica {
 public:
  class Impl;  // index/ only

  // Creates the database if there is none. Error::kCorrupt, kTooNew, kOtherCluster.
  static Result<std::unique_ptr<Catalogue>> Open(const CatalogueOptions& options);
  ~Catalogue() override;

  // --- reading
  Result<Node> Lookup(Ino parent, std::string_view name);
  Result<Node> Get(Ino ino);
  // At most `limit` entries after `cookie` (0: from the start), without "." and "..".
  Result<std::vector<Entry>> List(Ino folder, std::uint64_t cookie, std::size_t limit);
  // The same without what is costly to ask for; `take` answers whether there is room for more. It
  // is called while others wait: it must be quick, and ask nothing of the catalogue.
  Result<void> ListNames(Ino folder, std::uint64_t cookie,
                         const std::function<bool(const EntryName&)>& take);
  Result<Ino> Parent(Ino folder);
  // All names that lead to this inode now.
  Result<std::vector<NameAt>> LinksOf(Ino ino);
  Result<std::string> Target(Ino symlink);
  Result<std::string> InlineBytes(Ino file);
  // What an open needs, of one state. EISDIR, EINVAL (no file).
  Result<FileNow> GetFile(Ino file);
  Result<std::string> GetXattr(Ino ino, std::string_view name);
  Result<std::vector<std::string>> ListXattrs(Ino ino);
  // The ACLs of NewNode; empty if there are none.
  Result<std::string> AclAccess(Ino ino);
  Result<std::string> AclDefault(Ino ino);

  // --- names and attributes
  Result<Node> Make(Ino parent, std::string_view name, const NewNode& node);
  Result<Node> Link(Ino ino, Ino parent, std::string_view name);
  Result<Removed> Unlink(Ino parent, std::string_view name);
  Result<Removed> RemoveFolder(Ino parent, std::string_view name);
  // What the new name led to before, if anything was replaced.
  Result<std::optional<Removed>> Rename(Ino parent, std::string_view name, Ino new_parent,
                                        std::string_view new_name, unsigned flags);
  Result<Node> SetAttributes(Ino ino, const AttributeChange& change);
  Result<void> SetXattr(Ino ino, std::string_view name, std::string_view value, int flags);
  Result<void> RemoveXattr(Ino ino, std::string_view name);
  // Nobody holds this inode, which has no name left, any more: drop what is only local of it.
  Result<void> Forget(Ino ino);

  // --- contents
  // Notes that the file's bytes are about to change, with what this host knows now (the version
  // to come covers that, and this host's own commits since). Idempotent while the note stands.
  // With `durable` the note has reached the disk when this returns.
  Result<void> BeginWrite(Ino ino, bool durable);
  // A new version; the first one publishes the inode, its names and what they replaced.
  // `still_open`: the note of BeginWrite stays. ESTALE if the file was removed here meanwhile.
  Result<Node> Commit(Ino ino, const NewVersion& version, bool still_open);
  // The file turned out unchanged: takes the note back.
  Result<void> AbandonWrite(Ino ino);
  // The bytes turned out to be the version's, but were written again, or somebody set the time
  // meanwhile: takes the note back and sets these times.
  Result<void> CommitTimes(Ino ino, std::int64_t mtime_ns, std::int64_t ctime_ns);
  Result<std::vector<DirtyFile>> DirtyFiles();
  // All transactions that ended before this call have reached the disk when it returns (fsync).
  Result<void> Sync();
  Result<std::vector<VersionInfo>> History(Ino file);

  // --- versions: what files were, also those that are gone. Paths are absolute, from the mount's
  // root: "/a/b". The history is this host's own: what it saw replaced or removed.
  // Of all files that this path leads to or led to, latest first. ENOENT if there never was one,
  // or nothing is kept of it.
  Result<std::vector<VersionInfo>> VersionsAt(std::string_view path);
  // The inodes that this path leads to or led to; ENOENT. Get answers for those that are gone, too.
  Result<PastInodes> InodesAt(std::string_view path);
  // What was ever in the folders of this path; ENOENT, ENOTDIR.
  Result<std::vector<PastName>> NamesAt(std::string_view path);
  // The bytes of a version of at most kInlineMax; EINVAL for others. ENOENT if it is not kept.
  Result<std::string> VersionBytes(Ino ino, const Dot& commit);
  // Makes this version's content the current one again, as an ordinary new version by this host.
  // If the path leads nowhere, the file is made again, and the folders above it. EBUSY if the file
  // is being written here, EISDIR, ENOTDIR, ENOENT.
  Result<void> Restore(std::string_view path, Ino ino, const Dot& commit);
  // What this path led to last, or at the time given, comes back: new files and folders with the
  // contents of then. A folder comes with what was removed together with it (or, with a time, with
  // what it held then). Answers how many. EEXIST if something is there; ENOENT if nothing is kept.
  Result<std::uint64_t> Undelete(std::string_view path, std::optional<std::int64_t> time_ns);
  // Lets go of what is beyond the limits, the oldest first, until `stopped`. Answers how much it
  // was.
  Result<std::uint64_t> PruneVersions(const VersionLimits& limits,
                                      const std::function<bool()>& stopped = {});
  // Lets go of the rows of what was deleted, once all hosts know them and it is not kept any more
  // (see PruneVersions), and says what this host knows where others wait for it. Answers of how
  // many files, folders and names. `in_use`: inodes that somebody here holds, though they may have
  // no name. What is left when it is `stopped` stays for the next time.
  Result<std::uint64_t> Collect(const VersionLimits& limits,
                                const std::unordered_set<Ino>& in_use = {},
                                const std::function<bool()>& stopped = {});
  // The others let go of rows without this host, which was away for too long: it takes nothing of
  // them, and they nothing of it, until its index is made anew (Salvage says what only it had).
  Result<bool> WasLeftBehind();
  // What was removed in an old index of this host's is removed here, too, as by a user: if it is
  // where the remover saw it, it is the file's only name, and all that the file holds he had
  // before him. In any doubt it stays. Answers whether it went.
  Result<bool> RemoveAgain(const SalvagedRemoval& removal);
  // Of the objects that are here for earlier versions alone.
  Result<std::uint64_t> KeptBytes();

  // --- objects
  // Records whether this host's store has the whole object.
  Result<void> SetPresent(const ContentId& id, bool present);
  // Objects of current versions that are not here, ordered by id, after `after`.
  Result<std::vector<ContentId>> Missing(const std::optional<ContentId>& after, std::size_t limit);
  Result<MissingTotal> CountMissing();  // cheap, unlike Count
  // A path of a file whose current version this is; ENOENT.
  Result<std::string> PathOfContent(const ContentId& id);
  // Objects that are here according to the catalogue, ordered by id, after `after`.
  Result<std::vector<ContentId>> Present(const std::optional<ContentId>& after, std::size_t limit);
  // Whether this host's store has the whole object, according to the catalogue.
  Result<bool> IsPresent(const ContentId& id);
  // Files whose current version is this object, at most so many.
  Result<std::vector<Ino>> FilesOf(const ContentId& id, std::size_t limit);
  // Objects that are here of other versions of files that have, or had, this content: the current
  // one first, then the latest, at most so many. Bases for fetching only what differs.
  Result<std::vector<ContentId>> OtherVersions(const ContentId& id, std::size_t limit);
  // How many inodes or kept versions, other than `except`, need this object.
  Result<std::uint64_t> Users(const ContentId& id, std::optional<Ino> except);
  // Of these, the files that have it now: who would lose more than an earlier version.
  Result<std::uint64_t> Holders(const ContentId& id, Ino except);
  // Objects that are present and that no current or kept version needs.
  Result<std::vector<ContentId>> Unused(std::size_t limit);

  // --- many at once
  // Operations of the calling thread until the batch goes out of scope are one transaction
  // (import). Others that write wait.
  class Batch {
   public:
    explicit Batch(Catalogue& catalogue);
    ~Batch();  // rolls back unless Finish was called
    Batch(const Batch&) = delete;
    Batch& operator=(const Batch&) = delete;
    Result<void> Finish();

   private:
    Catalogue& catalogue_;
    bool finished_ = false;
  };

  // --- status
  Result<Counts> Count();
  Result<std::vector<std::string>> Conflicts(std::size_t limit);  // paths
  Result<std::vector<DeviceInfo>> Devices();
  // The host of this device is no member from now on, on any host that hears of it, and for good:
  // with another key of its own it could come back only as another host. What it wrote and others
  // have stays. ENOENT; EINVAL for this host itself.
  Result<void> RemoveMember(const DeviceId& device);
  Result<std::string> PathOf(Ino ino);  // from the root, "/a/b"; of its first live link
  // Whether `ino` was a node's that was removed. False also if its row may have been lost: by a
  // power cut, or with a copy of the database that was put back.
  Result<bool> WasRemoved(Ino ino);
  Result<void> CheckIntegrity();  // SQLite's and the invariants; Error::kCorrupt

  // Called after the transaction, on the thread that applied it, with no lock held.
  void OnChange(std::function<void(const std::vector<Change>&)> listener);
  // Called when this host has new rows for its peers, on the thread that wrote them.
  void OnPublish(std::function<void()> listener);

  // --- Replica
  DeviceId self() const override;
  std::uint64_t incarnation() const override;
  Summary Known() const override;
  Result<std::unique_ptr<DeltaReader>> Cut(const Summary& since) override;
  std::unique_ptr<DeltaWriter> Receive() override;
  bool IsRemoved(const NodeKey& node_key) const override;

 private:
  explicit Catalogue(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace btfc::index
