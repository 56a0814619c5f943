#include "torrent/strangers.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <functional>

namespace btfc::torrent {
namespace {

constexpr std::size_t kNamedMax = 1000;
constexpr std::size_t kShownMax = 20;

}  // namespace

void Strangers::Note(const std::string& ip, const std::string& what) {
  ++connections_;
  {
    const std::lock_guard lock(mutex_);
    const bool named = by_address_.contains(ip);
    if (!named && by_address_.size() >= kNamedMax) return;
    if (++by_address_[ip] > 1) return;
  }
  spdlog::warn(
      "refused a connection with {}: usually one with another cluster's key, or none (TLS: {}); "
      "further ones are counted only",
      ip, what);
}

std::vector<RefusedAddress> Strangers::Addresses() const {
  std::vector<RefusedAddress> addresses;
  {
    const std::lock_guard lock(mutex_);
    for (const auto& [ip, connections] : by_address_) addresses.push_back({ip, connections});
  }
  std::ranges::stable_sort(addresses, std::ranges::greater(), &RefusedAddress::connections);
  if (addresses.size() > kShownMax) addresses.resize(kShownMax);
  return addresses;
}

}  // namespace btfc::torrent
