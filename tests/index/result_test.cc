#include "index/result.h"

#include <gtest/gtest.h>

#include <cerrno>

namespace btfc {
namespace {

TEST(ResultTest, ErrnoGoesThroughUnchanged) { EXPECT_EQ(ENOSPC, ToErrno(Errno(ENOSPC))); }

TEST(ResultTest, OurOwnErrorsBecomeWhatAnApplicationUnderstands) {
  EXPECT_EQ(EINTR, ToErrno(Error::kCancelled));
  EXPECT_EQ(EIO, ToErrno(Error::kStorage));
}

}  // namespace
}  // namespace btfc
