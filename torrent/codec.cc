#include "torrent/codec.h"

#include <algorithm>

namespace btfc::torrent {

void ToWire(const index::ContentId& id, wire::Content* out) {
  out->set_root(id.root.data(), id.root.size());
  out->set_size(id.size);
}

void ToWire(const index::Summary& summary, wire::Summary* out) {
  out->mutable_known()->Reserve(static_cast<int>(summary.size()));
  for (const auto& [device, number] : summary) {
    auto* const known = out->add_known();
    known->set_device(device.bytes.data(), device.bytes.size());
    known->set_number(number);
  }
}

std::string ToBytes(const index::DeviceId& device) {
  return {reinterpret_cast<const char*>(device.bytes.data()), device.bytes.size()};
}

std::optional<index::ContentId> FromWire(const wire::Content& content) {
  index::ContentId id;
  if (content.root().size() != id.root.size() || content.size() == 0 ||
      content.size() > kObjectSizeMax) {
    return std::nullopt;
  }
  std::copy(content.root().begin(), content.root().end(), id.root.begin());
  id.size = content.size();
  return id;
}

std::optional<index::Summary> FromWire(const wire::Summary& summary) {
  if (static_cast<std::size_t>(summary.known_size()) > kDevicesMax) return std::nullopt;
  index::Summary result;
  for (const auto& known : summary.known()) {
    const auto device = ToDevice(known.device());
    if (!device || known.number() == 0) return std::nullopt;
    if (!result.emplace(*device, known.number()).second) return std::nullopt;
  }
  return result;
}

std::optional<index::DeviceId> ToDevice(std::string_view bytes) {
  index::DeviceId device;
  if (bytes.size() != device.bytes.size()) return std::nullopt;
  std::copy(bytes.begin(), bytes.end(), device.bytes.begin());
  return device;
}

std::string SafeName(std::string_view name) {
  std::string safe(name.substr(0, kHostNameMax));
  for (char& c : safe) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte == 0x7f) c = '?';
  }
  return safe;
}

bool Covers(const index::Summary& summary, const index::Summary& other) {
  return std::all_of(other.begin(), other.end(), [&summary](const auto& known) {
    const auto found = summary.find(known.first);
    return found != summary.end() && found->second >= known.second;
  });
}

void Join(index::Summary& summary, const index::Summary& other) {
  for (const auto& [device, number] : other) {
    auto& mine = summary[device];
    mine = std::max(mine, number);
  }
}

}  // namespace btfc::torrent
