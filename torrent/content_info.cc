#include "torrent/content_info.h"

#include <openssl/sha.h>

#include <algorithm>
#include <array>
#include <bit>

#include "torrent/bencode.h"

namespace btfc::torrent {
namespace {

constexpr std::uint64_t kControlPieceLength = 16 * 1024;

std::string_view View(const index::Hash& hash) {
  return {reinterpret_cast<const char*>(hash.data()), hash.size()};
}

index::Hash Sha256Of(std::string_view bytes) {
  index::Hash hash{};
  SHA256(reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size(), hash.data());
  return hash;
}

index::Hash Parent(const index::Hash& left, const index::Hash& right) {
  std::array<char, 64> both{};
  std::copy(left.begin(), left.end(), both.begin());
  std::copy(right.begin(), right.end(), both.begin() + left.size());
  return Sha256Of({both.data(), both.size()});
}

// The root over `nodes`, filled up with `pad` to `width`, a power of two.
index::Hash Root(std::vector<index::Hash> nodes, index::Hash pad, std::uint64_t width) {
  for (; width > 1; width /= 2) {
    if (nodes.size() % 2 == 1) nodes.push_back(pad);
    for (std::size_t i = 0; i < nodes.size() / 2; ++i) {
      nodes[i] = Parent(nodes[2 * i], nodes[2 * i + 1]);
    }
    nodes.resize(nodes.size() / 2);
    pad = Parent(pad, pad);
  }
  return nodes.front();
}

// Keys of a dictionary are in order: "file tree", "meta version", "name", ...
std::string Info(std::string_view name, std::uint64_t size, const index::Hash& root,
                 std::uint64_t piece_length, std::string_view ca_cert_pem) {
  std::string info = "d" + Bencode("file tree") + "d" + Bencode(name) + "d" + Bencode("") + "d" +
                     Bencode("length") + Bencode(size) + Bencode("pieces root") +
                     Bencode(View(root)) + "eee";
  info += Bencode("meta version") + Bencode(std::uint64_t{2});
  info += Bencode("name") + Bencode(name);
  info += Bencode("piece length") + Bencode(piece_length);
  info += Bencode("ssl-cert") + Bencode(ca_cert_pem);
  return info + "e";
}

}  // namespace

std::string ContentInfo(const index::ContentId& id, std::string_view ca_cert_pem) {
  return Info(index::ToHex(id), id.size, id.root, index::PieceLength(id.size), ca_cert_pem);
}

std::string ContentTorrentFile(const index::ContentId& id, std::string_view ca_cert_pem,
                               const std::vector<index::Hash>& layer) {
  std::string file = "d" + Bencode("info") + ContentInfo(id, ca_cert_pem);
  if (!layer.empty()) {
    std::string hashes;
    hashes.reserve(layer.size() * sizeof(index::Hash));
    for (const auto& hash : layer) hashes += View(hash);
    file += Bencode("piece layers") + "d" + Bencode(View(id.root)) + Bencode(hashes) + "e";
  }
  return file + "e";
}

std::string ControlFileName(const ClusterKey& cluster) {
  index::ContentId id;
  id.root = cluster.cluster_id;
  return "btfc-" + index::ToHex(id);
}

std::string ControlFileBytes(const ClusterKey& cluster) {
  return "btfc control " + std::string(View(cluster.cluster_id));
}

std::string ControlInfo(const ClusterKey& cluster) {
  const std::string bytes = ControlFileBytes(cluster);
  return Info(ControlFileName(cluster), bytes.size(), Sha256Of(bytes), kControlPieceLength,
              cluster.ca_cert_pem);
}

std::uint64_t PieceCount(std::uint64_t size) {
  const std::uint64_t length = index::PieceLength(size);
  return (size + length - 1) / length;
}

bool IsLayerOf(const index::ContentId& id, const std::vector<index::Hash>& layer) {
  const std::uint64_t count = PieceCount(id.size);
  if (count <= 1) return layer.empty();
  if (layer.size() != count) return false;
  index::Hash pad{};
  for (std::uint64_t leaves = index::PieceLength(id.size) / index::kBlockSize; leaves > 1;
       leaves /= 2) {
    pad = Parent(pad, pad);
  }
  return Root(layer, pad, std::bit_ceil(count)) == id.root;
}

const index::Hash& PieceHash(const index::ContentId& id, const std::vector<index::Hash>& layer,
                             std::uint64_t piece) {
  return layer.empty() ? id.root : layer[piece];
}

index::Hash HashPiece(std::string_view bytes, std::uint64_t object_size) {
  std::vector<index::Hash> leaves;
  leaves.reserve(bytes.size() / index::kBlockSize + 1);
  for (std::size_t at = 0; at < bytes.size(); at += index::kBlockSize) {
    leaves.push_back(Sha256Of(bytes.substr(at, index::kBlockSize)));
  }
  if (leaves.empty()) return {};
  const std::uint64_t width = PieceCount(object_size) > 1
                                  ? index::PieceLength(object_size) / index::kBlockSize
                                  : std::bit_ceil(leaves.size());
  return Root(std::move(leaves), index::Hash{}, width);
}

std::uint64_t DataBytes(const index::ContentId& id, const std::vector<index::Hash>& layer) {
  if (layer.size() < 2) return id.size;
  const std::uint64_t length = index::PieceLength(id.size);
  const index::Hash block = Sha256Of(std::string(index::kBlockSize, '\0'));
  const index::Hash zeros = Root({block}, block, length / index::kBlockSize);
  // The last one may be short.
  const auto holes = std::count(layer.begin(), std::prev(layer.end()), zeros);
  return id.size - static_cast<std::uint64_t>(holes) * length;
}

}  // namespace btfc::torrent
