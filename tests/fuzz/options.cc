#include "mount-helper/options.h"

#include <string>
#include <vector>

#include "targets.h"

namespace btfc::fuzz {

// Zero bytes part the arguments, as they do in /proc/PID/cmdline. What is wrong fits on one line.
void Options(std::string_view bytes) {
  std::vector<std::string> arguments;
  while (!bytes.empty()) {
    const auto end = bytes.find('\0');
    arguments.emplace_back(bytes.substr(0, end));
    bytes.remove_prefix(end == std::string_view::npos ? bytes.size() : end + 1);
  }
  const auto parsed = mount_helper::ParseMountArguments(arguments, "/home/user", "/tmp");
  if (const auto* const wrong = std::get_if<mount_helper::UsageError>(&parsed)) {
    BTFC_FUZZ_CHECK(!wrong->message.empty());
    BTFC_FUZZ_CHECK(wrong->message.find('\n') == std::string::npos);
  } else if (const auto* const request = std::get_if<mount_helper::MountRequest>(&parsed)) {
    BTFC_FUZZ_CHECK(request->mount_point.is_absolute() && request->cache.is_absolute());
    BTFC_FUZZ_CHECK(request->port != 0 && request->read_timeout.count() > 0);
  }
}

}  // namespace btfc::fuzz
