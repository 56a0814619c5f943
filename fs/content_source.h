// What the filesystem needs of the outside world: bytes that are not here.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "index/content.h"
#include "index/merkle.h"
#include "index/result.h"

namespace btfc::fs {

// Implemented by mount-helper over torrent::Swarm. Calls from any thread, never with a lock of fs
// held; callbacks come on a thread that is not a FUSE worker, with no lock held.
class ContentSource {
 public:
  using Done = std::function<void(Result<void>)>;
  virtual ~ContentSource() = default;
  // Asks for bytes [offset, offset + length) of an object, first of all. `done` comes once: with
  // success when pread in ObjectStore::PartialPath (or in the object, if it arrived whole) gives
  // them; Error::kCancelled after Cancel. It may never come otherwise.
  virtual std::uint64_t Request(const index::ContentId& id, std::uint64_t offset,
                                std::uint64_t length, Done done) = 0;
  virtual void Cancel(std::uint64_t request) = 0;
  // What HashFile told of an object that is about to be Available, before any row tells others of
  // it: who serves it need not read it again.
  virtual void Hashed(const index::ContentId& /*id*/, const std::vector<index::Hash>& /*pieces*/) {}
  // What Hashed was told of an object, or what came with it, if it was kept; it is the object's for
  // certain. May read the disk.
  virtual std::optional<std::vector<index::Hash>> PiecesOf(const index::ContentId& /*id*/) {
    return std::nullopt;
  }
  // This object is whole in the store: serve it.
  virtual void Available(const index::ContentId& id) = 0;
  // Stop serving this object; `done` when no descriptor of it is open outside fs.
  virtual void Withdraw(const index::ContentId& id, std::function<void()> done) = 0;
};

}  // namespace btfc::fs
