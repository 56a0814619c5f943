#include "torrent/bencode.h"

#include <libtorrent/bdecode.hpp>
#include <string>
#include <vector>

#include "index/merkle.h"
#include "take.h"
#include "targets.h"
#include "torrent/codec.h"
#include "torrent/content_info.h"

namespace btfc::fuzz {

// What we write is read by libtorrent, whatever the size and the certificate are.
void Bencode(std::string_view bytes) {
  Take take(bytes);
  index::ContentId id;
  id.size = take.Number(8) % torrent::kObjectSizeMax + 1;
  for (auto& byte : id.root) byte = static_cast<std::uint8_t>(take.Number(1));
  const std::uint64_t pieces = take.Number(1);  // most often not as many as the size has
  const std::string certificate(take.Rest());
  const std::string file = torrent::ContentTorrentFile(
      id, certificate, std::vector<index::Hash>(static_cast<std::size_t>(pieces), id.root));
  lt::error_code error;
  const lt::bdecode_node decoded = lt::bdecode(file, error);
  BTFC_FUZZ_CHECK(!error);
  const lt::bdecode_node info = decoded.dict_find_dict("info");
  BTFC_FUZZ_CHECK(info.dict_find_string_value("ssl-cert") == certificate);
  BTFC_FUZZ_CHECK(info.dict_find_string_value("name") == index::ToHex(id));
}

}  // namespace btfc::fuzz
