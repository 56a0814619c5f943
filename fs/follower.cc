#include "fs/follower.h"

#include "index/cpu.h"

namespace btfc::fs {
namespace {

// To ask where a thread runs costs as much as one request.
constexpr unsigned kLook = 64;

}  // namespace

void Follower::Asked(pid_t asker) {
  if (asker == 0) return;
  if (asker != asker_) {
    asker_ = asker;
    in_row_ = 0;
  } else if (++in_row_ % kLook == 0) {
    index::GoToCpu(index::CpuOf(asker));
  }
}

}  // namespace btfc::fs
