#include "index/merkle.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>
#include <libtorrent/create_torrent.hpp>
#include <libtorrent/hex.hpp>
#include <libtorrent/torrent_info.hpp>

#include "catalogue_fixture.h"

namespace btfc::index {
namespace {

std::string Pattern(std::size_t size) {
  std::string bytes(size, '\0');
  for (std::size_t i = 0; i < size; ++i) bytes[i] = static_cast<char>(i * 2654435761U >> 13U);
  return bytes;
}

class MerkleTest : public testing::Test {
 protected:
  void Save(const std::string& bytes) { std::ofstream(file(), std::ios::binary) << bytes; }
  std::string file() const { return dir_.path() / "f"; }
  HashedFile Hash(unsigned threads = 1, const EarlierFile* earlier = nullptr) {
    const int fd = open(file().c_str(), O_RDONLY);
    const auto hashed = HashFile(fd, {}, threads, earlier);
    close(fd);
    EXPECT_TRUE(hashed);
    return hashed ? hashed.value() : HashedFile{};
  }
  TempDir dir_;
};

class MerkleSizeTest : public MerkleTest, public testing::WithParamInterface<std::size_t> {};

TEST_P(MerkleSizeTest, AgreesWithLibtorrent) {
  const std::string bytes = Pattern(GetParam());
  Save(bytes);
  const HashedFile hashed = Hash();
  EXPECT_EQ(hashed.id, ContentIdOf(bytes));

  lt::file_storage files;
  files.add_file("f", static_cast<std::int64_t>(bytes.size()));
  lt::create_torrent torrent(files, static_cast<int>(PieceLength(bytes.size())),
                             lt::create_torrent::v2_only);
  lt::error_code error;
  lt::set_piece_hashes(
      torrent, dir_.path(), [](lt::piece_index_t) {}, error);
  ASSERT_FALSE(error) << error.message();
  std::vector<char> buffer;
  lt::bencode(std::back_inserter(buffer), torrent.generate());
  const lt::torrent_info info(buffer, lt::from_span);
  const lt::sha256_hash root = info.files().root(lt::file_index_t(0));
  EXPECT_EQ(lt::aux::to_hex(root), ToHex(hashed.id));
  if (bytes.size() > PieceLength(bytes.size())) {
    const auto layer = info.piece_layer(lt::file_index_t(0));
    ASSERT_EQ(layer.size(), static_cast<int>(hashed.pieces.size() * sizeof(btfc::index::Hash)));
    EXPECT_EQ(0,
              memcmp(layer.data(), hashed.pieces.data(), static_cast<std::size_t>(layer.size())));
  } else {
    EXPECT_TRUE(hashed.pieces.empty());
  }
}

INSTANTIATE_TEST_SUITE_P(Sizes, MerkleSizeTest,
                         testing::Values(1, 100, 16383, 16384, 16385, 3 * 16384, 262143, 262144,
                                         262145, 600000, 1048576, 5000001));

TEST_F(MerkleTest, TheEmptyContentHasNoRoot) {
  EXPECT_EQ(ContentId{}, ContentIdOf(""));
  Save("");
  EXPECT_EQ(ContentId{}, Hash().id);
}

TEST_F(MerkleTest, ThreadsChangeNothing) {
  const std::string bytes = Pattern(20'000'001);
  Save(bytes);
  const auto one = Hash(1), three = Hash(3);
  EXPECT_EQ(one.id, three.id);
  EXPECT_EQ(one.pieces, three.pieces);
}

TEST_F(MerkleTest, HolesAreZeros) {
  const int fd = open(file().c_str(), O_RDWR | O_CREAT | O_TRUNC, 0600);
  std::string bytes(9'000'000, '\0');  // NOLINT(bugprone-string-constructor): so many are meant
  bytes.replace(5'000'000, 3, "abc");
  ASSERT_EQ(3, pwrite(fd, "abc", 3, 5'000'000));
  ASSERT_EQ(0, ftruncate(fd, static_cast<off_t>(bytes.size())));
  close(fd);
  EXPECT_EQ(ContentIdOf(bytes), Hash().id);
}

TEST_F(MerkleTest, CanBeCancelled) {
  Save(Pattern(9'000'000));
  const int fd = open(file().c_str(), O_RDONLY);
  int asked = 0;
  const auto hashed = HashFile(
      fd, [&asked] { return ++asked == 2; }, 1);
  close(fd);
  EXPECT_EQ(make_error_code(Error::kCancelled), hashed.error());
}

// Bytes that are said to be as before are not looked at: here they are others, and it is not seen.
TEST_F(MerkleTest, OnlyWhatChangedIsRead) {
  const std::size_t piece = PieceLength(0);
  std::string bytes = Pattern(10 * piece + 100);
  Save(bytes);
  EarlierFile earlier{bytes.size(), Hash().pieces, [&](std::uint64_t offset, std::uint64_t length) {
                        return offset <= 3 * piece && 3 * piece < offset + length;
                      }};
  bytes[3 * piece] ^= 1;
  std::string damaged = bytes;
  damaged[5 * piece] ^= 1;
  Save(damaged);
  const HashedFile hashed = Hash(1, &earlier);
  EXPECT_EQ(ContentIdOf(bytes), hashed.id);
  Save(bytes);
  EXPECT_EQ(Hash().pieces, hashed.pieces);
}

TEST_F(MerkleTest, AnotherLengthMakesOtherPieces) {
  const std::size_t piece = PieceLength(0);
  const auto unchanged = [](std::uint64_t, std::uint64_t) { return false; };
  const std::size_t sizes[] = {1,        piece, piece + 1, 2 * piece, 2 * piece + 5, 5 * piece - 1,
                               5 * piece};
  for (const std::size_t was : sizes) {
    const std::string all = Pattern(5 * piece);
    Save(all.substr(0, was));
    const EarlierFile earlier{was, Hash().pieces, unchanged};
    for (const std::size_t is : sizes) {
      Save(all.substr(0, is));
      EXPECT_EQ(ContentIdOf(all.substr(0, is)), Hash(1, &earlier).id) << was << " to " << is;
    }
  }
}

// Above 1 GiB pieces are longer, and those of before say nothing.
TEST_F(MerkleTest, LongerPiecesAreMadeAnew) {
  const std::uint64_t was = std::uint64_t{1} << 30U;
  Save("some bytes");
  std::filesystem::resize_file(file(), was);
  const EarlierFile earlier{was, Hash().pieces, [](std::uint64_t, std::uint64_t) { return false; }};
  std::filesystem::resize_file(file(), was + 1);
  EXPECT_EQ(Hash().id, Hash(1, &earlier).id);
}

TEST_F(MerkleTest, APieceListStaysShort) {
  EXPECT_EQ(256u * 1024, PieceLength(1));
  EXPECT_EQ(256u * 1024, PieceLength(1ULL << 30U));
  EXPECT_EQ(512u * 1024, PieceLength((1ULL << 30U) + 1));
  EXPECT_EQ(16u * 1024 * 1024, PieceLength(1ULL << 50U));
}

}  // namespace
}  // namespace btfc::index
