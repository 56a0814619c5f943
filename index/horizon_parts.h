// A horizon has parts: devices whose hosts have counted together. Hosts that grew apart and meet
// have several at first, and who knows nothing of a part is a stranger to it, whatever it knows of
// the others. A part says whom it does not count: that host may bring back what the others let go
// of, so nothing is taken from it until it has the horizon itself. tests/model/collection.py has
// the rules.
#pragma once

#include <functional>
#include <optional>
#include <set>
#include <vector>

#include "index/ids.h"

namespace btfc::index {

// device -> the number of its part, with kNotCounted; devices without one are one part, too.
using Parts = Summary;
inline constexpr std::uint64_t kNotCounted = std::uint64_t{1} << 32;

struct Part {
  Summary horizon;
  std::set<DeviceId> out;  // of it, those that are not counted

  bool Counts(const DeviceId& device) const;
};

struct Horizon {
  Summary summary;
  Parts parts;
};

std::vector<Part> Split(const Summary& summary, const Parts& parts);
// Whether a horizon counts a device.
bool IsCounted(const Summary& horizon, const Parts& parts, const DeviceId& device);
// The parts that do not count a device, if its host does not have them.
std::vector<Part> KeptOut(const DeviceId& device, const Summary& has, const Summary& horizon,
                          const Parts& parts);
// Two horizons joined; parts that share a device are one. It counts who counts in both, or of whom
// `promised` says that its host has the horizon in which it does not. Nothing if somebody would
// count no more who did in the one that knew of him, but for `at_once`.
using Promised = std::function<bool(const DeviceId&, const Summary& horizon)>;
std::optional<Horizon> Joined(const Horizon& own, const Horizon& other, const Promised& promised,
                              bool at_once);
bool KnowsAny(const Summary& known, const Summary& of);
// Whether `known` lacks something of a part that does not count the device, nor is strange. Who
// counts is but late.
bool Lacks(const DeviceId& device, const Summary& known, const Summary& horizon,
           const Parts& parts);
// Whether each part of the summary is covered by `known`, or strange to `who`.
bool Ready(const Summary& known, const Summary& summary, const Parts& parts, const Summary& who);

}  // namespace btfc::index
