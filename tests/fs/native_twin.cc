#include "native_twin.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <memory>
#include <system_error>
#include <vector>

#include "user_mount.h"

namespace btfc::fs::test {
namespace {

void Must(int result, const std::filesystem::path& path) {
  if (result != 0) throw std::system_error(errno, std::generic_category(), path);
}

}  // namespace

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
  const TempFolder below("twin");
  const TempFolder native("native");
  std::unique_ptr<UserMount> of_user;
  if (way == Way::kOrdinary || way == Way::kShared) {
    BTFC_NEEDS(::access("/usr/bin/fusermount3", X_OK) == 0, "there is no fusermount3");
    of_user = std::make_unique<UserMount>(way == Way::kOrdinary ? kUser : kMounter);
    ASSERT_TRUE(of_user->ok());
  }
  const auto later = [&](const std::filesystem::path& folder, const Case& one,
                         const std::function<void()>& enter) {
    return std::make_unique<LaterScript>(folder, one.steps, uid, [&, folder, enter] {
      if (enter) enter();
      ::umask(022);
      Must(::mkdir(folder.c_str(), 0755), folder);
      if (prepare) return prepare(folder);
      Must(::chown(folder.c_str(), uid, uid), folder);
    });
  };
  std::vector<std::unique_ptr<LaterScript>> here, there;
  for (const Case& one : cases) {
    here.push_back(of_user ? later(of_user->root() / one.name, one, of_user->Enter())
                           : later(Mounted::RootBelow(below.path()) / one.name, one, {}));
    there.push_back(later(native / one.name, one, {}));
  }
  std::unique_ptr<Mounted> mounted;  // has threads
  if (!of_user) {
    MountedOptions options;
    options.passthrough = way == Way::kPassthrough;
    mounted = std::make_unique<Mounted>("twin", options, below.path());
    ASSERT_EQ(mounted->mount().passthrough(), options.passthrough);
  }
  for (std::size_t i = 0; i < cases.size(); ++i) {
    SCOPED_TRACE(cases[i].name);
    const auto lines = here[i]->Run();
    EXPECT_EQ(lines, there[i]->Run());
  }
}

}  // namespace btfc::fs::test
