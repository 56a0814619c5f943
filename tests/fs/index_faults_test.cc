// The index on a disk that fails.
#include <cerrno>
#include <fstream>

#include "fs/version_keeper.h"
#include "index/damage.h"
#include "tests/fs/files_fixture.h"
#include "tests/fs/io_faults.h"

namespace btfc::fs {
namespace {

// A small file, of the index alone.
bool Make(Host& host, const std::string& name, const std::string& bytes) {
  index::NewNode node;
  node.mode = 0644;
  const auto made = host.catalogue->Make(index::kRootIno, name, node);
  if (!made) return false;
  index::NewVersion version;
  version.id = index::ContentIdOf(bytes);
  version.inline_bytes = bytes;
  return host.catalogue->Commit(made.value().ino, version, false).has_value();
}

std::string BytesOf(Host& host, const std::string& name) {
  const auto node = host.catalogue->Lookup(index::kRootIno, name);
  if (!node) return "(absent)";
  const auto bytes = host.catalogue->InlineBytes(node.value().ino);
  return bytes ? bytes.value() : "(" + bytes.error().message() + ")";
}

// As a peer does it.
Result<void> Give(Host& from, Host& to) {
  auto delta = from.catalogue->Cut(to.catalogue->Known());
  if (!delta) return delta.error();
  if (!delta.value()) return Ok();
  const auto writer = to.catalogue->Receive();
  for (;;) {
    const auto part = delta.value()->Next();
    if (!part) return part.error();
    if (!part.value()) return writer->Finish();
    if (const auto added = writer->Add(*part.value()); !added) return added.error();
  }
}

// A host whose cache was put back from a copy meets another that knows more of it.
class PutBack {
 public:
  PutBack() {
    EXPECT_TRUE(Make(a_, "before", "1"));
    a_.catalogue.reset();
    const auto copy = ReadFile(file_);
    a_.OpenCatalogue();
    EXPECT_TRUE(Make(a_, "forgotten", "2"));
    EXPECT_TRUE(Give(a_, b_));
    before_ = a_.catalogue->self();
    a_.catalogue.reset();
    // Into the same file: by that it would notice.
    std::ofstream(file_, std::ios::binary | std::ios::trunc) << copy;
    std::filesystem::remove(file_.string() + ".ops");
    a_.OpenCatalogue();
    EXPECT_EQ(a_.catalogue->self(), before_);
    EXPECT_EQ(BytesOf(a_, "forgotten"), "(absent)");
  }

  // With a fault somewhere in it.
  void Happen() { Give(b_, a_).has_value(); }

  void Check() {
    // What is written now, the other one must not take for what it knows already.
    const bool other = a_.catalogue->self() != before_;
    EXPECT_TRUE(!other || Make(a_, "new", "3"));
    // A new device knows nothing of the one before: what was cut for that one does not fit.
    for (int round = 0; round < 3; ++round) {
      Give(b_, a_).has_value();
      Give(a_, b_).has_value();
    }
    EXPECT_TRUE(Give(b_, a_));
    EXPECT_TRUE(Give(a_, b_));
    EXPECT_EQ(a_.catalogue->Known(), b_.catalogue->Known());
    for (Host* host : {&a_, &b_}) {
      EXPECT_EQ(BytesOf(*host, "before"), "1");
      EXPECT_EQ(BytesOf(*host, "forgotten"), "2");
      EXPECT_EQ(BytesOf(*host, "new"), other ? "3" : "(absent)");
      EXPECT_TRUE(host->catalogue->CheckIntegrity());
    }
  }

 private:
  Host a_{'a'}, b_{'b'};
  const std::filesystem::path file_ = a_.cache_ / "index.db";
  index::DeviceId before_;
};

TEST(IndexFaultsTest, ADeviceThatWasTakenIsTheOneThatWrites) {
  WatchSqlite();
  EachCallFailsOnce<PutBack>(EIO, 2);
}

TEST(IndexFaultsTest, ADiskThatCannotBeReadIsNoDamage) {
  Host host('a');
  const auto file = host.cache_ / "index.db";
  constexpr int kFiles = 300;
  for (int i = 0; i < kFiles; ++i) {
    ASSERT_TRUE(Make(host, std::to_string(i), std::string(10'000, 'x')));
  }
  host.catalogue.reset();
  host.OpenCatalogue();
  {
    const UnreadableDisk disk;
    const auto node = host.catalogue->Lookup(index::kRootIno, "250");
    const auto bytes =
        node ? host.catalogue->InlineBytes(node.value().ino) : Result<std::string>(node.error());
    EXPECT_EQ(bytes.error(), Errno(EIO)) << bytes.error().message();
    EXPECT_FALSE(index::DamageOf(file)) << *index::DamageOf(file);
    EXPECT_TRUE(index::SicknessOf(file));
  }
  for (int i = 0; i < kFiles; ++i) {
    ASSERT_EQ(BytesOf(host, std::to_string(i)).size(), 10'000U) << i;
  }
  EXPECT_TRUE(Make(host, "more", "works again"));
  host.catalogue.reset();
  index::CatalogueOptions options;
  options.path = file;
  {
    const UnreadableDisk disk;
    const auto opened = index::Catalogue::Open(options);
    ASSERT_FALSE(opened);
    EXPECT_EQ(opened.error(), Errno(EIO)) << opened.error().message();
  }
  host.OpenCatalogue();
  EXPECT_EQ(BytesOf(host, "more"), "works again");
}

// Files go all the time; a disk with room cannot fill from one moment to the next.
TEST(IndexFaultsTest, TheDiskIsNotLookedAtAllTheTime) {
  Host host('a');
  host.Start();
  if (RoomLeft(host.cache_) < std::uint64_t{10} << 30U) GTEST_SKIP() << "little room here";
  const auto first = host.File("first", "1");
  ASSERT_TRUE(host.catalogue->Unlink(index::kRootIno, "first"));
  host.files->Forgotten(first);
  ASSERT_TRUE(Eventually([] { return LooksAtRoomOf("objects") > 0; }));
  const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(1);
  ASSERT_TRUE(Eventually([&] { return std::chrono::steady_clock::now() > until; }));
  EXPECT_EQ(LooksAtRoomOf("objects"), 1U);
}

}  // namespace
}  // namespace btfc::fs
