// Which addresses of this host to listen on, and a port that is free on all of them.
// Internal to torrent/. Any thread.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "index/result.h"

namespace btfc::torrent {

// Addresses in text form, sorted. `wanted` holds addresses and names of interfaces; if it is empty:
// all addresses but loopback and link-local ones, or 127.0.0.1 if there are no others. Of those
// that were not given as such only what can be bound now.
std::vector<std::string> ListenAddresses(const std::vector<std::string>& wanted);

// Those of `wanted` that are neither an address nor the name of an interface that this host has.
std::vector<std::string> AbsentFrom(const std::vector<std::string>& wanted);

// `first` or the next port above it that nobody uses on any of the addresses, for TCP and UDP; for
// 0 any free one. EADDRINUSE after a hundred tries, or what else bind(2) said; `failed` is then the
// address that it was said of.
Result<std::uint16_t> FreePort(const std::vector<std::string>& addresses, std::uint16_t first,
                               std::string* failed);

}  // namespace btfc::torrent
