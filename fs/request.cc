#include "fs/request.h"

#include <spdlog/spdlog.h>

#include <cassert>
#include <cerrno>
#include <vector>

namespace btfc::fs {

Request::~Request() {
  if (request_ == nullptr) return;
  spdlog::error("a request of the kernel was dropped unanswered");
  fuse_reply_err(std::exchange(request_, nullptr), EIO);
}

bool Request::InGroup(std::uint32_t group) const {
  if (gid() == group) return true;
  std::vector<gid_t> groups(32);
  int count = fuse_req_getgroups(request_, static_cast<int>(groups.size()), groups.data());
  if (count > static_cast<int>(groups.size())) {
    groups.resize(static_cast<std::size_t>(count));
    count = fuse_req_getgroups(request_, count, groups.data());
  }
  for (int i = 0; i < count && i < static_cast<int>(groups.size()); ++i) {
    if (groups[static_cast<std::size_t>(i)] == group) return true;
  }
  return false;
}

fuse_req_t Request::Take() {
  assert(request_ != nullptr);
  return std::exchange(request_, nullptr);
}

}  // namespace btfc::fs
