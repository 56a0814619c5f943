// Bytes for the kernel's page cache that it need not ask for.
#pragma once

#include <mutex>
#include <string_view>

#include "fs/node_table.h"

namespace btfc::fs {

// FUSE_NOTIFY_STORE (fs/fuse/dev.c, fuse_notify_store): a notice that costs a quarter of a READ,
// for which a process has to stop and start again. Any thread.
class PageStore {
 public:
  // `device` must stay open as long as requests are answered.
  void Start(int device) { device_ = device; }
  // Whether the kernel has now pages with `bytes`, which are all there is of the file. Only for a
  // node that was never open, so that it has no pages yet, and nobody waits for one with it locked.
  bool Put(NodeId node, std::string_view bytes);

 private:
  int device_ = -1;
  // One thread at a time, who else comes does without: the kernel may make it wait for a page, and
  // there must be somebody left to answer whoever has that.
  std::mutex mutex_;
};

}  // namespace btfc::fs
