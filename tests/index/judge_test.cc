// Whether rows may be taken from a host, by what both have let go of.
#include <gtest/gtest.h>

#include <string>

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

// What device m, whose horizon counts p and q, and those that are given, says to a giver whose own
// counts others. Each lacks something below the other's.
Collection::Verdict Judge(const Parts& counts_too, const Summary& collected, const Giver& giver) {
  const test::TempDir folder;
  CatalogueOptions options;
  options.path = folder / "index.db";
  EXPECT_TRUE(Catalogue::Open(options));
  const auto db = Database::Open(options.path, Database::Mode::kReadWrite).value();
  DeviceTable devices;
  devices.Load(*db);
  Tables tables(*db, devices);
  const DeviceId p = DeviceOf('p'), q = DeviceOf('q');
  Summary horizon{{p, 5}, {q, 5}};
  Parts parts{{p, 1}, {q, 2}};
  for (const auto& [device, part] : counts_too) {
    horizon[device] = 1;
    parts[device] = part;
  }
  tables.PutMetaSummary("horizon", horizon);
  tables.PutMetaSummary("parts", parts);
  tables.PutMetaSummary("collected", collected);
  SessionContext context;
  context.self = DeviceOf('m');
  Session session(tables, context, {{p, 5}, {q, 5}, {giver.device, 1}});
  return Collection(session, {}).Judge(giver);
}

Giver GiverOf(char letter) {
  Giver giver;
  giver.device = DeviceOf(letter);
  giver.until = {{DeviceOf('p'), 2}, {giver.device, 9}};
  giver.horizon = {{giver.device, 9}};
  giver.parts = {{giver.device, 1}};
  return giver;
}

// m let go of rows of q, and the giver, which counts m, of rows of its own.
Collection::Verdict JudgeCounted(char letter, std::uint64_t of_q) {
  Giver giver = GiverOf(letter);
  if (of_q > 0) giver.until[DeviceOf('q')] = of_q;
  giver.until[DeviceOf('m')] = giver.horizon[DeviceOf('m')] = 1;
  giver.parts[DeviceOf('m')] = 1;
  giver.collected = {{giver.device, 4}};
  return Judge({}, {{DeviceOf('q'), 3}}, giver);
}

// Two parts let go of things without each other: one of the two begins anew, not both, and both
// agree on which.
TEST(JudgeTest, OfTwoThatLetGoApartOneBeginsAnew) {
  EXPECT_EQ(Collection::Verdict::kNotYet, JudgeCounted('x', 1)) << "the higher device begins anew";
  EXPECT_EQ(Collection::Verdict::kLeftBehind, JudgeCounted('a', 1));
}

// The giver never had anything of what was let go of here, and has nothing to begin anew for.
TEST(JudgeTest, AStrangerHasNothingToBeginAnewFor) {
  EXPECT_EQ(Collection::Verdict::kLeftBehind, JudgeCounted('x', 0));
  EXPECT_EQ(Collection::Verdict::kLeftBehind, JudgeCounted('a', 0));
}

// The giver's horizon counts others besides itself.
Collection::Verdict JudgeApart(char letter, const std::string& others) {
  Giver giver = GiverOf(letter);
  for (const char other : others) {
    const DeviceId device = DeviceOf(other);
    giver.until[device] = giver.horizon[device] = 1;
    giver.parts[device] = 1;
  }
  return Judge({}, {}, giver);
}

// Neither counts the other, and nobody let go of anything.
TEST(JudgeTest, OfTwoThatWentOnWithoutEachOtherTheOneWithFewerBeginsAnew) {
  for (const char letter : {'a', 'x'}) {
    EXPECT_EQ(Collection::Verdict::kNotYet, JudgeApart(letter, ""));
    EXPECT_EQ(Collection::Verdict::kLeftBehind, JudgeApart(letter, "b")) << "its lowest is lower";
    EXPECT_EQ(Collection::Verdict::kLeftBehind, JudgeApart(letter, "rs"));
  }
  EXPECT_EQ(Collection::Verdict::kNotYet, JudgeApart('x', "r")) << "its lowest is higher";
}

// It will hear of the rest.
TEST(JudgeTest, AGiverThatIsLateIsWaitedFor) {
  Giver giver = GiverOf('a');
  giver.until[DeviceOf('b')] = giver.horizon[DeviceOf('b')] = 1;
  giver.until[DeviceOf('c')] = giver.horizon[DeviceOf('c')] = 1;
  giver.parts[DeviceOf('b')] = giver.parts[DeviceOf('c')] = 1;
  EXPECT_EQ(Collection::Verdict::kNotYet, Judge({{giver.device, 1}}, {}, giver));
  giver.until[DeviceOf('m')] = giver.horizon[DeviceOf('m')] = 1;
  giver.parts[DeviceOf('m')] = 2;
  EXPECT_EQ(Collection::Verdict::kLeftBehind, Judge({}, {}, giver)) << "another part of it";
  giver.parts[DeviceOf('m')] = 1;
  EXPECT_EQ(Collection::Verdict::kNotYet, Judge({}, {}, giver));
}

}  // namespace
}  // namespace btfc::index
