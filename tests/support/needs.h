// For tests that not every machine can run.
#pragma once

#include <gtest/gtest.h>

#include <cstdlib>

// In a test's body or SetUp: without `condition` the test is skipped, and `why` says so. Where CI
// is set it fails instead: there everything has to run.
#define BTFC_NEEDS(condition, why)                                             \
  if (!(condition)) {                                                          \
    if (std::getenv("CI") != nullptr) FAIL() << "CI has to run this: " << why; \
    GTEST_SKIP() << why;                                                       \
  }                                                                            \
  static_assert(true)
