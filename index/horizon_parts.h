// A horizon has parts: devices whose hosts have counted together. Hosts that grew apart and meet
// have several at first, and who knows nothing of a part is a stranger to it, whatever it knows of
// the others. tests/model/collection.py has the rules.
#pragma once

#include <vector>

#include "index/ids.h"

namespace btfc::index {

// device -> the number of its part; devices without one are one part, too.
using Parts = Summary;

// The summary by parts.
std::vector<Summary> Split(const Summary& summary, const Parts& parts);
// The parts of two horizons joined: those that share a device are one.
Parts Unite(const Summary& a, const Parts& parts_of_a, const Summary& b, const Parts& parts_of_b);
bool KnowsAny(const Summary& known, const Summary& of);
// Whether each part of the summary is covered by `known`, or strange to `who`.
bool Ready(const Summary& known, const Summary& summary, const Parts& parts, const Summary& who);

}  // namespace btfc::index
