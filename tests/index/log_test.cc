// The write-ahead log of the index.
#include <atomic>
#include <thread>

#include "catalogue_fixture.h"

namespace btfc::index {
namespace {

class LogTest : public CatalogueTest {
 protected:
  std::uintmax_t LogBytes() { return std::filesystem::file_size(a_.dir() / "index.db-wal"); }
  Host a_{'A', &wall_};
};

TEST_F(LogTest, StaysSmallWhileEverybodyWritesAndReads) {
  constexpr std::uintmax_t kWritten = std::uintmax_t{100} << 20U;
  constexpr std::uintmax_t kLargest = std::uintmax_t{65} << 20U;
  const Ino folder = a_.Mkdir("/d");
  std::atomic<bool> done = false;
  // Tells a peer of it, by a connection of its own, which holds on to the log meanwhile.
  std::thread reader([&] {
    Summary told;
    while (!done) {
      const auto cut = a_->Cut(told);
      if (!cut || !cut.value()) continue;
      told = cut.value()->until();
      for (auto part = cut.value()->Next(); part && part.value();) part = cut.value()->Next();
    }
  });
  const std::string bytes(kInlineMax, 'x');
  std::uintmax_t written = 0;
  for (int i = 0; written < kWritten && !HasFailure(); ++i) {
    const auto made = a_->Make(folder, std::to_string(i), FileNode());
    EXPECT_TRUE(made);
    if (!made) break;
    a_.Commit(made.value().ino, bytes);
    written += bytes.size();
  }
  done = true;
  reader.join();
  // The log starts over with the next write after the keeper has moved everything.
  a_.Create("/last", "x");
  EXPECT_LE(LogBytes(), kLargest) << "of " << written << " bytes";
}

}  // namespace
}  // namespace btfc::index
