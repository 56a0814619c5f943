#include "torrent/identity.h"

#include <sys/stat.h>

#include <cerrno>
#include <string_view>
#include <utility>

#include "torrent/certificates.h"
#include "torrent/private_file.h"

namespace btfc::torrent {
namespace {

constexpr std::size_t kKeyFileMax = 64 * 1024;  // bytes; a real one has about 900

template <class T>
Result<T> Refuse(std::error_code code, std::string* why, std::string text) {
  if (why != nullptr) *why = std::move(text);
  return code;
}

std::string Octal(unsigned mode) {
  std::string digits;
  for (int shift = 9; shift >= 0; shift -= 3) {
    digits += static_cast<char>('0' + ((mode >> static_cast<unsigned>(shift)) & 7U));
  }
  return digits;
}

std::string WhyNotRead(const std::filesystem::path& file, const std::error_code& code) {
  if (code == Errno(ENOENT)) return file.string() + " does not exist";
  if (code == Errno(EISDIR)) return file.string() + " is a folder, not a key file";
  if (code == Errno(EINVAL)) return file.string() + " is not a regular file";
  if (code == Errno(EFBIG)) return file.string() + " is too large to be a key file";
  struct stat status {};
  if (code == Errno(EACCES) && ::stat(file.c_str(), &status) == 0 && (status.st_mode & 077U) != 0) {
    return file.string() + " has mode " + Octal(status.st_mode & 07777U) +
           ", so others may use it; a key must belong to its owner alone: chmod 600 " +
           file.string();
  }
  return file.string() + " cannot be read: " + code.message();
}

Result<NodeIdentity> IdentityOf(EVP_PKEY* key, X509* certificate) {
  NodeIdentity node;
  node.key_pem = ToPem(key);
  node.cert_pem = ToPem(certificate);
  const auto digest = KeyDigestOf(key);
  if (node.key_pem.empty() || node.cert_pem.empty() || !digest) return Errno(ENOMEM);
  node.node_key = *digest;
  return node;
}

// Signs a certificate for `key` and writes both.
Result<NodeIdentity> Enrol(EVP_PKEY* key, const ClusterKey& cluster,
                           const std::filesystem::path& file, std::string* why) {
  const KeyPtr ca_key = KeyFromPem(cluster.ca_key_pem);
  const CertificatePtr ca = CertificateFromPem(cluster.ca_cert_pem);
  if (!ca_key || !ca)
    return Refuse<NodeIdentity>(Error::kCorrupt, why, "the cluster key is damaged");
  const CertificatePtr certificate = MakeNodeCertificate(key, ca_key.get(), ca.get());
  if (!certificate) {
    return Refuse<NodeIdentity>(Errno(EIO), why, "OpenSSL could not make a certificate");
  }
  auto node = IdentityOf(key, certificate.get());
  if (!node) return Refuse<NodeIdentity>(node.error(), why, "OpenSSL could not write a key");
  const auto written =
      WritePrivateFile(file, node.value().key_pem + node.value().cert_pem, IfExists::kReplace);
  if (!written) {
    return Refuse<NodeIdentity>(written.error(), why,
                                "cannot write " + file.string() + ": " + written.error().message());
  }
  return node;
}

}  // namespace

Result<ClusterKey> MakeClusterKey(const std::string& cluster_name) {
  const KeyPtr key = MakeKey();
  const CertificatePtr certificate = key ? MakeAuthority(key.get(), cluster_name) : nullptr;
  if (!certificate) return Errno(EIO);
  std::string why;
  return ParseClusterKey(ToPem(key.get()) + ToPem(certificate.get()), &why);
}

Result<void> WriteClusterKey(const ClusterKey& key, const std::filesystem::path& file) {
  const auto text = key.invited ? key.invited->key_pem + key.invited->cert_pem + key.ca_cert_pem
                                : key.ca_key_pem + key.ca_cert_pem;
  return WritePrivateFile(file, text, IfExists::kRefuse);
}

Result<ClusterKey> InviteReadOnly(const ClusterKey& key) {
  const KeyPtr ca_key = KeyFromPem(key.ca_key_pem);
  const CertificatePtr ca = CertificateFromPem(key.ca_cert_pem);
  if (!ca_key || !ca) return Errno(EPERM);
  const KeyPtr own = MakeKey();
  const CertificatePtr certificate =
      own ? MakeNodeCertificate(own.get(), ca_key.get(), ca.get(), /*read_only=*/true) : nullptr;
  if (!certificate) return Errno(EIO);
  ClusterKey invitation;
  BTFC_TRY(node, IdentityOf(own.get(), certificate.get()));
  invitation.ca_cert_pem = key.ca_cert_pem;
  invitation.cluster_id = key.cluster_id;
  invitation.invited = std::move(node);
  return invitation;
}

Result<ClusterKey> ReadClusterKey(const std::filesystem::path& file, std::string* why) {
  const auto pem = ReadSmallFile(file, kKeyFileMax, /*only_owner=*/true);
  if (!pem) return Refuse<ClusterKey>(pem.error(), why, WhyNotRead(file, pem.error()));
  std::string reason;
  auto key = ParseClusterKey(pem.value(), &reason);
  if (!key) return Refuse<ClusterKey>(key.error(), why, file.string() + ": " + reason);
  return key;
}

namespace {

// A file with the host's own key and certificate before the cluster's certificate.
Result<ClusterKey> ParseInvitation(EVP_PKEY* key, X509* certificate, X509* ca) {
  ClusterKey cluster;
  const auto digest = DigestOf(ca);
  cluster.ca_cert_pem = ToPem(ca);
  BTFC_TRY(node, IdentityOf(key, certificate));
  if (!digest || cluster.ca_cert_pem.empty()) return Errno(ENOMEM);
  cluster.cluster_id = *digest;
  cluster.invited = std::move(node);
  return cluster;
}

}  // namespace

Result<ClusterKey> ParseClusterKey(std::string_view pem, std::string* why) {
  const auto corrupt = [why](const char* text) {
    return Refuse<ClusterKey>(Error::kCorrupt, why, text);
  };
  if (pem.empty()) return corrupt("it is empty");
  if (pem.size() > kKeyFileMax) return corrupt("it is too large to be a cluster key");
  const KeyPtr key = KeyFromPem(pem);
  if (!key) return corrupt("it holds no readable private key");
  if (!IsP256(key.get())) return corrupt("its private key is not an elliptic curve key (P-256)");
  const CertificatePtr certificate = CertificateFromPem(pem);
  if (!certificate) return corrupt("it holds no readable certificate");
  if (!BelongTogether(certificate.get(), key.get())) {
    return corrupt("its key and its certificate do not belong together");
  }
  const CertificatePtr second = SecondCertificateFromPem(pem);
  if (second && IsReadOnly(certificate.get()) && IsAuthority(second.get()) &&
      IsSignedBy(certificate.get(), second.get())) {
    auto invitation = ParseInvitation(key.get(), certificate.get(), second.get());
    if (!invitation) return corrupt("OpenSSL cannot write it");
    return invitation;
  }
  if (!IsAuthority(certificate.get())) {
    return corrupt("its certificate is not a cluster's; is it a node.key?");
  }
  ClusterKey cluster;
  cluster.ca_key_pem = ToPem(key.get());
  cluster.ca_cert_pem = ToPem(certificate.get());
  const auto digest = DigestOf(certificate.get());
  if (cluster.ca_key_pem.empty() || cluster.ca_cert_pem.empty() || !digest) {
    return corrupt("OpenSSL cannot write it");
  }
  cluster.cluster_id = *digest;
  return cluster;
}

Result<NodeIdentity> LoadOrMakeNode(const std::filesystem::path& folder, const ClusterKey& key,
                                    std::string* why) {
  if (key.invited) return *key.invited;
  const std::filesystem::path file = folder / "node.key";
  const auto pem = ReadSmallFile(file, kKeyFileMax, /*only_owner=*/true);
  if (!pem && pem.error() != Errno(ENOENT)) {
    return Refuse<NodeIdentity>(pem.error(), why, WhyNotRead(file, pem.error()));
  }
  const KeyPtr own = pem ? KeyFromPem(pem.value()) : MakeKey();
  if (!own || !IsP256(own.get())) {
    return Refuse<NodeIdentity>(Error::kCorrupt, why,
                                file.string() +
                                    " holds no readable key; remove it, and this host gets a new "
                                    "one");
  }
  if (pem) {
    const KeyPtr ca_key = KeyFromPem(key.ca_key_pem);
    const CertificatePtr certificate = CertificateFromPem(pem.value());
    if (ca_key && certificate && BelongTogether(certificate.get(), own.get()) &&
        IsSignedBy(certificate.get(), ca_key.get())) {
      return IdentityOf(own.get(), certificate.get());
    }
  }
  return Enrol(own.get(), key, file, why);
}

}  // namespace btfc::torrent
