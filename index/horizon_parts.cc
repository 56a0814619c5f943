#include "index/horizon_parts.h"

#include <algorithm>
#include <map>
#include <set>

#include "index/summaries.h"

namespace btfc::index {
namespace {

using Devices = std::set<DeviceId>;

// Takes what shares a device with it out of `all`, and puts all of that in as one.
void Add(std::vector<Devices>& all, Devices one) {
  for (auto other = all.begin(); other != all.end();) {
    const bool shared = std::any_of(other->begin(), other->end(),
                                    [&](const DeviceId& device) { return one.contains(device); });
    if (!shared) {
      ++other;
      continue;
    }
    one.merge(*other);
    other = all.erase(other);
  }
  all.push_back(std::move(one));
}

}  // namespace

std::vector<Summary> Split(const Summary& summary, const Parts& parts) {
  std::map<std::uint64_t, Summary> by_number;
  for (const auto& [device, n] : summary) {
    const auto part = parts.find(device);
    by_number[part == parts.end() ? 0 : part->second][device] = n;
  }
  std::vector<Summary> split;
  for (auto& [number, part] : by_number) split.push_back(std::move(part));
  return split;
}

Parts Unite(const Summary& a, const Parts& parts_of_a, const Summary& b, const Parts& parts_of_b) {
  std::vector<Devices> united;
  for (const auto& split : {Split(a, parts_of_a), Split(b, parts_of_b)}) {
    for (const Summary& part : split) {
      Devices devices;
      for (const auto& [device, n] : part) devices.insert(device);
      Add(united, std::move(devices));
    }
  }
  std::sort(united.begin(), united.end());
  Parts parts;
  for (std::size_t i = 0; i < united.size(); ++i) {
    for (const DeviceId& device : united[i]) parts[device] = i + 1;
  }
  return parts;
}

bool KnowsAny(const Summary& known, const Summary& of) {
  return std::any_of(of.begin(), of.end(), [&known](const auto& entry) {
    return entry.second > 0 && Covers(known, Dot{entry.first, 1});
  });
}

bool Ready(const Summary& known, const Summary& summary, const Parts& parts, const Summary& who) {
  const auto split = Split(summary, parts);
  return std::all_of(split.begin(), split.end(), [&](const Summary& part) {
    return Covers(known, part) || !KnowsAny(who, part);
  });
}

}  // namespace btfc::index
