// The file into which a large object is fetched. Internal to torrent/. Any thread; reads and
// writes the disk, for long.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <set>
#include <vector>

#include "index/content.h"
#include "index/merkle.h"
#include "index/result.h"

namespace btfc::torrent {

struct PartialFile {
  std::filesystem::path file;
  std::filesystem::path note;  // which pieces are there, while nobody fetches
};

// A whole object that probably shares pieces, with the hashes of its pieces.
struct BaseObject {
  index::ContentId id;
  std::filesystem::path file;
  std::vector<index::Hash> layer;
  std::optional<std::set<std::uint64_t>> only = {};  // the pieces that may be taken, if not all
};

// Somebody reads the object while it is made ready: what is read is copied first.
struct CopyHooks {
  std::function<std::set<std::uint64_t>()> read = [] { return std::set<std::uint64_t>(); };
  // These pieces stand in the file, unless their base was written to meanwhile: to be verified.
  std::function<void(std::uint64_t first, std::uint64_t last)> copied = [](auto, auto) {};
};

// Opens the file for writing, and makes it and its folder if they are not there; `flags`: further
// ones of open(2). -1 and errno. One that was about to become an object when the process was killed
// could only be read: its owner may write to it again.
int OpenPartial(const std::filesystem::path& file, int flags);

// Makes the file ready to be fetched into, with the object's length, and answers which of its
// pieces are there: those that an earlier fetch left, what it has in common with objects of
// `next_base`, which is asked until it answers nothing or all is there, and the pieces that are all
// zeros by their hashes, which become holes. A base that is written to, or whose name leads to
// another file, while it is copied gives nothing. The note of an orderly stop is believed as long
// as the machine was not started anew since; otherwise every piece is hashed. ENOSPC and the like;
// Error::kCancelled.
Result<std::vector<bool>> PreparePartial(
    const PartialFile& partial, const index::ContentId& id, const std::vector<index::Hash>& layer,
    const std::function<std::optional<BaseObject>()>& next_base,
    const std::function<bool()>& cancelled, const CopyHooks& hooks = {});

struct PartialPieces {
  std::vector<bool> have;
  std::vector<bool> later;  // they stand in bases, from where PreparePartial takes them; or empty
};

// Copying may take longer than an object lives at its only holder. If all but `few_bytes` at most
// stand in the bases, more than that, and extents cannot be shared, this makes the file ready to be
// fetched into without copying anything. Nothing if that is not so, the fetch had begun before or
// the disk refuses. Quick.
std::optional<PartialPieces> PrepareFew(const PartialFile& partial, const index::ContentId& id,
                                        const std::vector<index::Hash>& layer,
                                        const std::vector<BaseObject>& bases,
                                        std::uint64_t few_bytes);
// Long runs of zeros in [begin, end) become holes, which a sparse file's bytes cannot tell. Where
// that fails the file only takes more room.
void PunchZeros(const std::filesystem::path& file, std::uint64_t begin, std::uint64_t end);
// What the file takes of the disk and shares with no other file, in bytes; 0 if it is not there.
// What it shares goes to another place when it is written to.
std::uint64_t OwnDiskBytes(const std::filesystem::path& file);
// Nobody writes to the file any more.
void NotePartial(const PartialFile& partial, const index::ContentId& id,
                 const std::vector<bool>& have);
// Whether the piece's bytes can be read from the file.
bool PieceIsThere(const std::filesystem::path& file, const index::ContentId& id,
                  const std::vector<index::Hash>& layer, std::uint64_t piece);

}  // namespace btfc::torrent
