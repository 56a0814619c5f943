// Torrents as functions of what every host of a cluster knows (BEP 52). Internal to torrent/. Any
// thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "index/content.h"
#include "index/merkle.h"
#include "torrent/identity.h"

namespace btfc::torrent {

// The bencoded info dictionary of an object's torrent: the same bytes on every host of the
// cluster. Its name, and that of its only file, is the root in hex.
std::string ContentInfo(const index::ContentId& id, std::string_view ca_cert_pem);
// A whole .torrent with the hashes of the pieces; none for objects of one piece.
std::string ContentTorrentFile(const index::ContentId& id, std::string_view ca_cert_pem,
                               const std::vector<index::Hash>& layer);

// The control torrent has one file whose bytes follow from the cluster's certificate, so that
// every host has them.
std::string ControlFileName(const ClusterKey& cluster);
std::string ControlFileBytes(const ClusterKey& cluster);
std::string ControlInfo(const ClusterKey& cluster);

std::uint64_t PieceCount(std::uint64_t size);
// Whether these are the hashes of the object's pieces.
bool IsLayerOf(const index::ContentId& id, const std::vector<index::Hash>& layer);
// What a piece must hash to: the root itself for an object of one piece.
const index::Hash& PieceHash(const index::ContentId& id, const std::vector<index::Hash>& layer,
                             std::uint64_t piece);
// Hash of one piece's bytes as it stands in the layer of an object of that size.
index::Hash HashPiece(std::string_view bytes, std::uint64_t object_size);
// Bytes of the pieces that are not all zeros: what its file takes on the disk, at most.
std::uint64_t DataBytes(const index::ContentId& id, const std::vector<index::Hash>& layer);

}  // namespace btfc::torrent
