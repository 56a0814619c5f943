// Every input that was ever worth keeping, fed to its target: what broke once must not break again.
#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>
#include <string>

#include "targets.h"

namespace btfc::fuzz {
namespace {

class CorpusTest : public testing::TestWithParam<Target> {};

TEST_P(CorpusTest, Holds) {
  const std::filesystem::path folder = std::filesystem::path(BTFC_CORPUS_FOLDER) / GetParam().name;
  int inputs = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    std::ifstream in(entry.path(), std::ios::binary);
    const std::string bytes{std::istreambuf_iterator<char>(in), {}};
    SCOPED_TRACE(entry.path().string());
    GetParam().run(bytes);
    // Cut short and with a byte changed it must hold as well.
    GetParam().run(std::string_view(bytes).substr(0, bytes.size() / 2));
    std::string other = bytes;
    if (!other.empty()) other[other.size() / 3] ^= '\x55';
    GetParam().run(other);
    ++inputs;
  }
  EXPECT_GT(inputs, 0);
}

INSTANTIATE_TEST_SUITE_P(Fuzz, CorpusTest, testing::ValuesIn(kTargets),
                         [](const auto& target) { return std::string(target.param.name); });

}  // namespace
}  // namespace btfc::fuzz

// The gossip target's swarm has threads that use what is destroyed at an orderly exit.
int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  const int result = RUN_ALL_TESTS();
  std::cout.flush();
  std::fflush(nullptr);
  std::_Exit(result);
}
