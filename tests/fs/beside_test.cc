// Short jobs that nobody waits for.
#include "fs/beside.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <future>
#include <vector>

namespace btfc::fs {
namespace {

constexpr unsigned kNoLongJobs = 1;

TEST(BesideTest, OneAfterTheOther) {
  constexpr int kJobs = 200;
  Workers workers(kNoLongJobs);
  Beside beside(workers);
  std::vector<int> done;  // without a lock: one thread at a time
  std::promise<void> last;
  for (int job = 0; job < kJobs; ++job) {
    ASSERT_TRUE(beside.Post([&, job] {
      done.push_back(job);
      if (job + 1 == kJobs) last.set_value();
    }));
  }
  last.get_future().wait();
  workers.Stop();
  ASSERT_EQ(done.size(), kJobs);
  EXPECT_TRUE(std::is_sorted(done.begin(), done.end()));
}

TEST(BesideTest, NotMoreThanSoMany) {
  Workers workers(kNoLongJobs);
  Beside beside(workers);
  std::promise<void> go_on;
  const auto held = go_on.get_future().share();
  ASSERT_TRUE(beside.Post([held] { held.wait(); }));
  int accepted = 0;
  while (beside.Post([] {})) {
    ASSERT_LT(++accepted, 100000) << "they are without bounds";
  }
  EXPECT_GT(accepted, 100);
  go_on.set_value();
  workers.Stop();
}

}  // namespace
}  // namespace btfc::fs
