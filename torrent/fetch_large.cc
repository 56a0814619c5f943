// Fetcher: objects that come by a torrent of their own.
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "torrent/content_info.h"
#include "torrent/fetcher.h"

namespace btfc::torrent {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kFirstByteMax{300};  // then asked for again
constexpr milliseconds kStallMax{3000};     // once bytes have come
constexpr milliseconds kPatienceMax{10'000};
constexpr milliseconds kLaterMax{1000};  // for a read of what a base has
constexpr milliseconds kOthersMax{150};  // for others that fetch the same to be ready
constexpr std::uint64_t kWorthWaiting = 4 * 1024 * 1024;   // bytes of an object
constexpr milliseconds kIdleMax{30'000};                   // loaded though nobody reads any more
constexpr std::uint64_t kUnwrittenMax = 32 * 1024 * 1024;  // bytes; libtorrent keeps half of them
constexpr milliseconds kSparedMax{3000};                   // the same, on a full disk

}  // namespace

void Fetcher::BeginLarge(Item& item) {
  SetStage(item, Stage::kLayer);
  item.patience = kFirstByteMax;
  item.moved = Clock::now();
  item.received_bytes = 0;
  item.cancelled = std::make_shared<std::atomic<bool>>(false);
  bool first = !item.layer;
  for (auto& [peer, source] : item.sources) {
    source.loaded = false;
    SendLoad(item, peer, std::exchange(first, false));
  }
  if (item.layer) Prepare(item);
}

void Fetcher::SendLoad(Item& item, const PeerPtr& peer, bool layer) {
  wire::Load load;
  ToWire(item.id, load.mutable_content());
  load.set_layer(layer);
  const auto source = item.sources.find(peer);
  if (layer && source != item.sources.end()) source->second.layer.clear();
  peer->link->Send(Kind::kLoad, load);
}

// Now it is known how much room it takes.
void Fetcher::LayerCame(Item& item) {
  if (!item.reads.empty() || exchange_.objects.HasRoom(Planned())) return Prepare(item);
  SetStage(item, Stage::kReady);
  NoteRoom(Takes(item));
}

void Fetcher::TakeLoaded(const PeerPtr& peer, const wire::Loaded& loaded) {
  const auto id = FromWire(loaded.content());
  if (!id) return exchange_.members.Nonsense(peer->link, "a malformed answer to a load");
  Item* const item = Find(*id);
  const auto found = item != nullptr ? item->sources.find(peer) : decltype(item->sources.end()){};
  if (item == nullptr || found == item->sources.end()) return;
  Source& source = found->second;
  source.partial = loaded.partial();
  if (!item->layer && !loaded.layer().empty() &&
      !TakeLayer(*item, peer, source.layer, loaded.layer(), loaded.layer_offset())) {
    return;
  }
  source.loaded = true;
  if (item->stage == Stage::kLayer) {
    if (item->layer) LayerCame(*item);
  } else if (item->stage == Stage::kLoading || item->stage == Stage::kRunning) {
    ConnectTo(*item, peer);
    if (item->stage == Stage::kLoading) Run(*id);
  }
}

bool Fetcher::TorrentReady(const index::ContentId& id) {
  Item* const item = Find(id);
  if (item == nullptr || item->stage != Stage::kLoading) return false;
  for (const auto& [peer, source] : item->sources) {
    if (source.loaded) ConnectTo(*item, peer);
  }
  item->moved = Clock::now();
  exchange_.loop.PostAfter(kOthersMax, [this, id] {
    Item* const waiting = Find(id);
    if (waiting != nullptr && waiting->stage == Stage::kLoading) {
      waiting->moved = {};  // waited long enough
      Run(id);
    }
  });
  Run(id);
  return true;
}

// Two that fetch the same are connected by the lower device.
void Fetcher::ConnectTo(Item& item, const PeerPtr& peer) {
  const Source& source = item.sources[peer];
  if (source.partial && peer->device < options_.self) return;
  exchange_.torrents.Connect(item.id, peer->link->ip, peer->port);
}

// Connections that are known when a torrent starts are made at once, later ones within a second.
// So it is worth a moment until those that we shall connect to are ready as well.
bool Fetcher::WaitsForOthers(const Item& item) const {
  if (item.moved == Clock::time_point() || item.id.size < kWorthWaiting) return false;
  if (!item.later.empty()) {  // in a hurry
    return std::ranges::none_of(item.sources, [](const auto& one) { return one.second.loaded; });
  }
  for (const auto& [peer, source] : item.sources) {
    if (!source.loaded && (!source.partial || options_.self < peer->device)) return true;
  }
  for (const PeerPtr& peer : options_.wanting(item.id)) {
    if (peer->device < options_.self) continue;
    const auto source = item.sources.find(peer);
    if (source == item.sources.end() || !source->second.loaded) return true;
  }
  return false;
}

void Fetcher::Run(const index::ContentId& id) {
  Item* const item = Find(id);
  if (item == nullptr || item->stage != Stage::kLoading || !exchange_.torrents.ready(id) ||
      WaitsForOthers(*item)) {
    return;
  }
  SetStage(*item, Stage::kRunning);
  item->moved = Clock::now();
  item->received_bytes = 0;
  UrgeReads(*item);
  exchange_.torrents.Resume(id);
  options_.sharing(id);
  if (std::exchange(item->prepare_again, false)) PrepareAgain(*item);
}

const std::vector<index::Hash>* Fetcher::SharedLayer(const index::ContentId& id) const {
  const auto found = items_.find(id);
  if (found == items_.end() || found->second->stage != Stage::kRunning) return nullptr;
  return found->second->layer.get();
}

bool Fetcher::TorrentHas(const index::ContentId& id, std::uint64_t piece) {
  Item* const item = Find(id);
  if (item == nullptr || item->have.size() <= piece || item->have[piece]) return item != nullptr;
  item->have[piece] = true;
  item->fetched.insert(piece);
  const std::uint64_t length = index::PieceLength(id.size);
  item->passed.push_back(piece);
  if (item->passed.size() > kUnwrittenMax / length + 1) item->passed.pop_front();
  item->progress->done_bytes += std::min(length, id.size - piece * length);
  if (!item->reads.empty()) CheckPieces(*item);
  const bool all = item->progress->done_bytes >= id.size &&
                   std::find(item->have.begin(), item->have.end(), false) == item->have.end();
  if (item->stage != Stage::kRunning) return true;
  if (all) {
    CloseLarge(*item);
  } else if (OnlyLater(*item)) {
    FillUp(*item);
  }
  return true;
}

// What no base has is here.
bool Fetcher::OnlyLater(const Item& item) {
  for (std::size_t i = 0; i < item.later.size(); ++i) {
    if (!item.later[i] && !item.have[i]) return false;
  }
  return !item.later.empty();
}

// Somebody has waited since then for nothing but what bases have.
bool Fetcher::ReadsLater(const Item& item, Clock::time_point before) {
  if (item.later.empty()) return false;
  return std::ranges::any_of(item.reads, [&](const auto& one) {
    const PendingRead& read = one.second;
    bool any = false;
    for (auto piece = read.first; piece <= read.last; ++piece) {
      if (!item.have[piece] && !item.later[piece]) return false;
      any = any || item.later[piece];
    }
    return any && read.since < before;
  });
}

bool Fetcher::TorrentFailed(const index::ContentId& id, std::error_code error) {
  Item* const item = Find(id);
  if (item == nullptr || item->stage < Stage::kLoading) return false;
  if (item->stage >= Stage::kClosing) return true;  // its end is on the way
  SetStage(*item, Stage::kClosing);
  exchange_.torrents.Unload(id, [this, id, error](std::error_code) {
    if (Item* const failed = Find(id)) Retry(*failed, error);
  });
  return true;
}

// Unloads its torrent and goes on then; not if the disk did not take something: what there is in
// the file is found out the next time.
void Fetcher::Unload(const Item& item, std::function<void(Item&)> next) {
  exchange_.torrents.Unload(item.id,
                            [this, id = item.id, next = std::move(next)](std::error_code error) {
                              Item* const unloaded = Find(id);
                              if (unloaded == nullptr) return;
                              if (error) return Retry(*unloaded, error);
                              next(*unloaded);
                            });
}

void Fetcher::CloseLarge(Item& item) {
  SetStage(item, Stage::kClosing);
  Unload(item, [this](Item& closed) { Store(closed); });
}

// Nobody needs it any more: keeps what is there for the next time.
void Fetcher::LeaveLarge(Item& item) {
  *item.cancelled = true;
  if (item.stage == Stage::kPreparing) return;  // Prepared comes back to it
  const bool running = item.stage == Stage::kRunning;
  SetStage(item, Stage::kClosing);
  Unload(item, [this, running](Item& left) {
    if (running) KeepNote(left);
    if (Needed(left)) return Enqueue(left);  // wanted again meanwhile
    ParkAndForget(left);
  });
}

// Nobody has it any more, or not at present: a holder that was killed, a content that was
// superseded while it came. What is there is kept for the next time.
void Fetcher::SuspendLarge(Item& item) {
  spdlog::debug("object {} has no holder now", index::ToHex(item.id));
  *item.cancelled = true;
  SetStage(item, Stage::kClosing);
  Unload(item, [this](Item& left) {
    KeepNote(left);
    if (!Needed(left)) return ParkAndForget(left);
    Park(left, kNoHolderRetry);
  });
}

void Fetcher::TickLarge(Item& item) {
  const auto now = Clock::now();
  if (item.stage == Stage::kLayer && now - item.since > item.patience) {
    item.since = now;
    item.patience = std::min(item.patience * 3, kPatienceMax);
    for (const auto& [peer, source] : item.sources) SendLoad(item, peer, true);
    return;
  }
  if (item.stage != Stage::kRunning) return;
  if (!Needed(item)) {
    if (now - item.since > kIdleMax) MaybeForget(item.id);
    return;
  }
  // What is new may take long on a slow link.
  if (ReadsLater(item, now - kLaterMax)) return FillUp(item);
  const ContentTraffic traffic = exchange_.torrents.traffic(item.id);
  const bool idle = item.only_asked && item.reads.empty();
  // The rest comes when there is room, as all else that is wanted does.
  if (idle && item.wanted && now - item.since > kSparedMax) return LeaveLarge(item);
  if (traffic.received_bytes != item.received_bytes || idle) {
    item.received_bytes = traffic.received_bytes;
    item.moved = now;
    item.patience = kStallMax;
    return;
  }
  if (now - item.moved < item.patience) return;
  item.moved = now;
  item.patience = std::min(item.patience * 3, kPatienceMax);
  Restart(item);
}

// Nothing comes. A torrent that is loaded anew connects at once.
void Fetcher::Restart(Item& item) {
  spdlog::debug("object {} stalls; connecting anew", index::ToHex(item.id));
  if (item.sources.empty()) {
    // Whoever waits for its bytes keeps its place; else those have it that can be delivered.
    if (item.reads.empty()) return SuspendLarge(item);
    Ask({item.id}, exchange_.members.Peers());
    return PrepareAgain(item);  // something that shares pieces may have come meanwhile
  }
  if (!item.later.empty()) return FillUp(item);
  for (auto& [peer, source] : item.sources) {
    source.loaded = false;
    SendLoad(item, peer, false);
  }
  // Those that fetch it as well may be the only sources left, each with the pieces that all have.
  // Who had the rest, and took it back for a while, tells nobody but who asks again.
  auto others = exchange_.members.Peers();
  std::erase_if(others, [&](const PeerPtr& peer) { return item.sources.contains(peer); });
  Ask({item.id}, others);
  if (item.sparing) return FillUp(item);  // of the bases only what was read then was copied
  SetStage(item, Stage::kPreparing);
  Unload(item, [this](Item& again) { Prepared(again.id, PartialPieces{again.have, {}}); });
}

}  // namespace btfc::torrent
