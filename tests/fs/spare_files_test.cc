// Working files that are used again.
#include "fs/spare_files.h"

#include <sys/mman.h>

#include "tests/fs/files_fixture.h"

namespace btfc::fs {
namespace {

class SpareFilesTest : public testing::Test {
 protected:
  SpareFilesTest()
      : store_(std::move(ObjectStore::Open(dir_.path() / "cache").value())), spares_(*store_) {}
  std::shared_ptr<const Fd> Working(const std::string& bytes, mode_t mode = 0600) {
    WriteFile(path_, bytes);
    EXPECT_EQ(::chmod(path_.c_str(), mode), 0);
    return std::make_shared<const Fd>(std::move(OpenFile(path_, O_RDONLY).value()));
  }
  std::size_t NamesInWork() const {
    return static_cast<std::size_t>(
        std::distance(std::filesystem::directory_iterator(store_->work_folder()), {}));
  }

  TempDir dir_;
  std::unique_ptr<ObjectStore> store_;
  SpareFiles spares_;
  const std::filesystem::path path_ = dir_.path() / "cache" / "work" / "5";
};

TEST_F(SpareFilesTest, AFileIsUsedAgain) {
  EXPECT_FALSE(spares_.Take());
  const auto file = Working("bytes of a version");
  const auto inode = StatOf(file->get()).value().st_ino;
  spares_.Give(path_, file);
  EXPECT_FALSE(std::filesystem::exists(path_));
  const auto spare = spares_.Take();
  ASSERT_TRUE(spare);
  struct stat st {};
  ASSERT_EQ(::stat(spare->c_str(), &st), 0);
  EXPECT_EQ(st.st_ino, inode);
  EXPECT_EQ(st.st_size, 0);
  EXPECT_EQ(st.st_mode, S_IFREG | 0600U);
  EXPECT_EQ(spare->extension(), ".new") << "nothing after a crash";
  EXPECT_FALSE(spares_.Take()) << "once";
}

TEST_F(SpareFilesTest, NotOneThatIsOpenSomewhere) {
  const auto file = Working("bytes");
  const auto reader = OpenFile(path_, O_RDONLY).value();
  spares_.Give(path_, file);
  EXPECT_FALSE(spares_.Take());
  EXPECT_EQ(NamesInWork(), 0U);
  EXPECT_EQ(ReadUpTo(reader.get(), 0, 10).value(), "bytes");
}

TEST_F(SpareFilesTest, NotOneThatIsMapped) {
  const auto file = Working("bytes");
  void* mapped = nullptr;
  {
    const auto reader = OpenFile(path_, O_RDONLY).value();
    mapped = ::mmap(nullptr, 5, PROT_READ, MAP_SHARED, reader.get(), 0);
    ASSERT_NE(mapped, MAP_FAILED);
  }
  spares_.Give(path_, file);
  EXPECT_FALSE(spares_.Take());
  EXPECT_EQ(std::string_view(static_cast<const char*>(mapped), 5), "bytes");
  ::munmap(mapped, 5);
}

TEST_F(SpareFilesTest, NotOneThatTheProcessStillUses) {
  const auto file = Working("bytes");
  const auto other = file;
  spares_.Give(path_, file);
  EXPECT_FALSE(spares_.Take());
  EXPECT_EQ(ReadUpTo(other->get(), 0, 10).value(), "bytes");
}

TEST_F(SpareFilesTest, NotAnObjectNorABigOne) {
  spares_.Give(path_, Working(std::string(1U << 20U, 'x')));
  EXPECT_FALSE(spares_.Take()) << "big";
  spares_.Give(path_, Working("x", 0400));
  EXPECT_FALSE(spares_.Take()) << "the mode of an object";
  auto file = Working("x");
  std::filesystem::create_hard_link(path_, dir_.path() / "other");
  spares_.Give(path_, file);
  EXPECT_FALSE(spares_.Take()) << "with another name";
  EXPECT_EQ(ReadFile(dir_.path() / "other"), "x");
  EXPECT_EQ(NamesInWork(), 0U);
}

TEST_F(SpareFilesTest, NoneStaysBehind) {
  spares_.Give(path_, Working("x"));
  EXPECT_EQ(NamesInWork(), 1U);
  spares_.Stop();
  EXPECT_EQ(NamesInWork(), 0U);
  spares_.Give(path_, Working("x"));
  EXPECT_EQ(NamesInWork(), 0U) << "afterwards";
}

}  // namespace
}  // namespace btfc::fs
