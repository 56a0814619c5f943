#include "torrent/holder.h"

#include <fcntl.h>
#include <spdlog/spdlog.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "torrent/content_info.h"

namespace btfc::torrent {
namespace {

using std::chrono::seconds;

constexpr std::uint64_t kWindow = 512 * 1024;  // bytes of objects on their way to one peer
constexpr std::size_t kWantsMax = 65536;       // remembered for one peer
constexpr std::size_t kGetsMax = 4096;         // waiting for one peer
constexpr std::size_t kSeedsMax = 48;          // unless more are in use
constexpr std::size_t kSeedsHardMax = 256;
constexpr seconds kIdle{15};
constexpr seconds kWithdrawnFor{60};  // by then ObjectPort::Find knows it too

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

bool HasLength(const std::filesystem::path& file, std::uint64_t size) {
  struct stat status {};
  return ::stat(file.c_str(), &status) == 0 && S_ISREG(status.st_mode) &&
         static_cast<std::uint64_t>(status.st_size) == size;
}

void SendGone(const PeerPtr& peer, const index::ContentId& id) {
  wire::Gone gone;
  ToWire(id, gone.mutable_content());
  peer->link->Send(Kind::kGone, gone);
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
  exchange_.disk.Post([this, peer, ids = std::move(ids)] {
    std::vector<bool> found;
    found.reserve(ids.size());
    for (const auto& id : ids) found.push_back(exchange_.objects.Find(id).has_value());
    exchange_.loop.Post([this, peer, ids, found = std::move(found)] {
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
  customers_.erase(peer);
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
        SendGone(peer, id);
      }
      Pump(peer);
    });
  });
}

// --- large objects

void Holder::TakeLoad(const PeerPtr& peer, const wire::Load& load) {
  const auto id = FromWire(load.content());
  if (!id) return exchange_.members.Nonsense(peer->link, "a malformed load");
  const Waiting waiting{peer, load.layer()};
  if (const auto* const layer = sharing_.SharedLayer(*id)) {
    return SendLoaded(waiting, *id, *layer, /*partial=*/true);
  }
  if (Withdrawn(*id)) return SendGone(peer, *id);
  const auto found = seeds_.find(*id);
  if (found == seeds_.end()) {
    if (exchange_.torrents.loaded(*id) || seeds_.size() >= kSeedsHardMax) {
      return SendGone(peer, *id);  // it is on its way here
    }
    return BeginSeed(*id, waiting);
  }
  Seed& seed = found->second;
  seed.used = Loop::Clock::now();
  if (seed.ready && !seed.closing) return SendLoaded(waiting, *id, seed.layer, /*partial=*/false);
  seed.waiting.push_back(waiting);
}

void Holder::BeginSeed(const index::ContentId& id, const Waiting& waiting) {
  MakeRoom();
  Seed& seed = seeds_[id];
  seed.waiting.push_back(waiting);
  seed.used = Loop::Clock::now();
  seed.cancelled = std::make_shared<std::atomic<bool>>(false);
  exchange_.disk.Post([this, id, cancelled = seed.cancelled] {
    const auto file = exchange_.objects.Find(id);
    if (!file || !HasLength(*file, id.size)) {
      exchange_.loop.Post(
          [this, id, cancelled] { LoadSeed(id, cancelled, {}, Error::kUnavailable); });
      return;
    }
    if (auto kept = exchange_.layers.Find(id)) {
      exchange_.loop.Post([this, id, cancelled, file = *file, layer = std::move(*kept)]() mutable {
        LoadSeed(id, cancelled, file, std::move(layer));
      });
      return;
    }
    exchange_.hashing.Post([this, id, file = *file, cancelled] {
      auto layer = exchange_.layers.Of(
          id, file, [this, &cancelled] { return *cancelled || exchange_.stopping; });
      exchange_.loop.Post([this, id, cancelled, file, layer = std::move(layer)]() mutable {
        LoadSeed(id, cancelled, file, std::move(layer));
      });
    });
  });
}

void Holder::LoadSeed(const index::ContentId& id, const Cancelled& cancelled,
                      const std::filesystem::path& file, Result<std::vector<index::Hash>> layer) {
  const auto found = seeds_.find(id);
  if (found == seeds_.end() || found->second.cancelled != cancelled) return;
  if (!layer || Withdrawn(id) || exchange_.torrents.loaded(id)) {
    if (!layer && layer.error() == Error::kCorrupt) {
      spdlog::error("{} is not what its name says: it is not given to others", file.string());
    }
    return GiveUpSeed(id);
  }
  found->second.layer = std::move(layer).value();
  ContentLoad load;
  load.id = id;
  load.layer = found->second.layer;
  load.file = file;
  load.seed = true;
  exchange_.torrents.Load(load);
}

bool Holder::TorrentReady(const index::ContentId& id) {
  const auto found = seeds_.find(id);
  if (found == seeds_.end()) return false;
  Seed& seed = found->second;
  seed.ready = true;
  seed.used = Loop::Clock::now();
  for (const Waiting& waiting : std::exchange(seed.waiting, {})) {
    SendLoaded(waiting, id, seed.layer, /*partial=*/false);
  }
  return true;
}

bool Holder::TorrentFailed(const index::ContentId& id, std::error_code error) {
  if (!seeds_.contains(id)) return false;
  spdlog::warn("cannot give object {}: {}", index::ToHex(id), error.message());
  CloseSeed(id, [] {});
  return true;
}

void Holder::SendLoaded(const Waiting& to, const index::ContentId& id,
                        const std::vector<index::Hash>& layer, bool partial) {
  const std::string_view bytes(reinterpret_cast<const char*>(layer.data()),
                               to.layer ? layer.size() * sizeof(index::Hash) : 0);
  std::size_t offset = 0;
  do {
    const auto part = bytes.substr(offset, kLayerMessageMax);
    wire::Loaded loaded;
    ToWire(id, loaded.mutable_content());
    loaded.set_partial(partial);
    loaded.set_layer(part.data(), part.size());
    loaded.set_layer_offset(offset);
    to.peer->link->Send(Kind::kLoaded, loaded);
    offset += part.size();
  } while (offset < bytes.size());
}

void Holder::GiveUpSeed(const index::ContentId& id) {
  const auto found = seeds_.find(id);
  if (found == seeds_.end()) return;
  const auto waiting = std::move(found->second.waiting);
  seeds_.erase(found);
  for (const Waiting& one : waiting) SendGone(one.peer, id);
}

void Holder::CloseSeed(const index::ContentId& id, std::function<void()> closed) {
  const auto found = seeds_.find(id);
  if (found == seeds_.end()) return closed();
  Seed& seed = found->second;
  *seed.cancelled = true;
  seed.closing = true;
  exchange_.torrents.Unload(id, [this, id, closed = std::move(closed)] {
    const auto gone = seeds_.find(id);
    if (gone != seeds_.end()) {
      // Who asked while it closed is served by loading it again, or told that it is gone.
      const auto waiting = std::move(gone->second.waiting);
      seeds_.erase(gone);
      for (const Waiting& one : waiting) {
        wire::Load load;
        ToWire(id, load.mutable_content());
        load.set_layer(one.layer);
        TakeLoad(one.peer, load);
      }
    }
    closed();
  });
}

void Holder::Withdraw(const index::ContentId& id, std::function<void()> done) {
  withdrawn_[id] = Loop::Clock::now() + kWithdrawnFor;
  const auto found = seeds_.find(id);
  const bool hashed = found != seeds_.end() && found->second.layer.empty();
  CloseSeed(id, [this, hashed, done = std::move(done)] {
    // What is being read at this moment is through when these are.
    const auto read = [this, done] { exchange_.disk.Post(done); };
    if (hashed) {
      exchange_.hashing.Post(read);
    } else {
      read();
    }
  });
}

void Holder::MakeRoom() {
  while (seeds_.size() >= kSeedsMax) {
    auto oldest = seeds_.end();
    for (auto seed = seeds_.begin(); seed != seeds_.end(); ++seed) {
      const bool idle = seed->second.ready && !seed->second.closing &&
                        exchange_.torrents.traffic(seed->first).connections == 0;
      if (idle && (oldest == seeds_.end() || seed->second.used < oldest->second.used)) {
        oldest = seed;
      }
    }
    if (oldest == seeds_.end()) return;
    const std::size_t before = seeds_.size();
    CloseSeed(index::ContentId(oldest->first), [] {});
    if (seeds_.size() == before) return;  // it is closing
  }
}

void Holder::Tick() {
  const auto now = Loop::Clock::now();
  std::vector<index::ContentId> idle;
  for (auto& [id, seed] : seeds_) {
    if (!seed.ready || seed.closing) continue;
    const ContentTraffic traffic = exchange_.torrents.traffic(id);
    if (traffic.sent_bytes != seed.sent_bytes) {
      seed.sent_bytes = traffic.sent_bytes;
      seed.used = now;
    }
    if (now - seed.used > kIdle) idle.push_back(id);
  }
  for (const auto& id : idle) CloseSeed(id, [] {});
  std::erase_if(withdrawn_, [now](const auto& entry) { return entry.second < now; });
}

}  // namespace btfc::torrent
