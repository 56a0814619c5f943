// X.509 for a cluster: a self-signed certificate authority and the certificates that it signs.
// Internal to torrent/. Any thread.
#pragma once

#include <openssl/ssl.h>

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace btfc::torrent {

template <auto Free>
struct OpenSslFree {
  template <class T>
  void operator()(T* object) const {
    Free(object);
  }
};
using KeyPtr = std::unique_ptr<EVP_PKEY, OpenSslFree<EVP_PKEY_free>>;
using CertificatePtr = std::unique_ptr<X509, OpenSslFree<X509_free>>;

using Sha256 = std::array<std::uint8_t, 32>;

// P-256. Null only if OpenSSL has no randomness.
KeyPtr MakeKey();
// A certificate authority called `name`, signed by itself.
CertificatePtr MakeAuthority(EVP_PKEY* key, std::string_view name);
// A certificate of `key` for both TLS roles, common name *, signed by the authority. `read_only`:
// it says that no rows are to be taken from this host.
CertificatePtr MakeNodeCertificate(EVP_PKEY* key, EVP_PKEY* authority_key, X509* authority,
                                   bool read_only = false);
bool IsReadOnly(X509* certificate);

// The PEM forms depend on nothing but the object, so that every host of a cluster has the same
// bytes. Empty on failure.
std::string ToPem(EVP_PKEY* key);
std::string ToPem(X509* certificate);
// The first key or certificate in a PEM text, which may hold both. Null if there is none or it is
// damaged or asks for a password.
KeyPtr KeyFromPem(std::string_view pem);
CertificatePtr CertificateFromPem(std::string_view pem);
// The second certificate, if there is one.
CertificatePtr SecondCertificateFromPem(std::string_view pem);

bool IsP256(EVP_PKEY* key);
bool BelongTogether(X509* certificate, EVP_PKEY* key);
bool IsAuthority(X509* certificate);
bool IsSignedBy(X509* certificate, EVP_PKEY* authority_key);
// The same by the authority's certificate, without its private key.
bool IsSignedBy(X509* certificate, X509* authority);

std::optional<Sha256> DigestOf(X509* certificate);  // SHA-256 of its DER form
std::optional<Sha256> KeyDigestOf(EVP_PKEY* key);   // SHA-256 of the public key's DER form
// KeyDigestOf the certificate that the other end of a finished handshake showed.
std::optional<Sha256> PeerKeyDigest(const SSL* ssl);
bool PeerIsReadOnly(const SSL* ssl);  // IsReadOnly of that certificate

}  // namespace btfc::torrent
