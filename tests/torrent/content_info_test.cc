#include "torrent/content_info.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/fsuid.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>
#include <string>

#include "index/merkle.h"
#include "test_host.h"
#include "torrent/codec.h"
#include "torrent/dialer.h"
#include "torrent/layers.h"
#include "torrent/partial_file.h"
#include "torrent/private_file.h"

namespace btfc::torrent {
namespace {

constexpr uid_t kNobody = 65534;

index::HashedFile Hashed(const std::filesystem::path& file, const std::string& bytes) {
  std::ofstream(file, std::ios::binary) << bytes;
  const int fd = ::open(file.c_str(), O_RDONLY | O_CLOEXEC);
  auto hashed = index::HashFile(fd, [] { return false; });
  ::close(fd);
  EXPECT_TRUE(hashed);
  return hashed.value();
}

TEST(ContentInfo, FollowsFromRootSizeAndClusterAlone) {
  const ClusterKey cluster = NewCluster();
  const ClusterKey other = NewCluster();
  index::ContentId id;
  id.root.fill(0xab);
  id.size = 8 * 1024 * 1024;
  const std::string info = ContentInfo(id, cluster.ca_cert_pem);
  EXPECT_EQ(info, ContentInfo(id, cluster.ca_cert_pem));
  EXPECT_NE(info, ContentInfo(id, other.ca_cert_pem));
  const std::string hex(64, 'a');
  std::string name;
  for (int i = 0; i < 32; ++i) name += "ab";
  EXPECT_EQ(info, "d9:file treed64:" + name + "d0:d6:lengthi8388608e11:pieces root32:" +
                      std::string(32, '\xab') + "eee12:meta versioni2e4:name64:" + name +
                      "12:piece lengthi262144e8:ssl-cert" +
                      std::to_string(cluster.ca_cert_pem.size()) + ":" + cluster.ca_cert_pem + "e");
}

TEST(ContentInfo, LayerIsHeldAgainstTheRoot) {
  TempDir dir;
  for (const std::size_t size : {std::size_t{300'000}, std::size_t{256 * 1024 * 3},
                                 std::size_t{256 * 1024 * 4}, std::size_t{5'000'001}}) {
    const std::string bytes = RandomBytes(size, 3);
    const auto hashed = Hashed(dir.path() / "f", bytes);
    EXPECT_TRUE(IsLayerOf(hashed.id, hashed.pieces)) << size;
    auto damaged = hashed.pieces;
    damaged.back()[0] ^= 1;
    EXPECT_FALSE(IsLayerOf(hashed.id, damaged));
    damaged = hashed.pieces;
    damaged.pop_back();
    EXPECT_FALSE(IsLayerOf(hashed.id, damaged));
    for (std::size_t i = 0; i < hashed.pieces.size(); ++i) {
      const std::string piece = bytes.substr(i * 256 * 1024, 256 * 1024);
      EXPECT_EQ(HashPiece(piece, size), hashed.pieces[i]) << size << " " << i;
    }
  }
  const auto small = Hashed(dir.path() / "s", RandomBytes(100'000, 4));
  EXPECT_TRUE(IsLayerOf(small.id, {}));
  EXPECT_EQ(HashPiece(RandomBytes(100'000, 4), 100'000), small.id.root);
}

TEST(SmallFiles, AreReadWholeUpToTheLimit) {
  TempDir dir;
  const auto file = dir.path() / "f";
  constexpr std::size_t kMax = 100'000;
  for (const std::size_t size : {0, 1, 4096, 4097, 65'000, 100'000, 100'001}) {
    std::ofstream(file, std::ios::binary | std::ios::trunc) << RandomBytes(size, 1);
    const auto read = ReadSmallFile(file, kMax, /*only_owner=*/false);
    if (size <= kMax) {
      ASSERT_TRUE(read) << size;
      EXPECT_EQ(read.value(), RandomBytes(size, 1)) << size;
    } else {
      EXPECT_EQ(read.error(), Errno(EFBIG));
    }
  }
  // It says that it has no bytes.
  const auto own = ReadSmallFile("/proc/self/smaps", std::size_t{16} << 20U, /*only_owner=*/false);
  ASSERT_TRUE(own);
  EXPECT_GT(own.value().size(), 10'000U);
}

TEST(Layers, AreKeptAndDamageIsFoundOut) {
  TempDir dir;
  const auto hashed = Hashed(dir.path() / "f", RandomBytes(3'000'000, 5));
  const Layers layers(dir.path() / "layers");
  EXPECT_FALSE(layers.Find(hashed.id));
  const auto computed = layers.Of(hashed.id, dir.path() / "f", [] { return false; });
  ASSERT_TRUE(computed);
  EXPECT_EQ(computed.value(), hashed.pieces);
  ASSERT_TRUE(layers.Find(hashed.id));
  EXPECT_EQ(*layers.Find(hashed.id), hashed.pieces);
  for (const auto& entry : std::filesystem::directory_iterator(dir.path() / "layers")) {
    std::ofstream(entry.path(), std::ios::binary | std::ios::in) << "damage";
  }
  EXPECT_FALSE(layers.Find(hashed.id));
  auto wrong = hashed.id;
  wrong.root[0] ^= 1;
  EXPECT_EQ(layers.Of(wrong, dir.path() / "f", [] { return false; }).error(), Error::kCorrupt);
}

TEST(Layers, ThoseOfObjectsThatAreGoneAreDropped) {
  TempDir dir;
  const auto gone = Hashed(dir.path() / "f", RandomBytes(1'000'000, 5));
  const auto here = Hashed(dir.path() / "f", RandomBytes(1'000'000, 6));
  const Layers layers(dir.path() / "layers");
  const auto look = [&](std::chrono::seconds age) {
    layers.DropUseless([&](const index::ContentId& id) { return id == here.id; }, age);
  };
  for (unsigned i = 0; i < Layers::kKeptBetween; ++i) {
    layers.Keep(gone.id, gone.pieces);
    layers.Keep(here.id, here.pieces);
  }
  std::ofstream(dir.path() / "layers" / "half.new") << "x";
  look(std::chrono::hours(1));
  EXPECT_TRUE(layers.Find(gone.id)) << "its object may still be on its way";
  look(std::chrono::seconds(-1));
  EXPECT_TRUE(layers.Find(gone.id)) << "it looked though nothing new was kept";
  for (unsigned i = 0; i < Layers::kKeptBetween; ++i) layers.Keep(here.id, here.pieces);
  look(std::chrono::seconds(-1));
  EXPECT_FALSE(layers.Find(gone.id));
  EXPECT_TRUE(layers.Find(here.id));
  EXPECT_FALSE(std::filesystem::exists(dir.path() / "layers" / "half.new"));
}

std::vector<bool> PrepareFrom(
    const PartialFile& partial, const index::HashedFile& hashed, std::vector<BaseObject> bases,
    const std::function<void()>& meanwhile = [] {}) {
  const auto next_base = [&]() -> std::optional<BaseObject> {
    if (bases.empty()) return std::nullopt;
    BaseObject base = bases.front();
    bases.erase(bases.begin());
    return base;
  };
  const auto cancelled = [&] {
    meanwhile();
    return false;
  };
  auto have = PreparePartial(partial, hashed.id, hashed.pieces, next_base, cancelled);
  EXPECT_TRUE(have);
  return have ? have.value() : std::vector<bool>();
}

BaseObject BaseOf(const std::filesystem::path& file, const std::string& bytes) {
  const index::HashedFile hashed = Hashed(file, bytes);
  return {hashed.id, file, hashed.pieces};
}

class PartialFileTest : public testing::Test {
 protected:
  std::vector<bool> Prepare(const std::vector<BaseObject>& bases = {}) {
    return PrepareFrom(partial_, hashed_, bases);
  }
  std::string Got() const {
    std::ifstream in(partial_.file, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  static std::size_t Count(const std::vector<bool>& have) {
    return static_cast<std::size_t>(std::count(have.begin(), have.end(), true));
  }
  void Overwrite(std::size_t offset, const std::string& bytes) {
    std::fstream out(partial_.file, std::ios::binary | std::ios::in | std::ios::out);
    out.seekp(static_cast<std::streamoff>(offset));
    out << bytes;
  }

  TempDir dir_;
  const std::string bytes_ = RandomBytes(3'000'000, 6);
  const index::HashedFile hashed_ = Hashed(dir_.path() / "whole", bytes_);
  const PartialFile partial_{dir_.path() / "part", dir_.path() / "notes" / "part"};
};

TEST_F(PartialFileTest, FreshFileHoldsNothing) {
  EXPECT_EQ(Count(Prepare()), 0U);
  EXPECT_EQ(std::filesystem::file_size(partial_.file), bytes_.size());
}

// Killed just before it became an object, which nobody may write to.
TEST_F(PartialFileTest, WhatCouldOnlyBeReadIsWrittenToAgain) {
  std::ofstream(partial_.file, std::ios::binary) << bytes_;
  ASSERT_EQ(::chmod(partial_.file.c_str(), 0400), 0);
  ASSERT_EQ(::chmod(dir_.path().c_str(), 0755), 0);
  // Root may write anyway; this thread may not, for a moment.
  const uid_t user = ::geteuid() == 0 ? kNobody : ::geteuid();
  ASSERT_EQ(::chown(partial_.file.c_str(), user, static_cast<gid_t>(-1)), 0);
  const auto root = ::setfsuid(user);
  const int fd = OpenPartial(partial_.file, O_RDWR);
  const auto why = errno;
  ::setfsuid(static_cast<uid_t>(root));
  EXPECT_GE(fd, 0) << std::strerror(why);
  ::close(fd);
}

// Each base gives what is missing still; what is there already is not touched.
TEST_F(PartialFileTest, SeveralBasesGiveTheirPieces) {
  constexpr std::size_t kPiece = 256 * 1024;
  std::string first = RandomBytes(bytes_.size(), 7);
  first.replace(0, 4 * kPiece, bytes_, 0, 4 * kPiece);
  std::string second = RandomBytes(bytes_.size(), 8);
  second.replace(3 * kPiece, 5 * kPiece, bytes_, 3 * kPiece, 5 * kPiece);
  second.replace(9 * kPiece, std::string::npos, bytes_, 9 * kPiece);
  const auto have =
      Prepare({BaseOf(dir_.path() / "one", first), BaseOf(dir_.path() / "two", second)});
  ASSERT_EQ(have.size(), 12U);
  EXPECT_EQ(Count(have), 11U);
  EXPECT_FALSE(have[8]);
  std::string got = Got();
  ASSERT_EQ(got.size(), bytes_.size());
  got.replace(8 * kPiece, kPiece, bytes_, 8 * kPiece, kPiece);
  EXPECT_TRUE(got == bytes_);
}

// Whoever reads a large file does not wait until all of it is copied.
TEST_F(PartialFileTest, WhatIsReadIsCopiedFirst) {
  std::string changed = bytes_;
  changed[3 * 256 * 1024] ^= 1;
  std::vector<BaseObject> bases{BaseOf(dir_.path() / "base", changed)};
  const auto next_base = [&]() -> std::optional<BaseObject> {
    if (bases.empty()) return std::nullopt;
    return std::exchange(bases, {}).front();
  };
  // What was there before: nothing is cloned.
  std::ofstream(partial_.file, std::ios::binary) << bytes_.substr(0, 256 * 1024);
  std::vector<std::uint64_t> copied;
  CopyHooks hooks;
  hooks.read = [&] { return std::set<std::uint64_t>{3, copied.empty() ? 8U : 4U, 99}; };
  hooks.copied = [&](std::uint64_t first, std::uint64_t last) {
    for (auto piece = first; piece <= last; ++piece) {
      copied.push_back(piece);
      EXPECT_TRUE(PieceIsThere(partial_.file, hashed_.id, hashed_.pieces, piece)) << piece;
    }
  };
  const auto have = PreparePartial(
      partial_, hashed_.id, hashed_.pieces, next_base, [] { return false; }, hooks);
  ASSERT_TRUE(have);
  EXPECT_EQ(Count(have.value()), 11U);
  EXPECT_EQ(copied, (std::vector<std::uint64_t>{8, 9, 10, 11, 4, 5, 6, 7, 1, 2}));
}

TEST_F(PartialFileTest, ABaseGivesOnlyWhatItMay) {
  BaseObject base = BaseOf(dir_.path() / "base", bytes_);
  base.only = {2, 5, 99};
  const auto have = Prepare({base});
  EXPECT_EQ(Count(have), 2U);
  EXPECT_TRUE(have[2] && have[5]);
}

// A log of which a later state is here.
TEST_F(PartialFileTest, WhatWasAppendedToGivesTheLastPiece) {
  for (const bool alone : {false, true}) {
    std::filesystem::remove(partial_.file);
    std::string longer = bytes_ + RandomBytes(100'000, 10);
    if (alone) longer.replace(0, 11 * 256 * 1024, RandomBytes(11 * 256 * 1024, 11));
    const auto have = Prepare({BaseOf(dir_.path() / "longer", longer)});
    EXPECT_EQ(Count(have), alone ? 1U : 12U);
    EXPECT_TRUE(have[11]);
    EXPECT_TRUE(Got().substr(11 * 256 * 1024) == bytes_.substr(11 * 256 * 1024));
  }
  std::filesystem::remove(partial_.file);
  std::string changed = bytes_ + RandomBytes(100'000, 10);
  changed[bytes_.size() - 1] ^= 1;
  EXPECT_FALSE(Prepare({BaseOf(dir_.path() / "changed", changed)})[11]);
}

// The rest of an interrupted fetch stands where the base has a hole.
TEST_F(PartialFileTest, HolesOfABaseReplaceWhatIsThere) {
  std::string bytes = bytes_;
  bytes.replace(100'000, 120'000, 120'000, '\0');
  const index::HashedFile hashed = Hashed(dir_.path() / "sparse", bytes);
  const BaseObject base = BaseOf(dir_.path() / "base", bytes);
  PunchZeros(base.file, 0, bytes.size());
  std::ofstream(partial_.file, std::ios::binary) << RandomBytes(bytes.size(), 9);
  EXPECT_EQ(Count(PrepareFrom(partial_, hashed, {base})), 12U);
  EXPECT_TRUE(Got() == bytes);
}

TEST_F(PartialFileTest, ABaseThatIsNotWholeGivesNothing) {
  const BaseObject cut = BaseOf(dir_.path() / "cut", bytes_);
  std::filesystem::resize_file(cut.file, bytes_.size() - 1);
  BaseObject gone = BaseOf(dir_.path() / "gone", bytes_);
  std::filesystem::remove(gone.file);
  EXPECT_EQ(Count(Prepare({cut, gone})), 0U);
}

// While it is copied the base becomes a working file, as fs::Files does it, and is written to.
class WrittenBaseTest : public PartialFileTest {
 protected:
  void SetUp() override {
    const BaseObject base = BaseOf(object_, bytes_);
    std::vector<bool> have;
    have = PrepareFrom(partial_, hashed_, {base}, [this] {
      if (++looks_ == 1) Meanwhile();
    });
    ASSERT_GE(looks_, 1) << "nothing was copied";
    EXPECT_EQ(Count(have), 0U);
  }
  virtual void Meanwhile() = 0;
  void WriteTo(const std::filesystem::path& file) {
    ::chmod(file.c_str(), 0600);
    std::fstream out(file, std::ios::binary | std::ios::in | std::ios::out);
    out << "other bytes";
  }
  const std::filesystem::path object_ = dir_.path() / "object";
  const std::filesystem::path working_ = dir_.path() / "working";
  int looks_ = 0;
};

class TakenBaseTest : public WrittenBaseTest {
  void Meanwhile() override {
    std::filesystem::rename(object_, working_);
    WriteTo(working_);
  }
};
TEST_F(TakenBaseTest, GivesNothingTorn) {}

class ReturnedBaseTest : public WrittenBaseTest {
  void Meanwhile() override { WriteTo(object_); }
};
TEST_F(ReturnedBaseTest, GivesNothingTorn) {}

class ExchangedBaseTest : public WrittenBaseTest {
  void Meanwhile() override {
    std::filesystem::copy_file(object_, working_);
    ASSERT_EQ(::renameat2(AT_FDCWD, working_.c_str(), AT_FDCWD, object_.c_str(), RENAME_EXCHANGE),
              0);
    WriteTo(working_);
  }
};
TEST_F(ExchangedBaseTest, GivesNothingTorn) {}

// A clone of a longer base that was cut off by a crash.
TEST_F(PartialFileTest, AFileLongerThanTheObjectIsCut) {
  std::ofstream(partial_.file, std::ios::binary) << bytes_;
  std::filesystem::resize_file(partial_.file, bytes_.size() + (64 << 20U));
  Overwrite(bytes_.size() + (63 << 20U), "the rest");
  EXPECT_EQ(Count(Prepare()), 12U);
  EXPECT_TRUE(Got() == bytes_);
}

std::uint64_t DiskBytes(const std::filesystem::path& path) {
  struct stat status {};
  EXPECT_EQ(::stat(path.c_str(), &status), 0);
  return static_cast<std::uint64_t>(status.st_blocks) * 512;
}

// Pieces 0 and 4 hold bytes, 1 to 3 and what is left at the end only zeros.
class SparseFileTest : public testing::Test {
 protected:
  static std::string Sparse() {
    std::string bytes(5 * std::size_t{256 * 1024} + 70'000, '\0');
    const std::string some = RandomBytes(100'000, 9);
    bytes.replace(0, some.size(), some);
    bytes.replace(4 * std::size_t{256 * 1024} + 8192, some.size(), some);
    return bytes;
  }
  TempDir dir_;
  const std::string bytes_ = Sparse();
  const index::HashedFile hashed_ = Hashed(dir_.path() / "whole", bytes_);
  const PartialFile partial_{dir_.path() / "part", dir_.path() / "notes" / "part"};
};

TEST_F(SparseFileTest, PiecesOfZerosAreNotFetched) {
  const auto have = PrepareFrom(partial_, hashed_, {});
  EXPECT_EQ(have, std::vector<bool>({false, true, true, true, false, true}));
  EXPECT_EQ(DiskBytes(partial_.file), 0U);
}

TEST_F(SparseFileTest, PiecesOfZerosReplaceTheBytesOfTheOldVersion) {
  const auto old_file = dir_.path() / "old";
  const std::string old_bytes = bytes_.substr(0, 256 * 1024) + RandomBytes(1'100'000, 4);
  const auto have = PrepareFrom(partial_, hashed_, {BaseOf(old_file, old_bytes)});
  EXPECT_EQ(have, std::vector<bool>({true, true, true, true, false, true}));
  std::ifstream in(partial_.file, std::ios::binary);
  const std::string got{std::istreambuf_iterator<char>(in), {}};
  EXPECT_TRUE(got.substr(0, 1 << 20) == bytes_.substr(0, 1 << 20));
  EXPECT_TRUE(got.substr(5 * 256 * 1024) == bytes_.substr(5 * 256 * 1024));
  EXPECT_LE(DiskBytes(partial_.file), 2 * 256 * 1024U);
}

TEST_F(SparseFileTest, LongRunsOfZerosBecomeHoles) {
  const auto file = dir_.path() / "whole";
  ASSERT_GE(DiskBytes(file), bytes_.size());
  PunchZeros(file, 0, bytes_.size());
  EXPECT_LE(DiskBytes(file), 220'000U);
  std::ifstream in(file, std::ios::binary);
  const std::string got{std::istreambuf_iterator<char>(in), {}};
  EXPECT_TRUE(got == bytes_);
}

TEST_F(PartialFileTest, WithoutANoteEveryPieceIsHashed) {
  Prepare();
  Overwrite(0, bytes_.substr(0, 1'000'000));  // 3 whole pieces and part of the fourth
  const auto have = Prepare();
  EXPECT_EQ(Count(have), 3U);
  EXPECT_TRUE(have[0] && have[1] && have[2]);
}

TEST_F(PartialFileTest, NoteIsBelievedOnce) {
  Prepare();
  std::vector<bool> have(hashed_.pieces.size());
  have[5] = true;  // a lie, to see that it is believed
  NotePartial(partial_, hashed_.id, have);
  EXPECT_EQ(Prepare(), have);
  EXPECT_EQ(Count(Prepare()), 0U);  // hashed this time
}

TEST_F(PartialFileTest, NoteOfAnotherFileIsNotBelieved) {
  Prepare();
  NotePartial(partial_, hashed_.id, std::vector<bool>(hashed_.pieces.size(), true));
  std::filesystem::rename(partial_.file, dir_.path() / "aside");
  std::filesystem::copy_file(dir_.path() / "aside", partial_.file);
  EXPECT_EQ(Count(Prepare()), 0U);
}

TEST_F(PartialFileTest, BaseGivesWhatIsEqual) {
  std::string old = bytes_.substr(0, 2'000'000);
  old[300'000] ^= 1;
  const auto have = Prepare({BaseOf(dir_.path() / "old", old)});
  EXPECT_EQ(Count(have), 6U);  // of 7 whole ones, without the second
  EXPECT_FALSE(have[1]);
  for (std::size_t i = 0; i < have.size(); ++i) {
    EXPECT_EQ(PieceIsThere(partial_.file, hashed_.id, hashed_.pieces, i), have[i]) << i;
  }
  EXPECT_EQ(std::filesystem::file_size(partial_.file), bytes_.size());
}

TEST(Codec, ContentsAndSummariesAreChecked) {
  index::ContentId id;
  id.root.fill(7);
  id.size = 12345;
  wire::Content content;
  ToWire(id, &content);
  EXPECT_EQ(FromWire(content), id);
  content.set_root("short");
  EXPECT_FALSE(FromWire(content));
  ToWire(id, &content);
  content.set_size(0);
  EXPECT_FALSE(FromWire(content));
  content.set_size(~std::uint64_t{0});
  EXPECT_FALSE(FromWire(content));

  index::Summary summary;
  index::DeviceId device;
  device.bytes.fill(1);
  summary[device] = 5;
  wire::Summary out;
  ToWire(summary, &out);
  EXPECT_EQ(FromWire(out), summary);
  ToWire(summary, &out);  // the same device twice
  EXPECT_FALSE(FromWire(out));
  out.clear_known();
  out.add_known()->set_device(ToBytes(device));  // number 0
  EXPECT_FALSE(FromWire(out));

  EXPECT_FALSE(Parse<wire::Hello>(std::string(kMessageMax + 1, '\0')));
  EXPECT_FALSE(Parse<wire::Hello>("\xff\xff\xff"));
  EXPECT_EQ(SafeName("a\nb\x1b[31m\x7f"), "a?b?[31m?");
  EXPECT_EQ(SafeName(std::string(1000, 'x')).size(), kHostNameMax);
}

TEST(Codec, SummariesCoverAndJoin) {
  index::DeviceId a;
  index::DeviceId b;
  b.bytes.fill(2);
  index::Summary left{{a, 3}};
  const index::Summary right{{a, 2}, {b, 9}};
  EXPECT_FALSE(Covers(left, right));
  EXPECT_TRUE(Covers(left, {{a, 3}}));
  EXPECT_TRUE(Covers(left, {}));
  Join(left, right);
  EXPECT_EQ(left, (index::Summary{{a, 3}, {b, 9}}));
  EXPECT_TRUE(Covers(left, right));
}

TEST(Dialer, HostAndPort) {
  const auto is = [](const char* text, const char* host, int port) {
    const HostPort parsed = ParseHostPort(text, 51413);
    return parsed.port == port && (port == 0 || parsed.host == host);
  };
  EXPECT_TRUE(is("nas", "nas", 51413));
  EXPECT_TRUE(is("nas:7", "nas", 7));
  EXPECT_TRUE(is("10.0.0.1:65535", "10.0.0.1", 65535));
  EXPECT_TRUE(is("[fd00::1]:7", "fd00::1", 7));
  EXPECT_TRUE(is("[fd00::1]", "fd00::1", 51413));
  EXPECT_TRUE(is("fd00::1", "fd00::1", 51413));
  for (const char* bad :
       {"", ":7", "nas:", "nas:0", "nas:65536", "nas:x", "[fd00::1", "[fd00::1]7"}) {
    EXPECT_TRUE(is(bad, "", 0)) << bad;
  }
}

}  // namespace
}  // namespace btfc::torrent
