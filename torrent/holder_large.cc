// Holder: large objects, whose torrents are loaded for who asks.
#include <spdlog/spdlog.h>
#include <sys/stat.h>

#include <algorithm>
#include <utility>

#include "torrent/holder.h"

namespace btfc::torrent {
namespace {

using std::chrono::seconds;

constexpr std::size_t kSeedsMax = 48;  // unless more are in use
constexpr std::size_t kSeedsHardMax = 256;
constexpr std::size_t kHashReadsMax = 64;  // for one peer at a time
constexpr seconds kIdle{15};
constexpr seconds kWithdrawnFor{60};  // by then ObjectPort::Find knows it too

bool HasLength(const std::filesystem::path& file, std::uint64_t size) {
  struct stat status {};
  return ::stat(file.c_str(), &status) == 0 && S_ISREG(status.st_mode) &&
         static_cast<std::uint64_t>(status.st_size) == size;
}

// As many messages as the hashes take, but one at least.
template <class Message>
void SendHashes(const PeerPtr& peer, Kind kind, Message message,
                const std::vector<index::Hash>& layer) {
  const std::string_view bytes(reinterpret_cast<const char*>(layer.data()),
                               layer.size() * sizeof(index::Hash));
  std::size_t offset = 0;
  do {
    const auto part = bytes.substr(offset, kLayerMessageMax);
    message.set_layer(part.data(), part.size());
    message.set_layer_offset(offset);
    peer->link->Send(kind, message);
    offset += part.size();
  } while (offset < bytes.size());
}

}  // namespace

void Holder::TakeLoad(const PeerPtr& peer, const wire::Load& load) {
  const auto id = FromWire(load.content());
  if (!id) return exchange_.members.Nonsense(peer->link, "a malformed load");
  const Waiting waiting{peer, load.layer()};
  if (const auto* const layer = sharing_.SharedLayer(*id)) {
    return SendLoaded(waiting, *id, *layer, /*partial=*/true);
  }
  if (Withdrawn(*id)) return AnswerGone(waiting, *id);
  const auto found = seeds_.find(*id);
  if (found == seeds_.end()) {
    if (exchange_.torrents.loaded(*id) || seeds_.size() >= kSeedsHardMax) {
      return AnswerGone(waiting, *id);  // it is on its way here
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
  wire::Loaded loaded;
  ToWire(id, loaded.mutable_content());
  loaded.set_partial(partial);
  SendHashes(to.peer, Kind::kLoaded, std::move(loaded),
             to.layer ? layer : std::vector<index::Hash>());
}

void Holder::SendGone(const PeerPtr& peer, const index::ContentId& id,
                      const std::vector<index::Hash>& layer) {
  wire::Gone gone;
  ToWire(id, gone.mutable_content());
  SendHashes(peer, Kind::kGone, std::move(gone), layer);
}

// Who reads the object takes what it has in common with other versions, if it knows its hashes.
void Holder::AnswerGone(const Waiting& to, const index::ContentId& id) {
  Customer& customer = CustomerOf(to.peer);
  if (!to.layer || IsSmall(id) || customer.hash_reads >= kHashReadsMax) {
    return SendGone(to.peer, id, {});
  }
  ++customer.hash_reads;
  exchange_.disk.Post([this, peer = to.peer, id] {
    auto kept = exchange_.layers.Find(id);
    exchange_.loop.Post([this, peer, id, kept = std::move(kept)] {
      const auto found = customers_.find(peer);
      if (found == customers_.end()) return;
      --found->second.hash_reads;
      SendGone(peer, id, kept ? *kept : std::vector<index::Hash>());
    });
  });
}

void Holder::GiveUpSeed(const index::ContentId& id) {
  const auto found = seeds_.find(id);
  if (found == seeds_.end()) return;
  const auto waiting = std::move(found->second.waiting);
  seeds_.erase(found);
  for (const Waiting& one : waiting) AnswerGone(one, id);
}

void Holder::CloseSeed(const index::ContentId& id, std::function<void()> closed) {
  const auto found = seeds_.find(id);
  if (found == seeds_.end()) return closed();
  Seed& seed = found->second;
  *seed.cancelled = true;
  seed.closing = true;
  exchange_.torrents.Unload(id, [this, id, closed = std::move(closed)](std::error_code) {
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
