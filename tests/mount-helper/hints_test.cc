#include "mount-helper/hints.h"

#include <gtest/gtest.h>

namespace btfc::mount_helper {
namespace {

TEST(HintsTest, WordsForAShell) {
  EXPECT_EQ("plain-1.txt", ShellWord("plain-1.txt"));
  EXPECT_EQ("'two words'", ShellWord("two words"));
  EXPECT_EQ("'it'\\''s'", ShellWord("it's"));
  EXPECT_EQ("''", ShellWord(""));
  EXPECT_EQ("~/btfc", ShellPath("/home/user/btfc", "/home/user"));
  EXPECT_EQ("~/'my films'", ShellPath("/home/user/my films", "/home/user"));
  EXPECT_EQ("~", ShellPath("/home/user", "/home/user"));
  EXPECT_EQ("/home/users/x", ShellPath("/home/users/x", "/home/user"));
  EXPECT_EQ("/srv/x", ShellPath("/srv/x", "/"));
}

TEST(HintsTest, TheClusterIsNotNamedAfterTheFolder) {
  const auto text = HowToAddAHost("/c/cluster.key", "films", "/srv/movies", "/root");
  EXPECT_NE(std::string::npos, text.find("--cache ~/.btfccache/films")) << text;
  EXPECT_NE(std::string::npos, text.find("mount.btfc films /srv/movies")) << text;
}

}  // namespace
}  // namespace btfc::mount_helper
