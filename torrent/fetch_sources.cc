// Fetcher: who has an object, in whole or in part, or knows the hashes of its pieces.
#include <cstring>
#include <utility>

#include "torrent/content_info.h"
#include "torrent/fetcher.h"

namespace btfc::torrent {
namespace {

constexpr int kAskBatch = 512;  // in one message

}  // namespace

void Fetcher::Ask(const std::vector<index::ContentId>& ids, const std::vector<PeerPtr>& peers) {
  wire::Want want;
  const auto send = [&] {
    if (want.contents_size() == 0) return;
    for (const PeerPtr& peer : peers) peer->link->Send(Kind::kWant, want);
    want.clear_contents();
  };
  for (const auto& id : ids) {
    Item* const item = Find(id);
    if (item == nullptr) continue;
    item->asked.insert(peers.begin(), peers.end());
    ToWire(id, want.add_contents());
    if (want.contents_size() == kAskBatch) send();
  }
  send();
}

void Fetcher::PeerUp(const PeerPtr& peer) {
  std::vector<index::ContentId> ids;
  for (const auto& [id, item] : items_) {
    if (item->stage != Stage::kQueued && item->stage < Stage::kClosing) ids.push_back(id);
  }
  Ask(ids, {peer});
}

void Fetcher::PeerDown(const PeerPtr& peer) {
  receipts_.erase(peer);
  std::vector<Item*> touched;
  for (auto& [id, item] : items_) {
    if (item->asked.contains(peer) || item->sources.contains(peer) || item->hashes.contains(peer)) {
      touched.push_back(item.get());
    }
  }
  for (Item* const item : touched) {
    item->asked.erase(peer);
    DropSource(*item, peer);
    DropHashes(*item, peer);
    MaybePark(*item);
  }
}

void Fetcher::TakeHave(const PeerPtr& peer, const wire::Have& have) {
  const auto add = [&](const wire::Content& content, bool partial) {
    const auto id = FromWire(content);
    Item* const item = id ? Find(*id) : nullptr;
    if (item == nullptr || (partial && IsSmall(*id))) return id.has_value();
    item->asked.erase(peer);
    Source& source = item->sources[peer];
    source.partial = partial;
    source.loaded = false;  // what was loaded for the part of it is gone
    item->progress->sources = static_cast<int>(item->sources.size());
    if (item->stage == Stage::kAsking || item->stage == Stage::kParked) {
      SetStage(*item, Stage::kReady);
      SchedulePump();
    } else if (item->stage > Stage::kSmall && item->stage < Stage::kClosing) {
      SendLoad(*item, peer, !item->layer && item->sources.size() == 1);
    }
    return true;
  };
  bool valid = have.whole_size() + have.partial_size() + have.lack_size() <= 2 * kContentsMax &&
               have.hashes_size() <= have.lack_size();
  for (const auto& content : have.whole()) valid = valid && add(content, false);
  for (const auto& content : have.partial()) valid = valid && add(content, true);
  for (const auto& content : have.hashes()) {
    const auto id = FromWire(content);
    valid = valid && id.has_value() && !IsSmall(*id);
    Item* const item = valid ? Find(*id) : nullptr;
    if (item != nullptr && !item->layer) item->hashes.try_emplace(peer);
  }
  for (const auto& content : have.lack()) {
    const auto id = FromWire(content);
    valid = valid && id.has_value();
    if (Item* const item = id ? Find(*id) : nullptr) {
      item->asked.erase(peer);
      MaybePark(*item);
    }
  }
  if (!valid) exchange_.members.Nonsense(peer->link, "a malformed have");
}

void Fetcher::TakeGone(const PeerPtr& peer, const wire::Gone& gone) {
  const auto id = FromWire(gone.content());
  if (!id || (IsSmall(*id) && !gone.layer().empty())) {
    return exchange_.members.Nonsense(peer->link, "a malformed gone");
  }
  Item* const item = Find(*id);
  if (item == nullptr) return;
  const bool asked = item->sources.contains(peer) || item->hashes.contains(peer);
  const bool came = !gone.layer().empty() && asked && !item->layer &&
                    TakeLayer(*item, peer, item->hashes[peer], gone.layer(), gone.layer_offset()) &&
                    item->layer;
  DropSource(*item, peer);
  if (came) return UseLayer(*item);
  if (gone.layer().empty()) DropHashes(*item, peer);
}

void Fetcher::DropSource(Item& item, const PeerPtr& peer) {
  const auto found = item.sources.find(peer);
  if (found == item.sources.end()) return;
  item.sources.erase(found);
  item.progress->sources = static_cast<int>(item.sources.size());
  switch (item.stage) {
    case Stage::kReady:
      if (item.sources.empty()) Park(item, kRetryFirst);
      break;
    case Stage::kSmall:
      if (item.from == peer) BeginSmall(item);
      break;
    case Stage::kLayer:
      if (item.layer) break;  // they have just come
      // Whoever is left is asked for the hashes, too.
      if (item.sources.empty()) {
        Park(item, kRetryFirst);
      } else {
        SendLoad(item, PeerPtr(item.sources.begin()->first), true);
      }
      break;
    default:
      break;
  }
}

// Who has let the object go may have kept the hashes of its pieces. One peer after the other is
// asked, who did not answer last of all.
void Fetcher::AskHashes(Item& item) {
  if (item.hashes.empty()) return;
  auto next = item.hashes.upper_bound(item.hashes_from);
  if (next == item.hashes.end()) next = item.hashes.begin();
  item.hashes_from = next->first;
  next->second.clear();
  SendLoad(item, item.hashes_from, /*layer=*/true);
}

void Fetcher::DropHashes(Item& item, const PeerPtr& peer) {
  if (item.hashes.erase(peer) == 0 || item.hashes_from != peer) return;
  if (item.stage == Stage::kParked && !item.reads.empty()) AskHashes(item);
}

// False if the peer sent hashes of something else, or of another answer. `so_far`: of this one.
bool Fetcher::TakeLayer(Item& item, const PeerPtr& peer, std::string& so_far,
                        const std::string& part, std::uint64_t offset) {
  const std::size_t size = PieceCount(item.id.size) * sizeof(index::Hash);
  if (offset > size || part.size() > size - offset) {
    so_far.clear();
    exchange_.members.Nonsense(peer->link, "more hashes than the object has");
    return false;
  }
  // The rest of an answer that was given up; the one that is waited for comes behind it.
  if (offset != so_far.size()) return false;
  so_far += part;
  if (so_far.size() < size) return true;
  std::vector<index::Hash> layer(PieceCount(item.id.size));
  std::memcpy(layer.data(), so_far.data(), size);
  so_far.clear();
  if (!IsLayerOf(item.id, layer)) {
    exchange_.members.Nonsense(peer->link, "hashes of another object");
    return false;
  }
  SetLayer(item, std::make_shared<const std::vector<index::Hash>>(std::move(layer)));
  exchange_.disk.Post(
      [this, id = item.id, kept = item.layer] { exchange_.layers.Keep(id, *kept); });
  return true;
}

void Fetcher::SetLayer(Item& item, Layer layer) {
  item.layer = std::move(layer);
  item.data_bytes = DataBytes(item.id, *item.layer);
}

// The hashes came from a peer that has nothing else of it.
void Fetcher::UseLayer(Item& item) {
  item.hashes.clear();
  if (item.stage == Stage::kLayer) {
    if (item.sources.empty() && item.reads.empty()) return Park(item, kRetryFirst);
    return LayerCame(item);
  }
  // What is read may be here already, in part, or come with another version.
  if (item.stage == Stage::kParked && !item.reads.empty()) BeginLarge(item);
}

}  // namespace btfc::torrent
