// Devices and their short local numbers.
#pragma once

#include <optional>
#include <shared_mutex>
#include <string>
#include <unordered_map>
#include <vector>

#include "index/ids.h"
#include "index/known.h"
#include "index/sqlite.h"

namespace btfc::index {

struct IdHash {
  template <class Tag>
  std::size_t operator()(const Id<Tag>& id) const {
    std::size_t hash;
    static_assert(sizeof(hash) <= sizeof(id.bytes));
    __builtin_memcpy(&hash, id.bytes.data(), sizeof(hash));
    return hash;
  }
};

// A copy of table device in memory. Numbers are given by the thread that writes; any thread reads.
class DeviceTable {
 public:
  // At opening, and after a transaction that gave numbers was rolled back.
  void Load(Database& database);
  std::int64_t NumberOf(Database& database, const DeviceId& id);  // gives one if there is none
  DeviceId IdOf(std::int64_t number) const;
  std::optional<std::int64_t> IfKnown(const DeviceId& id) const;
  bool grew() const { return grew_; }  // since Load or Settle
  void Settle() { grew_ = false; }

  // As they are stored: varints, number and n in turn; before those of a Known's context, how many
  // they are.
  std::string Encode(Database& database, const Summary& summary);
  Summary Decode(std::string_view bytes) const;
  std::string EncodeKnown(Database& database, const Known& known);
  Known DecodeKnown(std::string_view bytes) const;

 private:
  mutable std::shared_mutex mutex_;
  std::vector<DeviceId> ids_;  // by number - 1
  std::unordered_map<DeviceId, std::int64_t, IdHash> numbers_;
  bool grew_ = false;
};

}  // namespace btfc::index
