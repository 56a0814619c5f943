#include "torrent/holder.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

namespace btfc::torrent {
namespace {

constexpr std::uint64_t kWindow = 512 * 1024;  // bytes of objects on their way to one peer
constexpr std::size_t kWantsMax = 65536;       // remembered for one peer
constexpr std::size_t kGetsMax = 4096;         // waiting for one peer

// The object's bytes, if it is here and has its length.
Result<std::string> ReadObject(ObjectPort& objects, const index::ContentId& id) {
  const auto file = objects.Find(id);
  if (!file) return Error::kUnavailable;
  const int fd = ::open(file->c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return Errno(errno);
  std::string bytes(id.size, '\0');
  std::size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t n =
        ::pread(fd, bytes.data() + done, bytes.size() - done, static_cast<off_t>(done));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) break;
    done += static_cast<std::size_t>(n);
  }
  ::close(fd);
  if (done < bytes.size()) return Error::kCorrupt;
  return bytes;
}

}  // namespace

Holder::Holder(Exchange& exchange, const Sharing& sharing)
    : exchange_(exchange), sharing_(sharing) {}

Holder::Customer& Holder::CustomerOf(const PeerPtr& peer) { return customers_[peer]; }

void Holder::TakeWant(const PeerPtr& peer, const wire::Want& want) {
  std::vector<index::ContentId> ids;
  Customer& customer = CustomerOf(peer);
  for (const auto& content : want.contents()) {
    const auto id = FromWire(content);
    if (!id) return exchange_.members.Nonsense(peer->link, "a malformed want");
    ids.push_back(*id);
    if (customer.wants.size() < kWantsMax) customer.wants.insert(*id);
  }
  if (ids.empty() || want.contents_size() > kContentsMax) {
    return exchange_.members.Nonsense(peer->link, "a malformed want");
  }
  exchange_.disk.Post([this, peer, ids = std::move(ids), gone = customer.gone] {
    // Who asked without end, and was ended for it, has left more behind than can be looked up.
    if (*gone) return;
    std::vector<bool> found;
    std::vector<bool> hashes;
    for (const auto& id : ids) {
      found.push_back(exchange_.objects.Find(id).has_value());
      hashes.push_back(!IsSmall(id) && exchange_.layers.Has(id));
    }
    exchange_.loop.Post([this, peer, ids, found = std::move(found), hashes = std::move(hashes)] {
      const auto customer_found = customers_.find(peer);
      if (customer_found == customers_.end()) return;
      wire::Have have;
      for (std::size_t i = 0; i < ids.size(); ++i) {
        if (found[i] && !Withdrawn(ids[i])) {
          ToWire(ids[i], have.add_whole());
          customer_found->second.wants.erase(ids[i]);
        } else if (sharing_.SharedLayer(ids[i]) != nullptr) {
          ToWire(ids[i], have.add_partial());
        } else {
          ToWire(ids[i], have.add_lack());
          if (hashes[i]) ToWire(ids[i], have.add_hashes());
        }
      }
      peer->link->Send(Kind::kHave, have);
    });
  });
}

void Holder::TakeUnwant(const PeerPtr& peer, const wire::Unwant& unwant) {
  Customer& customer = CustomerOf(peer);
  for (const auto& content : unwant.contents()) {
    if (const auto id = FromWire(content)) {
      customer.wants.erase(*id);
      std::erase(customer.gets, *id);
    }
  }
}

std::vector<PeerPtr> Holder::Wanting(const index::ContentId& id) const {
  std::vector<PeerPtr> peers;
  for (const auto& [peer, customer] : customers_) {
    if (customer.wants.contains(id)) peers.push_back(peer);
  }
  return peers;
}

void Holder::TellWanting(const index::ContentId& id, bool partial) {
  for (auto& [peer, customer] : customers_) {
    if (!customer.wants.contains(id)) continue;
    if (!partial) customer.wants.erase(id);
    wire::Have have;
    ToWire(id, partial ? have.add_partial() : have.add_whole());
    peer->link->Send(Kind::kHave, have);
  }
}

void Holder::Available(const index::ContentId& id) {
  withdrawn_.erase(id);
  TellWanting(id, /*partial=*/false);
}

void Holder::PartlyAvailable(const index::ContentId& id) { TellWanting(id, /*partial=*/true); }

void Holder::PeerDown(const PeerPtr& peer) {
  const auto customer = customers_.find(peer);
  if (customer != customers_.end()) {
    *customer->second.gone = true;
    customers_.erase(customer);
  }
  for (auto& [id, seed] : seeds_) {
    std::erase_if(seed.waiting, [&peer](const Waiting& waiting) { return waiting.peer == peer; });
  }
}

// --- small objects

void Holder::TakeGet(const PeerPtr& peer, const wire::Get& get) {
  const auto id = FromWire(get.content());
  Customer& customer = CustomerOf(peer);
  if (!id || id->size > kSmallMax || customer.gets.size() >= kGetsMax) {
    return exchange_.members.Nonsense(peer->link, "a malformed get");
  }
  // Asked again because the answer takes long: that is the answer to both.
  if (std::ranges::find(customer.gets, *id) == customer.gets.end()) customer.gets.push_back(*id);
  Pump(peer);
}

void Holder::TakeProgress(const PeerPtr& peer, std::uint64_t object_bytes) {
  Customer& customer = CustomerOf(peer);
  if (object_bytes == 0) return;  // about deltas
  if (object_bytes > customer.sent_bytes || object_bytes < customer.dealt_bytes) {
    return exchange_.members.Nonsense(peer->link, "progress beyond what was sent");
  }
  customer.dealt_bytes = object_bytes;
  Pump(peer);
}

void Holder::Pump(const PeerPtr& peer) {
  Customer& customer = CustomerOf(peer);
  while (customer.offset < customer.bytes.size()) {
    const std::size_t size = std::min(kChunkMax, customer.bytes.size() - customer.offset);
    if (customer.sent_bytes - customer.dealt_bytes + size > kWindow) return;
    wire::Chunk chunk;
    ToWire(customer.current, chunk.mutable_content());
    chunk.set_offset(customer.offset);
    chunk.set_bytes(customer.bytes.data() + customer.offset, size);
    customer.offset += size;
    customer.sent_bytes += size;
    peer->link->Send(Kind::kChunk, chunk);
  }
  if (!customer.reading && !customer.gets.empty()) ReadNext(peer, customer);
}

void Holder::ReadNext(const PeerPtr& peer, Customer& customer) {
  const index::ContentId id = customer.gets.front();
  customer.gets.pop_front();
  customer.bytes.clear();
  customer.offset = 0;
  customer.reading = true;
  const bool withdrawn = Withdrawn(id);
  exchange_.disk.Post([this, peer, id, withdrawn] {
    auto bytes =
        withdrawn ? Result<std::string>(Error::kUnavailable) : ReadObject(exchange_.objects, id);
    exchange_.loop.Post([this, peer, id, bytes = std::move(bytes)]() mutable {
      const auto found = customers_.find(peer);
      if (found == customers_.end()) return;
      Customer& reader = found->second;
      reader.reading = false;
      if (bytes) {
        reader.current = id;
        reader.bytes = std::move(bytes).value();
      } else {
        SendGone(peer, id, {});
      }
      Pump(peer);
    });
  });
}

}  // namespace btfc::torrent
