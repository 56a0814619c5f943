// What the swarm needs of the object store.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string_view>
#include <vector>

#include "index/content.h"
#include "index/result.h"

namespace btfc::torrent {

// Implemented by mount-helper over fs::ObjectStore and index::Catalogue. Calls from any of the
// swarm's threads; they may touch the disk but wait for no peer.
class ObjectPort {
 public:
  virtual ~ObjectPort() = default;
  // The file of a whole object of this host, which may be served.
  virtual std::optional<std::filesystem::path> Find(const index::ContentId& id) = 0;
  // The file into which an object is fetched, and which reads that wait are answered from.
  virtual std::filesystem::path PartialPath(const index::ContentId& id) = 0;
  // Whole objects of this host that probably share pieces with `id`, a few, the likeliest first.
  virtual std::vector<index::ContentId> Bases(const index::ContentId& id) = 0;
  // What this host lacks of the contents that its index names.
  struct Lack {
    std::uint64_t objects = 0;
    std::uint64_t bytes = 0;
    bool operator==(const Lack&) const = default;
  };
  virtual std::optional<Lack> Missing() { return std::nullopt; }
  // Objects that have a partial file and that no current file has any more.
  virtual std::vector<index::ContentId> UnneededPartials() { return {}; }
  // Whether a current file still has this content. What was superseded on its way is given up.
  virtual bool Needed(const index::ContentId& /*id*/) { return true; }
  // Whether the disk can take so many bytes more and keep what others need of it. What nobody waits
  // for is not fetched otherwise.
  virtual bool HasRoom(std::uint64_t /*bytes*/) { return true; }
  // A wanted object that was found in the store: it came by another way, or its arrival could not
  // be recorded. After an error it is tried again.
  virtual Result<void> Found(const index::ContentId& /*id*/) { return Ok(); }
  // PartialPath(id) now holds exactly the verified bytes, and the swarm has closed it.
  virtual Result<void> Arrived(const index::ContentId& id) = 0;
};

}  // namespace btfc::torrent
