// Which part of kernel passthrough libfuse has itself.
#pragma once

#define FUSE_USE_VERSION 314
#include <fuse_lowlevel.h>

// From 3.17 on libfuse asks for it in its INIT reply and hands backing ids on when a file is
// opened; before, the shim and raw replies do. Backing files are registered by the ioctl in both
// cases (kernel_backing.cc): libfuse's calls for it want a request, and files are opened on threads
// that have none.
#if FUSE_VERSION >= FUSE_MAKE_VERSION(3, 17)
#define BTFC_LIBFUSE_PASSTHROUGH 1
#endif
