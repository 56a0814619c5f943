// What the swarm needs of the catalogue: summaries and deltas.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "index/ids.h"
#include "index/result.h"

namespace btfc::index {

// All rows that `since` does not cover, cut from one read transaction, as a sequence of parts of
// at most kDeltaPartMax bytes. Holds that transaction open: read it out soon.
class DeltaReader {
 public:
  virtual ~DeltaReader() = default;
  virtual const Summary& since() const = 0;
  virtual const Summary& until() const = 0;
  // The next part, nothing after the last one. Each part says whether it is the last.
  virtual Result<std::optional<std::string>> Next() = 0;
};

// A delta on its way in. Parts are staged; Finish takes them whole or not at all. Dropping it
// drops the stage.
class DeltaWriter {
 public:
  virtual ~DeltaWriter() = default;
  // Error::kCorrupt for bytes that no host of this protocol writes: the peer is broken or hostile.
  // Answers true when this was the last part.
  virtual Result<bool> Add(std::string_view part) = 0;
  // Merges and repairs in one transaction. Error::kNotCovered if this host's summary does not
  // cover the delta's `since`, or no longer does: when the delta shows that this is an old copy of
  // its cache, it becomes another device first and forgets what it knew of itself. Error::kCorrupt
  // as above; Error::kStorage or an errno.
  virtual Result<void> Finish() = 0;
};

inline constexpr std::size_t kDeltaPartMax = 256 * 1024;  // bytes

// All calls from any thread.
class Replica {
 public:
  virtual ~Replica() = default;
  virtual DeviceId self() const = 0;
  // With the host's key it gives self() (DeviceIdOf): so others see whose device it is.
  virtual std::uint64_t incarnation() const = 0;
  virtual Summary Known() const = 0;
  // Nothing if `since` covers all that is known.
  virtual Result<std::unique_ptr<DeltaReader>> Cut(const Summary& since) = 0;
  virtual std::unique_ptr<DeltaWriter> Receive() = 0;
  // A member that was removed: no connection with it, nothing of it is taken. Ask again whenever a
  // delta was applied or rows were published.
  virtual bool IsRemoved(const NodeKey& /*node_key*/) const { return false; }
};

}  // namespace btfc::index
