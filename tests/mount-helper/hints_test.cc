#include "mount-helper/hints.h"

#include <gtest/gtest.h>

namespace btfc::mount_helper {
namespace {

TEST(HintsTest, WordsForAShell) {
  EXPECT_EQ("plain-1.txt", ShellWord("plain-1.txt"));
  EXPECT_EQ("'two words'", ShellWord("two words"));
  EXPECT_EQ("'it'\\''s'", ShellWord("it's"));
  EXPECT_EQ("''", ShellWord(""));
  EXPECT_EQ("~/btfc", ShellPath("/home/ada/btfc", "/home/ada"));
  EXPECT_EQ("~/'my films'", ShellPath("/home/ada/my films", "/home/ada"));
  EXPECT_EQ("~", ShellPath("/home/ada", "/home/ada"));
  EXPECT_EQ("/home/adam/x", ShellPath("/home/adam/x", "/home/ada"));
  EXPECT_EQ("/srv/x", ShellPath("/srv/x", "/"));
}

TEST(HintsTest, TheClusterIsNotNamedAfterTheFolder) {
  const auto text = HowToAddAHost("/c/cluster.key", "films", "/srv/movies", "/root");
  EXPECT_NE(std::string::npos, text.find("--cache ~/.btfccache/films")) << text;
  EXPECT_NE(std::string::npos, text.find("mount.btfc films /srv/movies")) << text;
}

}  // namespace
}  // namespace btfc::mount_helper
