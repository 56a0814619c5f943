// Which device this cache is. A dot must never be used twice, so a cache that may have forgotten
// rows that it wrote, or that exists twice, goes on as a new device.
#pragma once

#include <array>
#include <functional>
#include <optional>

#include "index/catalogue.h"
#include "index/tables.h"

namespace btfc::index {

struct Incarnation {
  DeviceId device;
  std::uint64_t number = 0;
  bool fresh = false;  // taken just now
};

// At opening, inside a transaction that is synced to the disk before anything is sent. Takes a new
// device after an unclean end across a reboot, and when the machine, the database file or the
// node key are others than before.
Incarnation OpenIncarnation(Tables& tables, const CatalogueOptions& options,
                            const std::function<std::array<std::uint8_t, 16>()>& new_id);
// A peer knows more of this device than it wrote: this is an old copy of it.
Incarnation NewIncarnation(Tables& tables, const CatalogueOptions& options,
                           const std::function<std::array<std::uint8_t, 16>()>& new_id);
// That of meta.self, inside a transaction.
std::uint64_t IncarnationNumber(Tables& tables);
// An orderly end.
void CloseIncarnation(Tables& tables);

}  // namespace btfc::index
