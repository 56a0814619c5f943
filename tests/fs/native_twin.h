// Scripts of system calls run in the mount and in an ordinary folder beside it: results, errno and
// what stat shows afterwards must be the same.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <span>
#include <string>

#include "mounted.h"
#include "script.h"

namespace btfc::fs::test {

inline constexpr unsigned kUser = 61234;  // ordinary users without a name
inline constexpr unsigned kMounter = 61230;

struct Case {
  const char* name;
  Steps steps;
};

// How the folder under test is mounted.
enum class Way : std::uint8_t {
  kPassthrough,  // by root
  kCached,       // by root, without passthrough
  kOrdinary,     // by kUser through fusermount3
  kShared,       // by kMounter through fusermount3, who lets the others in
};
inline const auto kEveryWay =
    testing::Values(Way::kPassthrough, Way::kCached, Way::kOrdinary, Way::kShared);
std::string WayName(const testing::TestParamInfo<Way>& way);

class NativeTwin : public testing::TestWithParam<Way> {
 protected:
  // Runs every case as this user (0: root), each in a folder of its own, which is the user's,
  // unless `prepare` fills it as root before (in a process of its own).
  static void Compare(std::span<const Case> cases, unsigned uid,
                      const std::function<void(const std::filesystem::path&)>& prepare = {});
};

}  // namespace btfc::fs::test
