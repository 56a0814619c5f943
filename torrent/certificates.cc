#include "torrent/certificates.h"

#include <openssl/bn.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/sha.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <cctype>

namespace btfc::torrent {
namespace {

using BioPtr = std::unique_ptr<BIO, OpenSslFree<BIO_free>>;
using BignumPtr = std::unique_ptr<BIGNUM, OpenSslFree<BN_free>>;
using ExtensionPtr = std::unique_ptr<X509_EXTENSION, OpenSslFree<X509_EXTENSION_free>>;

// Hosts without a working clock must be able to join, and membership ends by a new cluster key,
// not by a date: so no time before or after matters (RFC 5280, 4.1.2.5).
constexpr char kNotBefore[] = "19700101000000Z";
constexpr char kNotAfter[] = "99991231235959Z";

constexpr char kReadOnlyUnit[] = "read-only";
constexpr int kSerialBits = 127;
constexpr std::size_t kCommonNameMax = 64;  // ub-common-name

BioPtr ReadBio(std::string_view text) {
  return BioPtr(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
}

std::string TakeText(BIO* bio) {
  char* data = nullptr;
  const long size = BIO_get_mem_data(bio, &data);
  return size > 0 ? std::string(data, static_cast<std::size_t>(size)) : std::string();
}

// Without this OpenSSL would ask on the terminal.
int NoPassword(char*, int, int, void*) { return -1; }

// A common name holds at most 64 characters; only plain ones keep tools that print it safe.
std::string CommonName(std::string_view name) {
  std::string plain;
  for (const char c : name.substr(0, kCommonNameMax)) {
    const auto byte = static_cast<unsigned char>(c);
    plain += byte < 0x80 && std::isprint(byte) != 0 ? c : '?';
  }
  return plain.empty() ? "btfc" : plain;
}

bool SetName(X509_NAME* name, const std::string& common_name) {
  return X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC,
                                    reinterpret_cast<const unsigned char*>(common_name.data()),
                                    static_cast<int>(common_name.size()), -1, 0) == 1;
}

bool MarkReadOnly(X509* certificate) {
  return X509_NAME_add_entry_by_txt(X509_get_subject_name(certificate), "OU", MBSTRING_ASC,
                                    reinterpret_cast<const unsigned char*>(kReadOnlyUnit), -1, -1,
                                    0) == 1;
}

bool SetRandomSerial(X509* certificate) {
  const BignumPtr serial(BN_new());
  return serial && BN_rand(serial.get(), kSerialBits, BN_RAND_TOP_ONE, BN_RAND_BOTTOM_ANY) == 1 &&
         BN_to_ASN1_INTEGER(serial.get(), X509_get_serialNumber(certificate)) != nullptr;
}

bool AddExtension(X509* certificate, X509* issuer, int nid, const char* value) {
  X509V3_CTX context;
  X509V3_set_ctx_nodb(&context);
  X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
  const ExtensionPtr extension(X509V3_EXT_conf_nid(nullptr, &context, nid, value));
  return extension && X509_add_ext(certificate, extension.get(), -1) == 1;
}

bool SetBasics(X509* certificate, EVP_PKEY* key) {
  return X509_set_version(certificate, X509_VERSION_3) == 1 && SetRandomSerial(certificate) &&
         ASN1_TIME_set_string_X509(X509_getm_notBefore(certificate), kNotBefore) == 1 &&
         ASN1_TIME_set_string_X509(X509_getm_notAfter(certificate), kNotAfter) == 1 &&
         X509_set_pubkey(certificate, key) == 1;
}

}  // namespace

KeyPtr MakeKey() { return KeyPtr(EVP_EC_gen("P-256")); }

CertificatePtr MakeAuthority(EVP_PKEY* key, std::string_view name) {
  CertificatePtr certificate(X509_new());
  X509* const cert = certificate.get();
  if (cert == nullptr || !SetBasics(cert, key) ||
      !SetName(X509_get_subject_name(cert), CommonName(name)) ||
      X509_set_issuer_name(cert, X509_get_subject_name(cert)) != 1 ||
      !AddExtension(cert, cert, NID_basic_constraints, "critical,CA:TRUE,pathlen:0") ||
      !AddExtension(cert, cert, NID_key_usage, "critical,keyCertSign,cRLSign") ||
      !AddExtension(cert, cert, NID_subject_key_identifier, "hash") ||
      X509_sign(cert, key, EVP_sha256()) == 0) {
    return nullptr;
  }
  return certificate;
}

CertificatePtr MakeNodeCertificate(EVP_PKEY* key, EVP_PKEY* authority_key, X509* authority,
                                   bool read_only) {
  CertificatePtr certificate(X509_new());
  X509* const cert = certificate.get();
  if (cert == nullptr || !SetBasics(cert, key) ||
      // libtorrent checks that a peer's certificate names the torrent, or all torrents. In a
      // subject alternative name it would read it, too, but leaks memory at each handshake.
      !SetName(X509_get_subject_name(cert), "*") || (read_only && !MarkReadOnly(cert)) ||
      X509_set_issuer_name(cert, X509_get_subject_name(authority)) != 1 ||
      !AddExtension(cert, authority, NID_basic_constraints, "critical,CA:FALSE") ||
      !AddExtension(cert, authority, NID_key_usage, "critical,digitalSignature") ||
      !AddExtension(cert, authority, NID_ext_key_usage, "serverAuth,clientAuth") ||
      !AddExtension(cert, authority, NID_subject_key_identifier, "hash") ||
      !AddExtension(cert, authority, NID_authority_key_identifier, "keyid:always") ||
      X509_sign(cert, authority_key, EVP_sha256()) == 0) {
    return nullptr;
  }
  return certificate;
}

std::string ToPem(EVP_PKEY* key) {
  const BioPtr bio(BIO_new(BIO_s_mem()));
  if (!bio ||
      PEM_write_bio_PKCS8PrivateKey(bio.get(), key, nullptr, nullptr, 0, nullptr, nullptr) != 1) {
    return {};
  }
  return TakeText(bio.get());
}

std::string ToPem(X509* certificate) {
  const BioPtr bio(BIO_new(BIO_s_mem()));
  if (!bio || PEM_write_bio_X509(bio.get(), certificate) != 1) return {};
  return TakeText(bio.get());
}

KeyPtr KeyFromPem(std::string_view pem) {
  const BioPtr bio = ReadBio(pem);
  KeyPtr key(bio ? PEM_read_bio_PrivateKey(bio.get(), nullptr, NoPassword, nullptr) : nullptr);
  ERR_clear_error();
  return key;
}

CertificatePtr CertificateFromPem(std::string_view pem) {
  const BioPtr bio = ReadBio(pem);
  CertificatePtr certificate(bio ? PEM_read_bio_X509(bio.get(), nullptr, NoPassword, nullptr)
                                 : nullptr);
  ERR_clear_error();
  return certificate;
}

CertificatePtr SecondCertificateFromPem(std::string_view pem) {
  const BioPtr bio = ReadBio(pem);
  if (!bio) return nullptr;
  const CertificatePtr first(PEM_read_bio_X509(bio.get(), nullptr, NoPassword, nullptr));
  CertificatePtr second(first ? PEM_read_bio_X509(bio.get(), nullptr, NoPassword, nullptr)
                              : nullptr);
  ERR_clear_error();
  return second;
}

bool IsReadOnly(X509* certificate) {
  X509_NAME* const name = X509_get_subject_name(certificate);
  const int at = X509_NAME_get_index_by_NID(name, NID_organizationalUnitName, -1);
  if (at < 0) return false;
  const ASN1_STRING* unit = X509_NAME_ENTRY_get_data(X509_NAME_get_entry(name, at));
  return std::string_view(reinterpret_cast<const char*>(ASN1_STRING_get0_data(unit)),
                          static_cast<std::size_t>(ASN1_STRING_length(unit))) == kReadOnlyUnit;
}

bool IsP256(EVP_PKEY* key) {
  std::array<char, 32> group{};
  std::size_t size = 0;
  const bool named = EVP_PKEY_get_base_id(key) == EVP_PKEY_EC &&
                     EVP_PKEY_get_group_name(key, group.data(), group.size(), &size) == 1;
  ERR_clear_error();
  return named && std::string_view(group.data(), size) == "prime256v1";
}

bool BelongTogether(X509* certificate, EVP_PKEY* key) {
  const bool match = X509_check_private_key(certificate, key) == 1;
  ERR_clear_error();
  return match;
}

bool IsAuthority(X509* certificate) {
  const bool is_authority =
      X509_check_ca(certificate) == 1 && X509_self_signed(certificate, 1) == 1;
  ERR_clear_error();
  return is_authority;
}

bool IsSignedBy(X509* certificate, EVP_PKEY* authority_key) {
  const bool is_signed = X509_verify(certificate, authority_key) == 1;
  ERR_clear_error();
  return is_signed;
}

bool IsSignedBy(X509* certificate, X509* authority) {
  EVP_PKEY* const key = X509_get0_pubkey(authority);
  return key != nullptr && IsSignedBy(certificate, key);
}

std::optional<Sha256> DigestOf(X509* certificate) {
  Sha256 digest{};
  unsigned size = 0;
  if (X509_digest(certificate, EVP_sha256(), digest.data(), &size) != 1 || size != digest.size()) {
    return std::nullopt;
  }
  return digest;
}

std::optional<Sha256> KeyDigestOf(EVP_PKEY* key) {
  unsigned char* der = nullptr;
  const int size = i2d_PUBKEY(key, &der);
  if (size <= 0) return std::nullopt;
  Sha256 digest{};
  SHA256(der, static_cast<std::size_t>(size), digest.data());
  OPENSSL_free(der);
  return digest;
}

std::optional<Sha256> PeerKeyDigest(const SSL* ssl) {
  const CertificatePtr certificate(SSL_get1_peer_certificate(ssl));
  if (!certificate) return std::nullopt;
  EVP_PKEY* const key = X509_get0_pubkey(certificate.get());
  return key != nullptr ? KeyDigestOf(key) : std::nullopt;
}

bool PeerIsReadOnly(const SSL* ssl) {
  const CertificatePtr certificate(SSL_get1_peer_certificate(ssl));
  return certificate && IsReadOnly(certificate.get());
}

}  // namespace btfc::torrent
