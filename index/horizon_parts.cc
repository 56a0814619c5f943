#include "index/horizon_parts.h"

#include <algorithm>
#include <map>
#include <utility>

#include "index/summaries.h"

namespace btfc::index {
namespace {

using Devices = std::set<DeviceId>;

Devices DevicesOf(const Summary& summary) {
  Devices devices;
  for (const auto& [device, n] : summary) devices.insert(device);
  return devices;
}

bool Share(const Summary& a, const Summary& b) {
  return std::any_of(a.begin(), a.end(),
                     [&b](const auto& entry) { return b.contains(entry.first); });
}

// Numbered in the order of their devices, so that hosts with the same parts say the same.
Horizon Number(std::vector<Part> parts) {
  std::sort(parts.begin(), parts.end(), [](const Part& a, const Part& b) {
    return DevicesOf(a.horizon) < DevicesOf(b.horizon);
  });
  Horizon numbered;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    for (const auto& [device, n] : parts[i].horizon) {
      numbered.summary[device] = n;
      numbered.parts[device] = (i + 1) | (parts[i].out.contains(device) ? kNotCounted : 0);
    }
  }
  return numbered;
}

// One part joined with the own ones that share a device with it.
std::optional<Part> JoinParts(const Part& other, const std::vector<Part>& shared,
                              const Promised& promised, bool at_once) {
  Part joined{other.horizon, {}};
  for (const Part& own : shared) JoinInto(joined.horizon, own.horizon);
  for (const DeviceId& device : other.out) {
    if (!promised(device, other.horizon)) joined.out.insert(device);
  }
  for (const Part& own : shared) {
    if (!at_once && !Covers(other.horizon, own.horizon) &&
        DevicesOf(other.horizon) != DevicesOf(own.horizon)) {
      return std::nullopt;
    }
    for (const auto& [device, n] : joined.horizon) {
      if (!own.Counts(device) && !promised(device, own.horizon)) {
        if (!at_once && !own.out.contains(device) && !other.out.contains(device)) {
          return std::nullopt;
        }
        joined.out.insert(device);
      }
      if (own.horizon.contains(device) && !other.horizon.contains(device) &&
          !promised(device, other.horizon)) {
        joined.out.insert(device);
      }
    }
  }
  return joined;
}

}  // namespace

bool Part::Counts(const DeviceId& device) const {
  return horizon.contains(device) && !out.contains(device);
}

std::vector<Part> Split(const Summary& summary, const Parts& parts) {
  std::map<std::uint64_t, Part> by_number;
  for (const auto& [device, n] : summary) {
    const auto found = parts.find(device);
    const std::uint64_t number = found == parts.end() ? 0 : found->second;
    Part& part = by_number[number & ~kNotCounted];
    part.horizon[device] = n;
    if ((number & kNotCounted) != 0) part.out.insert(device);
  }
  std::vector<Part> split;
  split.reserve(by_number.size());
  for (auto& [number, part] : by_number) split.push_back(std::move(part));
  return split;
}

bool IsCounted(const Summary& horizon, const Parts& parts, const DeviceId& device) {
  if (!horizon.contains(device)) return false;
  const auto found = parts.find(device);
  return found == parts.end() || (found->second & kNotCounted) == 0;
}

std::vector<Part> KeptOut(const DeviceId& device, const Summary& has, const Summary& horizon,
                          const Parts& parts) {
  auto split = Split(horizon, parts);
  std::erase_if(split,
                [&](const Part& part) { return part.Counts(device) || Covers(has, part.horizon); });
  return split;
}

std::optional<Horizon> Joined(const Horizon& own, const Horizon& other, const Promised& promised,
                              bool at_once) {
  std::vector<Part> parts = Split(own.summary, own.parts);
  for (const Part& part : Split(other.summary, other.parts)) {
    const auto apart = std::partition(parts.begin(), parts.end(), [&part](const Part& held) {
      return !Share(held.horizon, part.horizon);
    });
    const std::vector<Part> shared(apart, parts.end());
    if (std::any_of(shared.begin(), shared.end(),
                    [&part](const Part& held) { return Covers(held.horizon, part.horizon); })) {
      continue;
    }
    auto joined = JoinParts(part, shared, promised, at_once);
    if (!joined) return std::nullopt;
    parts.erase(apart, parts.end());
    parts.push_back(std::move(*joined));
  }
  return Number(std::move(parts));
}

bool KnowsAny(const Summary& known, const Summary& of) {
  return std::any_of(of.begin(), of.end(), [&known](const auto& entry) {
    return entry.second > 0 && Covers(known, Dot{entry.first, 1});
  });
}

bool Lacks(const DeviceId& device, const Summary& known, const Summary& horizon,
           const Parts& parts) {
  const auto without = KeptOut(device, known, horizon, parts);
  return std::any_of(without.begin(), without.end(),
                     [&known](const Part& part) { return KnowsAny(known, part.horizon); });
}

bool Ready(const Summary& known, const Summary& summary, const Parts& parts, const Summary& who) {
  const auto split = Split(summary, parts);
  return std::all_of(split.begin(), split.end(), [&](const Part& part) {
    return Covers(known, part.horizon) || !KnowsAny(who, part.horizon);
  });
}

}  // namespace btfc::index
