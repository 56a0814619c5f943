// What users of the simulation do with earlier versions, and with what was deleted.
#include <fmt/format.h>

#include "simulation.h"

namespace btfc::index {

// Of something that is there, or was.
std::string Simulation::SomePath(Moment& moment) {
  std::string path;
  while (path.empty() || random_.Percent(40)) {
    const auto names = moment.host.catalogue().NamesAt(path);
    if (!names || names.value().empty()) break;
    path += "/" + random_.Pick(names.value()).name;
  }
  return path;
}

void Simulation::Undelete(Moment& moment) {
  const std::string path = SomePath(moment);
  if (path.empty()) return;
  const auto undeleted = moment.host.catalogue().Undelete(path, std::nullopt);
  Say(fmt::format("  {}: {}", path, undeleted ? "back" : undeleted.error().message()));
  moment.exact = !undeleted;
  if (!undeleted) return;
  if (undeleted.value() == 0) throw std::runtime_error("nothing came back, and no error");
  const Tree after = moment.host.ReadTree();
  if (after.count(path) == 0) throw std::runtime_error(path + " did not come back");
  for (const auto& [at, entry] : moment.before) {
    const auto now = after.find(at);
    if (now == after.end() || !(now->second == entry)) {
      throw std::runtime_error("undeleting " + path + " changed " + at);
    }
  }
  // The listener was told; nobody here asked for these names.
  moment.want = moment.before;
}

void Simulation::RestoreVersion(Moment& moment) {
  const std::string path = SomePath(moment);
  const auto versions = moment.host.catalogue().VersionsAt(path);
  if (!versions) return;
  const VersionInfo version = random_.Pick(versions.value());
  const auto bytes =
      Must(moment.host.catalogue().VersionBytes(version.ino, version.commit), "an old version");
  const auto restored = moment.host.catalogue().Restore(path, version.ino, version.commit);
  Say(fmt::format("  {} {}: {}", path, bytes, restored ? "back" : restored.error().message()));
  moment.exact = !restored;
  if (!restored) return;
  const auto old = moment.before.find(path);
  if (old != moment.before.end() && old->second.kind == Kind::kFile) {
    replaced_.insert(old->second.content);
  }
  const Tree after = moment.host.ReadTree();
  const auto now = after.find(path);
  if (now == after.end() || now->second.content != bytes) {
    throw std::runtime_error(path + " has not the version that was restored");
  }
}

void Simulation::Prune(Moment& moment) {
  constexpr std::int64_t kAges[] = {0, 60'000'000'000, 86'400'000'000'000};
  Must(moment.host.catalogue().PruneVersions({.age_ns = random_.Pick(kAges)}), "prune");
}

}  // namespace btfc::index
