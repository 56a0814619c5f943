// Three hosts that let go of the rows of what was deleted.
#pragma once

#include <cstdint>
#include <vector>

#include "catalogue_fixture.h"

namespace btfc::index {

inline constexpr std::int64_t kDay_ns = std::int64_t{86'400} * 1'000'000'000;

class ThreeHostsTest : public CatalogueTest {
 protected:
  // What hosts do from time to time.
  void Collect(const std::vector<Host*>& hosts, const VersionLimits& limits) {
    for (Host* host : hosts) {
      EXPECT_TRUE((*host)->PruneVersions(limits));
      const auto gone = (*host)->Collect(limits);
      EXPECT_TRUE(gone) << gone.error().message();
      EXPECT_TRUE((*host)->CheckIntegrity());
    }
  }
  // Until everybody has heard of everybody's horizon.
  void CollectAll(const std::vector<Host*>& hosts, const VersionLimits& limits) {
    for (int round = 0; round < 5; ++round) {
      Tick();
      Collect(hosts, limits);
      Exchange(hosts);
    }
  }
  static VersionLimits NothingKept() {
    VersionLimits limits;
    limits.age_ns = 0;
    limits.absence_ns = 180 * kDay_ns;
    return limits;
  }

  Host a_{'A', &wall_}, b_{'B', &wall_}, c_{'C', &wall_};
  const std::vector<Host*> all_{&a_, &b_, &c_};
};

}  // namespace btfc::index
