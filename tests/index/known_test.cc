// The algebra of what is known and what is aside: whatever order rows come in, joins agree.
#include "index/known.h"

#include <gtest/gtest.h>

#include "simulation_random.h"

namespace btfc::index {
namespace {

constexpr std::uint64_t kDots = 4;  // of each device

DeviceId Device(std::size_t i) {
  DeviceId device;
  device.bytes[0] = static_cast<std::uint8_t>(i + 1);
  return device;
}

Known SomeKnown(Random& random) {
  Known known;
  for (std::size_t i = 0; i < 3; ++i) {
    const std::uint64_t n = random.Below(kDots + 1);
    if (n == 0) continue;
    known.context[Device(i)] = n;
    for (std::uint64_t dot = 1; dot <= n; ++dot) {
      if (random.Percent(30)) known.aside.insert({Device(i), dot});
    }
  }
  return known;
}

std::set<Dot> Overwritten(const Known& known) {
  std::set<Dot> dots;
  for (std::size_t i = 0; i < 3; ++i) {
    for (std::uint64_t n = 1; n <= kDots; ++n) {
      if (known.Overwrote({Device(i), n})) dots.insert({Device(i), n});
    }
  }
  return dots;
}

TEST(Known, UnitingIsAJoinOfWhatWasOverwritten) {
  Random random(1);
  for (int round = 0; round < 2000; ++round) {
    const Known a = SomeKnown(random), b = SomeKnown(random), c = SomeKnown(random);
    const Known ab = a.Unite(b);
    EXPECT_EQ(ab, b.Unite(a));
    EXPECT_EQ(ab.Unite(c), a.Unite(b.Unite(c)));
    EXPECT_EQ(ab.Unite(b), ab);
    EXPECT_EQ(a.Unite(a), a);
    auto both = Overwritten(a);
    both.merge(Overwritten(b));
    EXPECT_EQ(Overwritten(ab), both);
    for (const Dot& dot : ab.aside) EXPECT_TRUE(Covers(ab.context, dot));
  }
}

TEST(Known, SettingAsideCoversButDoesNotOverwrite) {
  const Dot first{Device(0), 1}, second{Device(0), 2}, other{Device(1), 1};
  const Known loser{{{Device(0), 1}}, {}};  // the writer of `second` had `first` before him
  const Known winner = Known{}.SetAside(loser, second);
  EXPECT_TRUE(Covers(winner.context, second));
  EXPECT_FALSE(winner.Overwrote(second));
  EXPECT_TRUE(winner.Overwrote(first));
  EXPECT_FALSE(Covers(winner.context, other));
  // Somebody who had `second` before him overwrote it.
  const Known late{{{Device(0), 2}}, {}};
  EXPECT_TRUE(winner.Unite(late).Overwrote(second));
  EXPECT_TRUE(late.SetAside(loser, second).Overwrote(second));
}

}  // namespace
}  // namespace btfc::index
