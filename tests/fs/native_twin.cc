#include "native_twin.h"

#include <unistd.h>

namespace btfc::fs::test {

void NativeTwin::Compare(std::span<const Case> cases, unsigned uid,
                         const std::function<void(const std::filesystem::path&)>& prepare) {
  BTFC_NEED_MOUNT();
  MountedOptions options;
  options.passthrough = GetParam();
  Mounted mounted("twin", options);
  ASSERT_EQ(mounted.mount().passthrough(), GetParam());
  TempFolder native("native");
  for (const Case& one : cases) {
    SCOPED_TRACE(one.name);
    for (const auto& side : {mounted.root(), native.path()}) {
      std::filesystem::create_directory(side / one.name);
      if (prepare) {
        prepare(side / one.name);
      } else {
        ASSERT_EQ(::chown((side / one.name).c_str(), uid, uid), 0);
      }
    }
    EXPECT_EQ(RunScript(mounted / one.name, one.steps, uid),
              RunScript(native / one.name, one.steps, uid));
  }
}

}  // namespace btfc::fs::test
