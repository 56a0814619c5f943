#include "native_twin.h"

#include <sys/stat.h>
#include <unistd.h>

#include <memory>

#include "user_mount.h"

namespace btfc::fs::test {

std::string WayName(const testing::TestParamInfo<Way>& way) {
  switch (way.param) {
    case Way::kPassthrough:
      return "Passthrough";
    case Way::kCached:
      return "Cached";
    case Way::kOrdinary:
      return "OrdinaryUser";
    case Way::kShared:
      return "OfAnotherUser";
  }
  return {};
}

void NativeTwin::Compare(std::span<const Case> cases, unsigned uid,
                         const std::function<void(const std::filesystem::path&)>& prepare) {
  BTFC_NEED_MOUNT();
  const Way way = GetParam();
  std::unique_ptr<Mounted> mounted;
  std::unique_ptr<UserMount> of_user;
  Side mount;
  if (way == Way::kOrdinary || way == Way::kShared) {
    BTFC_NEEDS(::access("/usr/bin/fusermount3", X_OK) == 0, "there is no fusermount3");
    of_user = std::make_unique<UserMount>(way == Way::kOrdinary ? kUser : kMounter);
    ASSERT_TRUE(of_user->ok());
    mount = {of_user->root(), of_user->Enter()};
  } else {
    MountedOptions options;
    options.passthrough = way == Way::kPassthrough;
    mounted = std::make_unique<Mounted>("twin", options);
    ASSERT_EQ(mounted->mount().passthrough(), options.passthrough);
    mount = {mounted->root(), {}};
  }
  TempFolder native("native");
  for (const Case& one : cases) {
    SCOPED_TRACE(one.name);
    std::vector<std::string> lines[2];
    std::size_t i = 0;
    for (const Side& side : {mount, Side{native.path(), {}}}) {
      const auto folder = side.root / one.name;
      const auto make = [&] {
        ::umask(022);
        if (::mkdir(folder.c_str(), 0755) != 0) return 1;
        if (prepare) {
          prepare(folder);
          return 0;
        }
        return ::chown(folder.c_str(), uid, uid) == 0 ? 0 : 2;
      };
      ASSERT_EQ(InProcess(make, 0, side.enter), 0);
      lines[i++] = RunScript(folder, one.steps, uid, side.enter);
    }
    EXPECT_EQ(lines[0], lines[1]);
  }
}

}  // namespace btfc::fs::test
