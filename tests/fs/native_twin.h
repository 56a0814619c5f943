// Scripts of system calls run in the mount and in an ordinary folder beside it: results, errno and
// what stat shows afterwards must be the same.
#pragma once

#include <sys/types.h>

#include <functional>
#include <span>
#include <string>

#include "mounted.h"
#include "script.h"

namespace btfc::fs::test {

inline constexpr unsigned kUser = 61234;  // an ordinary user without a name

struct Case {
  const char* name;
  Steps steps;
};

// The parameter: with passthrough, or cached.
class NativeTwin : public testing::TestWithParam<bool> {
 protected:
  // Runs every case as this user (0: root), each in a folder of its own, which is the user's,
  // unless `prepare` fills it as root before.
  static void Compare(std::span<const Case> cases, unsigned uid,
                      const std::function<void(const std::filesystem::path&)>& prepare = {});
};

inline std::string ModeName(const testing::TestParamInfo<bool>& mode) {
  return mode.param ? "Passthrough" : "Cached";
}

}  // namespace btfc::fs::test
