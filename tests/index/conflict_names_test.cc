#include "index/conflict_names.h"

#include <gtest/gtest.h>

namespace btfc::index {
namespace {

constexpr std::int64_t kDay = 86400LL * 1'000'000'000;
constexpr std::int64_t kLeapDay = 19782 * kDay + kDay / 2;  // 2024-02-29

std::string Name(std::string_view name, std::string_view host = "h") {
  return ConflictName(name, host, kLeapDay, "0a1b2c");
}

TEST(ConflictNamesTest, GoesBeforeTheExtension) {
  EXPECT_EQ("f (conflict h 2024-02-29-0a1b2c).txt", Name("f.txt"));
  EXPECT_EQ("a.tar (conflict h 2024-02-29-0a1b2c).gz", Name("a.tar.gz"));
  EXPECT_EQ("f (conflict h 2024-02-29-0a1b2c)", Name("f"));
  EXPECT_EQ(".bashrc (conflict h 2024-02-29-0a1b2c)", Name(".bashrc"));
  EXPECT_EQ("f.notanextensionanymore (conflict h 2024-02-29-0a1b2c)",
            Name("f.notanextensionanymore"));
}

TEST(ConflictNamesTest, ReplacesAnEarlierOne) {
  EXPECT_EQ(Name("f.txt"), Name(Name("f.txt", "other")));
  EXPECT_EQ("f (conflict of interest) (conflict h 2024-02-29-0a1b2c).txt",
            Name("f (conflict of interest).txt"));
}

TEST(ConflictNamesTest, IsCutBetweenCharacters) {
  std::string name;
  for (int i = 0; i < 125; ++i) name += "\u00e4";
  const std::string conflict = Name(name + ".txt");
  EXPECT_LE(conflict.size(), 255u);
  EXPECT_GE(conflict.size(), 254u);
  EXPECT_EQ("\u00e4 (conflict h 2024-02-29-0a1b2c).txt", conflict.substr(conflict.find(" (") - 2));
  EXPECT_TRUE(IsConflictName(conflict));
}

TEST(ConflictNamesTest, HostsCannotBreakTheName) {
  EXPECT_EQ("f (conflict a-b-c- 2024-02-29-0a1b2c)", Name("f", "a/b(c)"));
  EXPECT_EQ("f (conflict - 2024-02-29-0a1b2c)", Name("f", ""));
  EXPECT_LE(Name(std::string(255, 'x'), std::string(255, 'h')).size(), 255u);
}

TEST(ConflictNamesTest, DatesOfAnyTime) {
  EXPECT_NE(std::string::npos, ConflictName("f", "h", 0, "000000").find("1970-01-01"));
  EXPECT_NE(std::string::npos, ConflictName("f", "h", -1, "000000").find("1969-12-31"));
  EXPECT_NE(std::string::npos, ConflictName("f", "h", 11016 * kDay, "000000").find("2000-02-29"));
}

TEST(ConflictNamesTest, Recognized) {
  EXPECT_TRUE(IsConflictName(Name("f.txt")));
  EXPECT_FALSE(IsConflictName("f (conflict).txt"));
  EXPECT_FALSE(IsConflictName("conflict h 2024-02-29-0a1b2c"));
}

}  // namespace
}  // namespace btfc::index
