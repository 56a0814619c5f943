// The cluster's key (a certificate authority) and this host's own key and certificate.
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

#include "index/result.h"

namespace btfc::torrent {

// This host: its own key and a certificate that the cluster key signed, good for all torrents.
struct NodeIdentity {
  std::string key_pem;
  std::string cert_pem;
  std::array<std::uint8_t, 32> node_key{};  // SHA-256 of the public key's DER form
};

// Who may join: every host that has this file is a member. PEM: the CA's private key and its
// self-signed certificate. Or an invitation for one host that may only read: that host's key and
// certificate, and the CA's certificate; ca_key_pem is empty then.
struct ClusterKey {
  std::string ca_key_pem;
  std::string ca_cert_pem;
  std::array<std::uint8_t, 32> cluster_id{};  // SHA-256 of the certificate's DER form
  std::optional<NodeIdentity> invited;
};

// Any thread. Files are written with mode 0600 and fsynced.
Result<ClusterKey> MakeClusterKey(const std::string& cluster_name);
// EEXIST if the file is there: a cluster's key is never overwritten.
Result<void> WriteClusterKey(const ClusterKey& key, const std::filesystem::path& file);
// On failure `why` says it for a person (missing, mode wider than 0600, not a key, key and
// certificate do not belong together).
Result<ClusterKey> ReadClusterKey(const std::filesystem::path& file, std::string* why);
Result<ClusterKey> ParseClusterKey(std::string_view pem, std::string* why);
// An invitation for one more host, which may only read. EPERM if `key` is one itself.
Result<ClusterKey> InviteReadOnly(const ClusterKey& key);
// Reads node.key beside the cluster key, or makes it. A node certificate of another cluster is
// replaced by one of this one.
Result<NodeIdentity> LoadOrMakeNode(const std::filesystem::path& folder, const ClusterKey& key,
                                    std::string* why);

}  // namespace btfc::torrent
