// Whether rows may be taken from a host, by what both have let go of.
#include <gtest/gtest.h>

#include "index/catalogue.h"
#include "index/collection.h"
#include "tests/support/temp_dir.h"

namespace btfc::index {
namespace {

DeviceId DeviceOf(char letter) {
  DeviceId id;
  id.bytes.fill(static_cast<std::uint8_t>(letter));
  return id;
}

// What device m, which let go of rows of q, says to a giver that let go of rows of its own and
// knows so much of q.
Collection::Verdict Judge(char giver_device, std::uint64_t of_q) {
  const test::TempDir folder;
  CatalogueOptions options;
  options.path = folder / "index.db";
  EXPECT_TRUE(Catalogue::Open(options));
  const auto db = Database::Open(options.path, Database::Mode::kReadWrite).value();
  DeviceTable devices;
  devices.Load(*db);
  Tables tables(*db, devices);
  const DeviceId p = DeviceOf('p'), q = DeviceOf('q'), r = DeviceOf(giver_device);
  tables.PutMetaSummary("horizon", {{p, 5}, {q, 5}});
  tables.PutMetaSummary("parts", {{p, 1}, {q, 2}});
  tables.PutMetaSummary("collected", {{q, 3}});
  SessionContext context;
  context.self = DeviceOf('m');
  Session session(tables, context, {{p, 5}, {q, 5}, {r, 1}});
  Giver giver;
  giver.device = r;
  giver.until = {{p, 2}, {r, 9}};
  if (of_q > 0) giver.until[q] = of_q;
  giver.horizon = {{r, 9}};
  giver.parts = {{r, 1}};
  giver.collected = {{r, 4}};
  return Collection(session, {}).Judge(giver);
}

// Two parts let go of things without each other: one of the two begins anew, not both, and both
// agree on which.
TEST(JudgeTest, OfTwoThatLetGoApartOneBeginsAnew) {
  EXPECT_EQ(Collection::Verdict::kNotYet, Judge('x', 1)) << "the higher device begins anew";
  EXPECT_EQ(Collection::Verdict::kLeftBehind, Judge('a', 1));
}

// The giver never had anything of what was let go of here, and has nothing to begin anew for.
TEST(JudgeTest, AStrangerHasNothingToBeginAnewFor) {
  EXPECT_EQ(Collection::Verdict::kLeftBehind, Judge('x', 0));
  EXPECT_EQ(Collection::Verdict::kLeftBehind, Judge('a', 0));
}

}  // namespace
}  // namespace btfc::index
