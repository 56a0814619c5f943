// mount.btfc: mounts a cluster's folder.
#include <fmt/format.h>
#include <malloc.h>

#include <cstdio>
#include <filesystem>

#include "mount-helper/daemon.h"
#include "mount-helper/mounts.h"
#include "mount-helper/options.h"
#include "mount-helper/reporter.h"

namespace btfc::mount_helper {
namespace {

// Every thread has memory of its own, which would be given back to the kernel and taken again, page
// by page, with each operation.
constexpr int kKeptMemory = 4 << 20;  // bytes, of a thread

int Main(const std::vector<std::string>& arguments) {
  ::mallopt(M_TRIM_THRESHOLD, kKeptMemory);
  std::error_code error;
  const auto parsed =
      ParseMountArguments(arguments, HomeFolder(), std::filesystem::current_path(error));
  if (const auto* wrong = std::get_if<UsageError>(&parsed)) {
    fmt::print(stderr, "mount.btfc: {}\n", wrong->message);
    return kExitUsage;
  }
  if (const auto* help = std::get_if<HelpRequest>(&parsed)) {
    fmt::print("{}", help->version ? "mount.btfc " BTFC_VERSION "\n" : MountUsage());
    return kExitOk;
  }
  auto request = std::get<MountRequest>(parsed);
  request.mount_point = WithoutSymlinks(request.mount_point);
  Reporter reporter = request.foreground || request.fake ? Reporter() : GoToBackground();
  return RunDaemon(request, reporter);
}

}  // namespace
}  // namespace btfc::mount_helper

int main(int argc, char** argv) {
  try {
    return btfc::mount_helper::Main({argv + 1, argv + argc});
  } catch (const std::exception& error) {
    std::fprintf(stderr, "mount.btfc: %s\n", error.what());
    return btfc::mount_helper::kExitBug;
  }
}
