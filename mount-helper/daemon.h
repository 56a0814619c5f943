// The daemon behind a mount: makes the parts, plugs them together, ends them in order.
#pragma once

#include "mount-helper/options.h"
#include "mount-helper/reporter.h"

namespace btfc::mount_helper {

// Mounts and serves until the filesystem is unmounted or a SIGTERM, SIGINT or SIGHUP comes. Tells
// `reporter` when the mount answers, or why it never will. Called on the process's first thread
// before any other was started.
ExitCode RunDaemon(const MountRequest& request, Reporter& reporter);

}  // namespace btfc::mount_helper
