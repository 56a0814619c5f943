#include "fs/page_store.h"

#include <linux/fuse.h>
#include <sys/uio.h>

#include <array>

namespace btfc::fs {

bool PageStore::Put(NodeId node, std::string_view bytes) {
  const std::unique_lock lock(mutex_, std::try_to_lock);
  if (!lock || device_ < 0) return false;
  fuse_out_header header{};
  header.error = FUSE_NOTIFY_STORE;
  fuse_notify_store_out body{};
  body.nodeid = node;
  body.size = static_cast<std::uint32_t>(bytes.size());
  header.len = static_cast<std::uint32_t>(sizeof(header) + sizeof(body) + bytes.size());
  const std::array<iovec, 3> parts{
      {{&header, sizeof(header)},
       {&body, sizeof(body)},
       {const_cast<char*>(bytes.data()), bytes.size()}}};  // NOLINT: writev does not write there
  return ::writev(device_, parts.data(), parts.size()) == static_cast<ssize_t>(header.len);
}

}  // namespace btfc::fs
