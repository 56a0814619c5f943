#include "index/horizon_parts.h"

#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "index/summaries.h"

namespace btfc::index {
namespace {

using Devices = std::set<DeviceId>;

// Parts that are united as soon as they share a device; the smaller goes into the larger.
class United {
 public:
  void Add(const Summary& part) {
    std::size_t here = parts_.size();
    parts_.emplace_back();
    for (const auto& [device, n] : part) {
      const auto [found, fresh] = where_.emplace(device, here);
      if (fresh) {
        parts_[here].insert(device);
      } else if (found->second != here) {
        here = Merge(here, found->second);
      }
    }
  }
  Parts Number() {
    std::erase_if(parts_, [](const Devices& devices) { return devices.empty(); });
    std::sort(parts_.begin(), parts_.end());
    Parts numbers;
    for (std::size_t i = 0; i < parts_.size(); ++i) {
      for (const DeviceId& device : parts_[i]) numbers[device] = i + 1;
    }
    return numbers;
  }

 private:
  std::size_t Merge(std::size_t one, std::size_t other) {
    if (parts_[one].size() < parts_[other].size()) std::swap(one, other);
    for (const DeviceId& device : parts_[other]) where_[device] = one;
    parts_[one].merge(parts_[other]);
    parts_[other].clear();
    return one;
  }

  std::vector<Devices> parts_;
  std::map<DeviceId, std::size_t> where_;
};

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
  United united;
  for (const Summary& part : Split(a, parts_of_a)) united.Add(part);
  for (const Summary& part : Split(b, parts_of_b)) united.Add(part);
  return united.Number();
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
