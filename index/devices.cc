#include "index/devices.h"

#include <mutex>

namespace btfc::index {
namespace {

void PutVarint(std::string& bytes, std::uint64_t value) {
  for (; value >= 0x80; value >>= 7U) bytes += static_cast<char>(value | 0x80U);
  bytes += static_cast<char>(value);
}

std::uint64_t TakeVarint(std::string_view& bytes) {
  std::uint64_t value = 0;
  for (unsigned shift = 0; shift < 64; shift += 7) {
    if (bytes.empty()) break;
    const auto byte = static_cast<unsigned char>(bytes.front());
    bytes.remove_prefix(1);
    value |= static_cast<std::uint64_t>(byte & 0x7FU) << shift;
    if (byte < 0x80) return value;
  }
  throw StorageFailure(Error::kCorrupt, "a stored context does not parse");
}

}  // namespace

void DeviceTable::Load(Database& database) {
  const std::unique_lock lock(mutex_);
  ids_.clear();
  numbers_.clear();
  auto rows = database.Prepare("SELECT dev, id FROM device ORDER BY dev");
  while (rows.Step()) {
    // Numbers have no gaps: rows are never deleted.
    if (rows.Unsigned(0) != ids_.size() + 1) {
      throw StorageFailure(Error::kCorrupt, "device numbers have a gap");
    }
    ids_.push_back(rows.Fixed<DeviceId>(1));
    numbers_.emplace(ids_.back(), rows.Int(0));
  }
  grew_ = false;
}

std::int64_t DeviceTable::NumberOf(Database& database, const DeviceId& id) {
  if (const auto found = IfKnown(id)) return *found;
  // Only the thread that writes gets here, so nobody else adds in between.
  auto insert = database.Prepare("INSERT INTO device (dev, id) VALUES (?, ?)");
  insert << static_cast<std::uint64_t>(ids_.size() + 1) << id;
  insert.Run();
  const std::unique_lock lock(mutex_);
  ids_.push_back(id);
  numbers_.emplace(id, static_cast<std::int64_t>(ids_.size()));
  grew_ = true;
  return static_cast<std::int64_t>(ids_.size());
}

std::optional<std::int64_t> DeviceTable::IfKnown(const DeviceId& id) const {
  const std::shared_lock lock(mutex_);
  const auto found = numbers_.find(id);
  if (found == numbers_.end()) return std::nullopt;
  return found->second;
}

DeviceId DeviceTable::IdOf(std::int64_t number) const {
  const std::shared_lock lock(mutex_);
  if (number < 1 || static_cast<std::size_t>(number) > ids_.size()) {
    throw StorageFailure(Error::kCorrupt, "a row names a device that is not there");
  }
  return ids_[static_cast<std::size_t>(number - 1)];
}

std::string DeviceTable::Encode(Database& database, const Summary& summary) {
  std::string bytes;
  for (const auto& [device, n] : summary) {
    PutVarint(bytes, static_cast<std::uint64_t>(NumberOf(database, device)));
    PutVarint(bytes, n);
  }
  return bytes;
}

Summary DeviceTable::Decode(std::string_view bytes) const {
  Summary summary;
  while (!bytes.empty()) {
    const auto number = static_cast<std::int64_t>(TakeVarint(bytes));
    summary[IdOf(number)] = TakeVarint(bytes);
  }
  return summary;
}

std::string DeviceTable::EncodeKnown(Database& database, const Known& known) {
  std::string bytes;
  PutVarint(bytes, known.context.size());
  bytes += Encode(database, known.context);
  for (const Dot& commit : known.aside) {
    PutVarint(bytes, static_cast<std::uint64_t>(NumberOf(database, commit.device)));
    PutVarint(bytes, commit.n);
  }
  return bytes;
}

Known DeviceTable::DecodeKnown(std::string_view bytes) const {
  Known known;
  for (std::uint64_t left = TakeVarint(bytes); left > 0; --left) {
    const auto number = static_cast<std::int64_t>(TakeVarint(bytes));
    known.context[IdOf(number)] = TakeVarint(bytes);
  }
  while (!bytes.empty()) {
    const auto number = static_cast<std::int64_t>(TakeVarint(bytes));
    known.aside.insert({IdOf(number), TakeVarint(bytes)});
  }
  return known;
}

}  // namespace btfc::index
