#include <string>

#include "targets.h"
#include "torrent/identity.h"

namespace btfc::fuzz {

// A key that is taken is the same key when it is read again; what is refused has a reason.
void Key(std::string_view bytes) {
  std::string why;
  const auto key = torrent::ParseClusterKey(bytes, &why);
  if (!key) {
    BTFC_FUZZ_CHECK(!why.empty());
    return;
  }
  const auto again =
      torrent::ParseClusterKey(key.value().ca_key_pem + key.value().ca_cert_pem, &why);
  BTFC_FUZZ_CHECK(again && again.value().cluster_id == key.value().cluster_id);
}

}  // namespace btfc::fuzz
