#include "index/incarnation.h"

#include <sys/stat.h>

#include <cstdlib>
#include <fstream>
#include <string>

#include "index/derived_ids.h"

namespace btfc::index {
namespace {

std::string FirstLine(const char* file) {
  std::ifstream stream(file);
  std::string line;
  std::getline(stream, line);
  return line;
}

std::string FileNumber(const std::filesystem::path& file) {
  struct stat status;
  if (stat(file.c_str(), &status) != 0) return {};
  return std::to_string(status.st_ino);
}

std::string AsText(const std::array<std::uint8_t, 32>& bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

std::optional<std::string> GetMeta(Tables& tables, std::string_view key) {
  auto find = tables.db().Prepare("SELECT value FROM meta WHERE key = CAST(? AS TEXT)");
  find << key;
  if (!find.Step()) return std::nullopt;
  return find.String(0);
}

void PutMeta(Tables& tables, std::string_view key, std::string_view value) {
  auto put =
      tables.db().Prepare("INSERT OR REPLACE INTO meta (key, value) VALUES (CAST(? AS TEXT), ?)");
  put << key << value;
  put.Run();
}

}  // namespace

std::uint64_t IncarnationNumber(Tables& tables) {
  return std::strtoull(GetMeta(tables, "incarnation").value_or("").c_str(), nullptr, 10);
}

Incarnation NewIncarnation(Tables& tables, const CatalogueOptions& options,
                           const std::function<std::array<std::uint8_t, 16>()>& new_id) {
  Incarnation incarnation;
  incarnation.fresh = true;
  // Random rather than counted: two copies of one cache would count to the same number.
  for (const auto byte : new_id()) incarnation.number = incarnation.number << 8U | byte;
  if (options.incarnation && !GetMeta(tables, "self")) incarnation.number = *options.incarnation;
  incarnation.device = DeviceIdOf(options.node_key, incarnation.number);
  const auto& bytes = incarnation.device.bytes;
  PutMeta(tables, "self",
          std::string_view(reinterpret_cast<const char*>(bytes.data()), bytes.size()));
  PutMeta(tables, "incarnation", std::to_string(incarnation.number));
  return incarnation;
}

Incarnation OpenIncarnation(Tables& tables, const CatalogueOptions& options,
                            const std::function<std::array<std::uint8_t, 16>()>& new_id) {
  const std::pair<const char*, std::string> now[] = {
      {"machine", FirstLine("/etc/machine-id")},
      {"file", FileNumber(options.path)},
      {"node_key", AsText(options.node_key)},
  };
  const std::string boot = FirstLine("/proc/sys/kernel/random/boot_id");
  const auto self = GetMeta(tables, "self");
  bool fresh = !self || self->size() != sizeof(DeviceId);
  for (const auto& [key, value] : now) fresh = fresh || GetMeta(tables, key) != value;
  // Without a reboot nothing that was committed is lost, whatever ended the process.
  const bool clean = GetMeta(tables, "clean") == "1";
  if (!clean && GetMeta(tables, "boot") != boot) fresh = true;
  for (const auto& [key, value] : now) PutMeta(tables, key, value);
  PutMeta(tables, "boot", boot);
  PutMeta(tables, "clean", "0");
  if (fresh) return NewIncarnation(tables, options, new_id);
  Incarnation incarnation;
  std::copy(self->begin(), self->end(), incarnation.device.bytes.begin());
  incarnation.number = IncarnationNumber(tables);
  // Others would take nothing from a device that is not its key's.
  if (incarnation.device != DeviceIdOf(options.node_key, incarnation.number)) {
    return NewIncarnation(tables, options, new_id);
  }
  return incarnation;
}

void CloseIncarnation(Tables& tables) { PutMeta(tables, "clean", "1"); }

}  // namespace btfc::index
