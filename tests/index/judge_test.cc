// Whether rows may be taken from a host, by what both have let go of.
#include <gtest/gtest.h>

#include "index/catalogue.h"
#include "index/collection.h"
#include "tests/support/temp_dir.h"

namespace btfc::index {
namespace {

// Two parts let go of things without each other, and the giver never knew the devices of what the
// taker let go of: it has not heard of that, and one of the two begins anew, not both.
TEST(JudgeTest, OfTwoThatLetGoApartOneBeginsAnew) {
  const auto device = [](char letter) {
    DeviceId id;
    id.bytes.fill(static_cast<std::uint8_t>(letter));
    return id;
  };
  const auto judge = [&](char giver_device) {
    const test::TempDir folder;
    CatalogueOptions options;
    options.path = folder / "index.db";
    EXPECT_TRUE(Catalogue::Open(options));
    const auto db = Database::Open(options.path, Database::Mode::kReadWrite).value();
    DeviceTable devices;
    devices.Load(*db);
    Tables tables(*db, devices);
    const DeviceId p = device('p'), q = device('q'), r = device(giver_device);
    tables.PutMetaSummary("horizon", {{p, 5}, {q, 5}});
    tables.PutMetaSummary("parts", {{p, 1}, {q, 2}});
    tables.PutMetaSummary("collected", {{q, 3}});
    Session session(tables, SessionContext(), {{p, 5}, {q, 5}, {r, 1}});
    Giver giver;
    giver.until = {{p, 2}, {r, 9}};
    giver.horizon = {{r, 9}};
    giver.parts = {{r, 1}};
    giver.collected = {{r, 4}};
    return Collection(session).Judge(giver);
  };
  EXPECT_EQ(Collection::Verdict::kNotYet, judge('x')) << "its horizon comes later: it begins anew";
  EXPECT_EQ(Collection::Verdict::kLeftBehind, judge('a'));
}

}  // namespace
}  // namespace btfc::index
