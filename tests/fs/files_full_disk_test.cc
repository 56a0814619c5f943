// A disk without space: errors where they belong, and nothing half made.
#include <sched.h>
#include <sys/mount.h>

#include "tests/fs/files_fixture.h"

namespace btfc::fs {
namespace {

// A filesystem of a few MiB, seen by this process alone.
class SmallDisk {
 public:
  static bool Possible() { return ::geteuid() == 0; }
  SmallDisk() {
    EXPECT_EQ(::unshare(CLONE_NEWNS), 0);
    EXPECT_EQ(::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr), 0);
    std::filesystem::create_directory(path());
    EXPECT_EQ(::mount("btfc-test", path().c_str(), "tmpfs", 0, "size=8m"), 0);
  }
  ~SmallDisk() { ::umount2(path().c_str(), MNT_DETACH); }
  std::filesystem::path path() const { return dir_.path() / "disk"; }
  void Fill() const {
    auto ballast = OpenFile(path() / "ballast", O_CREAT | O_WRONLY, 0600);
    ASSERT_TRUE(ballast);
    const std::string page(4096, 'b');
    std::uint64_t size = 0;
    while (WriteAll(ballast.value().get(), size, page)) size += page.size();
  }
  void MakeRoom() const { std::filesystem::remove(path() / "ballast"); }

 private:
  TempDir dir_;
};

TEST(FullDiskTest, WritesAndCopiesFailAndNothingIsLost) {
  BTFC_NEEDS(SmallDisk::Possible(), "needs root to mount a small disk");
  const SmallDisk disk;
  Host host('a', disk.path());
  host.Start();
  const auto kept = host.File("kept", Bytes(kMiddle));
  const auto edited = host.Make("edited");
  const auto writer = host.Create(edited);
  host.Write(writer.handle, "begin");
  disk.Fill();

  EXPECT_EQ(host.files->Write(writer.handle, 8192, Bytes(kMiddle)).error(), Errno(ENOSPC));
  EXPECT_FALSE(host.Open(kept, O_RDWR)) << "there is no room for the copy that is written to";
  EXPECT_TRUE(Same(host.ReadAll(kept), Bytes(kMiddle)));
  EXPECT_FALSE(host.WorkNames().contains(std::to_string(kept) + ".new"));
  EXPECT_EQ(host.Versions(kept), 1U);

  disk.MakeRoom();
  host.Write(writer.handle, " and end", 5);
  host.Close(writer.handle);
  ASSERT_TRUE(host.Quiet());
  EXPECT_TRUE(Same(host.ReadAll(edited), "begin and end"));
  const auto again = host.MustOpen(kept, O_RDWR);
  host.Write(again.handle, "X");
  host.Close(again.handle);
  ASSERT_TRUE(host.Quiet());
  EXPECT_TRUE(Same(host.ReadAll(kept), "X" + Bytes(kMiddle).substr(1)));
}

// What close() returned for is committed when there is room again.
TEST(FullDiskTest, ACommitWaitsForRoom) {
  BTFC_NEEDS(SmallDisk::Possible(), "needs root to mount a small disk");
  const SmallDisk disk;
  Host host('a', disk.path());
  host.Start();
  std::vector<index::Ino> inodes;
  std::vector<Opened> opened;
  for (int i = 0; i < 30; ++i) {
    inodes.push_back(host.Make("f" + std::to_string(i)));
    opened.push_back(host.Create(inodes.back()));
    host.Write(opened.back().handle, Bytes(16384, static_cast<std::uint32_t>(i)));
  }
  disk.Fill();
  for (const auto& each : opened) host.Close(each.handle);
  ASSERT_TRUE(Eventually([&] { return !host.files->ListFailing().empty(); }));
  for (const auto& failing : host.files->ListFailing()) {
    EXPECT_EQ(failing.failure, Errno(ENOSPC));
    EXPECT_NE(std::find(inodes.begin(), inodes.end(), failing.ino), inodes.end());
  }
  disk.MakeRoom();
  ASSERT_TRUE(host.Quiet());
  EXPECT_TRUE(host.files->ListFailing().empty());
  for (int i = 0; i < 30; ++i) {
    EXPECT_TRUE(Same(host.ReadAll(inodes[static_cast<std::size_t>(i)]),
                     Bytes(16384, static_cast<std::uint32_t>(i))));
  }
}

}  // namespace
}  // namespace btfc::fs
