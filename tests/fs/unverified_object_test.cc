// After a crash: an object whose bytes perhaps never reached the disk, before anybody looked.
#include "tests/fs/files_fixture.h"
#include "tests/fs/io_faults.h"

namespace btfc::fs {
namespace {

constexpr std::size_t kUnit = std::size_t{256} << 10U;  // what is hashed at a time

class UnverifiedObjectTest : public testing::TestWithParam<std::size_t> {
 protected:
  // Its row reached the disk, and not all of its bytes did.
  void Tear(const index::ContentId& id, std::uint64_t offset, std::string_view bytes) {
    const auto path = host_.store->ObjectPath(id);
    ASSERT_EQ(::chmod(path.c_str(), 0600), 0);
    const auto fd = OpenFile(path, O_RDWR);
    ASSERT_TRUE(fd);
    ASSERT_TRUE(WriteAll(fd.value().get(), offset, bytes));
    ASSERT_EQ(::chmod(path.c_str(), 0400), 0);
  }

  Host host_{'a'};
};
// One that is copied to be written to, and one whose own file is taken.
INSTANTIATE_TEST_SUITE_P(Sizes, UnverifiedObjectTest, testing::Values(4 * kUnit, kLarge));

// The hashes that are known of the version are not those of these bytes.
TEST_P(UnverifiedObjectTest, IsHashedWholeWhenItIsChanged) {
  std::string bytes = Bytes(GetParam());
  host_.Start();
  const auto ino = host_.File("f", bytes);
  const auto id = host_.Id(ino);
  host_.Crash();
  ASSERT_TRUE(std::filesystem::exists(host_.store->WorkPath(ino))) << "the name waits for the disk";
  const std::string lost(4096, '\0');
  ASSERT_NO_FATAL_FAILURE(Tear(id, 2 * kUnit, lost));
  bytes.replace(2 * kUnit, lost.size(), lost);
  const HeldFile unverified(host_.store->ObjectPath(id));
  host_.Start();
  ASSERT_TRUE(Eventually([&] { return unverified.Awaited(); })) << "nobody verifies it";
  const auto opened = host_.MustOpen(ino, O_RDWR);
  host_.Write(opened.handle, "changed");
  bytes.replace(0, 7, "changed");
  host_.Close(opened.handle);
  ASSERT_TRUE(host_.Quiet());
  EXPECT_EQ(host_.Id(ino), index::ContentIdOf(bytes));
  EXPECT_TRUE(Same(host_.ReadAll(ino), bytes));
}

}  // namespace
}  // namespace btfc::fs
