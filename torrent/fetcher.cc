#include "torrent/fetcher.h"

#include <spdlog/spdlog.h>
#include <sys/stat.h>

#include <algorithm>
#include <utility>

#include "torrent/content_info.h"

namespace btfc::torrent {
namespace {

using std::chrono::milliseconds;

constexpr std::size_t kAskingMax = 512;
constexpr std::size_t kSmallActiveMax = 32;
constexpr std::size_t kLargeActiveMax = 4;
constexpr milliseconds kAnswerMax{5000};
constexpr milliseconds kParkedMax{60'000};  // then asked for again, in case a word got lost
constexpr int kRetryDoublingsMax = 6;
constexpr milliseconds kSlowTick{1000};

// Only what came over the wire is looked at: a new version of a large file costs what changed.
void PunchFetched(const std::filesystem::path& file, const index::ContentId& id,
                  const std::set<std::uint64_t>& fetched) {
  if (IsSmall(id)) return PunchZeros(file, 0, id.size);
  const std::uint64_t length = index::PieceLength(id.size);
  for (const std::uint64_t piece : fetched) {
    PunchZeros(file, piece * length, std::min((piece + 1) * length, id.size));
  }
}

}  // namespace

Fetcher::Fetcher(FetcherOptions options, Exchange& exchange)
    : options_(std::move(options)), exchange_(exchange) {}

Fetcher::Item* Fetcher::Find(const index::ContentId& id) {
  const auto found = items_.find(id);
  return found != items_.end() ? found->second.get() : nullptr;
}

Fetcher::Item& Fetcher::Make(const index::ContentId& id) {
  auto& slot = items_[id];
  if (!slot) {
    slot = std::make_unique<Item>();
    slot->id = id;
    slot->progress = std::make_shared<Progress>();
    slot->progress->id = id;
    slot->since = Clock::now();
    const std::lock_guard lock(mutex_);
    progress_[id] = slot->progress;
  }
  return *slot;
}

std::size_t Fetcher::Active(bool small) const {
  return small ? active_small_.size() : active_large_.size();
}

void Fetcher::SetStage(Item& item, Stage stage) {
  const bool small = IsSmall(item.id);
  auto& ready = small ? ready_small_ : ready_large_;
  auto& active = small ? active_small_ : active_large_;
  if (item.stage == Stage::kAsking) --asking_;
  ready.erase(item.id);
  active.erase(item.id);
  item.stage = stage;
  item.since = Clock::now();
  if (stage == Stage::kAsking) ++asking_;
  if (stage == Stage::kReady) ready.insert(item.id);
  if (stage > Stage::kReady) active.insert(item.id);
  item.progress->active = stage > Stage::kReady;
}

void Fetcher::Enqueue(Item& item) {
  SetStage(item, Stage::kQueued);
  item.asked.clear();
  if (!item.reads.empty()) {
    urgent_queue_.push_back(item.id);
  } else {
    (IsSmall(item.id) ? small_queue_ : large_queue_).push_back(item.id);
  }
  SchedulePump();
}

void Fetcher::Want(const index::ContentId& id) {
  if (id.size == 0) return;
  const bool fresh = !items_.contains(id);
  Item& item = Make(id);
  if (std::exchange(item.wanted, true)) return;
  if (fresh) Enqueue(item);
  if (item.sparing) return;
  if (std::exchange(item.only_asked, false)) exchange_.torrents.WantAll(id);
}

void Fetcher::Unwant(const index::ContentId& id) {
  Item* const item = Find(id);
  if (item == nullptr) return;
  item->wanted = false;
  MaybeForget(id);
}

// Drops what nobody needs any more.
void Fetcher::MaybeForget(const index::ContentId& id) {
  Item* const item = Find(id);
  if (item == nullptr || Needed(*item) || item->stage >= Stage::kClosing) return;
  wire::Unwant unwant;
  ToWire(id, unwant.add_contents());
  for (const PeerPtr& peer : exchange_.members.Peers()) peer->link->Send(Kind::kUnwant, unwant);
  if (item->stage > Stage::kSmall) return LeaveLarge(*item);
  SetStage(*item, Stage::kParked);
  {
    const std::lock_guard lock(mutex_);
    progress_.erase(id);
  }
  items_.erase(id);
  SchedulePump();
}

// Its work was given up, or ended.
void Fetcher::ParkAndForget(Item& item) {
  SetStage(item, Stage::kParked);
  MaybeForget(index::ContentId(item.id));
}

// Many calls in a row make one round.
void Fetcher::SchedulePump() {
  if (std::exchange(pump_posted_, true)) return;
  exchange_.loop.Post([this] {
    pump_posted_ = false;
    Pump();
  });
}

void Fetcher::Pump() {
  std::vector<index::ContentId> ids;
  const auto take = [&](std::deque<index::ContentId>& queue) {
    while (!queue.empty()) {
      const index::ContentId id = queue.front();
      queue.pop_front();
      Item* const item = Find(id);
      if (item == nullptr || item->stage != Stage::kQueued) continue;
      SetStage(*item, Stage::kAsking);
      ids.push_back(id);
      return true;
    }
    return false;
  };
  while (take(urgent_queue_)) {
  }
  // In turn, so that neither kind waits for the other.
  for (bool more = true; more && asking_ < kAskingMax;) {
    const bool small = take(small_queue_);
    const bool large = take(large_queue_);
    more = small || large;
  }
  if (!ids.empty()) LookAndAsk(ids);

  std::uint64_t planned = Planned();
  std::optional<std::uint64_t> refused;  // bytes of the largest that does not fit
  bool all = true;                       // were looked at
  std::vector<index::ContentId> begin;
  for (const auto* const ready : {&ready_small_, &ready_large_}) {
    const bool small = ready == &ready_small_;
    std::size_t free = small ? kSmallActiveMax : kLargeActiveMax;
    free -= std::min(free, Active(small));
    for (const auto& id : *ready) {
      const Item& item = *Find(id);
      const bool urgent = !item.reads.empty();
      if (!urgent && free == 0) {
        all = false;
        continue;
      }
      const std::uint64_t takes = Takes(item);
      if (!urgent && !exchange_.objects.HasRoom(planned + takes)) {
        refused = std::max(refused.value_or(0), takes);
        continue;
      }
      if (!urgent) --free;
      planned += takes;
      begin.push_back(id);
    }
  }
  // With others under way that one is not looked at, though it may fit by now.
  const auto fits = [&] { return exchange_.objects.HasRoom(planned + refused_.value_or(0)); };
  if (refused || all || (no_room_ && fits())) NoteRoom(refused);
  for (const auto& id : begin) {
    if (Item* const item = Find(id)) Begin(*item);
  }
}

// Bytes of the disk. Before the hashes of the pieces have come nobody knows how much of a large
// object is holes; until then it takes nothing. What an earlier fetch left takes no more.
std::uint64_t Fetcher::Takes(const Item& item) {
  if (IsSmall(item.id)) return item.id.size;
  return item.data_bytes - std::min(item.data_bytes, item.left_bytes);
}

// Bytes of what is under way, which the disk may not have taken yet.
std::uint64_t Fetcher::Planned() const {
  std::uint64_t planned = 0;
  for (const auto* const active : {&active_small_, &active_large_}) {
    for (const auto& id : *active) planned += Takes(*items_.at(id));
  }
  return planned;
}

void Fetcher::NoteRoom(std::optional<std::uint64_t> refused) {
  refused_ = refused;
  const bool room = !refused;
  if (no_room_.exchange(!room) == !room) return;
  if (room) {
    spdlog::info("there is room again: fetching goes on");
  } else {
    spdlog::warn(
        "the disk is too full for some of what is to come: it is fetched where it is read");
  }
}

// Some may have come into the store by other ways, and of others we may know the pieces from an
// earlier fetch.
void Fetcher::LookAndAsk(const std::vector<index::ContentId>& ids) {
  exchange_.disk.Post([this, ids] {
    std::vector<index::ContentId> here;
    std::vector<std::pair<index::ContentId, std::error_code>> unrecorded;
    std::vector<index::ContentId> missing;
    std::vector<index::ContentId> superseded;
    std::map<index::ContentId, Layer> layers;
    std::map<index::ContentId, std::uint64_t> left;
    for (const auto& id : ids) {
      if (exchange_.objects.Find(id)) {
        if (const auto found = exchange_.objects.Found(id); found) {
          here.push_back(id);
        } else {
          unrecorded.emplace_back(id, found.error());
        }
        continue;
      }
      missing.push_back(id);
      if (!exchange_.objects.Needed(id)) superseded.push_back(id);
      if (IsSmall(id)) continue;
      left[id] = OwnDiskBytes(exchange_.objects.PartialPath(id));
      if (auto layer = exchange_.layers.Find(id)) {
        layers[id] = std::make_shared<const std::vector<index::Hash>>(std::move(*layer));
      }
    }
    exchange_.loop.Post([this, here = std::move(here), unrecorded = std::move(unrecorded),
                         missing = std::move(missing), layers = std::move(layers),
                         left = std::move(left), superseded = std::move(superseded)] {
      for (const auto& id : here) Arrived(id);
      for (const auto& [id, error] : unrecorded) {
        if (Item* const item = Find(id)) Retry(*item, error);
      }
      for (const auto& id : superseded) Unwant(id);
      Ask(missing, exchange_.members.Peers());
      for (const auto& id : missing) {
        Item* const item = Find(id);
        if (item == nullptr) continue;
        if (const auto bytes = left.find(id); bytes != left.end()) item->left_bytes = bytes->second;
        if (const auto layer = layers.find(id); layer != layers.end())
          SetLayer(*item, layer->second);
        MaybePark(*item);
      }
    });
  });
}

void Fetcher::MaybePark(Item& item) {
  if (item.stage != Stage::kAsking || !item.asked.empty() || !item.sources.empty()) return;
  if (item.reads.empty() || IsSmall(item.id)) return Park(item, kParkedMax);
  // What is read may be here already, in part.
  if (item.layer) return BeginLarge(item);
  Park(item, kNoHolderRetry);
  AskHashes(item);
}

void Fetcher::Park(Item& item, milliseconds retry) {
  SetStage(item, Stage::kParked);
  item.retry = Clock::now() + retry;
  SchedulePump();
}

void Fetcher::Begin(Item& item) {
  if (item.sources.empty()) return Park(item, kRetryFirst);
  if (IsSmall(item.id)) {
    BeginSmall(item);
  } else {
    BeginLarge(item);
  }
}

// Something of our own failed: a full disk, mostly.
void Fetcher::Retry(Item& item, std::error_code error) {
  if (!Needed(item)) return ParkAndForget(item);
  // Found out anew; nobody goes on looking for what was refused.
  item.have.clear();
  item.checked.clear();
  if (item.failures == 0) {
    spdlog::warn("cannot fetch object {}: {}; trying again", index::ToHex(item.id),
                 error.message());
  }
  const int doublings = std::min(item.failures++, kRetryDoublingsMax);
  Park(item, kRetryFirst * (1 << doublings));
}

void Fetcher::Store(Item& item) {
  SetStage(item, Stage::kStoring);
  const index::ContentId id = item.id;
  // What the disk refused is written again and hashed, which must not hold up what is quick.
  const bool long_work = item.failures > 0 && !IsSmall(id);
  (long_work ? exchange_.hashing : exchange_.disk).Post([this, id, fetched = item.fetched] {
    const auto store = [&]() -> Result<void> {
      struct stat status {};
      const auto file = exchange_.objects.PartialPath(id);
      if (::stat(file.c_str(), &status) != 0) return Errno(errno);
      if (static_cast<std::uint64_t>(status.st_size) != id.size) return Error::kCorrupt;
      PunchFetched(file, id, fetched);
      return exchange_.objects.Arrived(id);
    };
    const auto stored = store();
    exchange_.loop.Post([this, id, stored] {
      if (stored) return Arrived(id);
      if (Item* const failed = Find(id)) Retry(*failed, stored.error());
    });
  });
}

void Fetcher::Arrived(const index::ContentId& id) {
  Item* const item = Find(id);
  if (item == nullptr) return;
  AnswerAll(*item, Ok());
  SetStage(*item, Stage::kParked);
  {
    const std::lock_guard lock(mutex_);
    progress_.erase(id);
  }
  items_.erase(id);
  OfferBase(id);
  options_.arrived(id);
  SchedulePump();
}

void Fetcher::Tick() {
  const auto now = Clock::now();
  const auto each = [this](const std::set<index::ContentId>& active, auto&& tick) {
    const std::vector<index::ContentId> ids(active.begin(), active.end());
    for (const auto& id : ids) {
      if (Item* const item = Find(id)) tick(*item);
    }
  };
  each(active_large_, [this](Item& item) { TickLarge(item); });
  if (now - last_slow_tick_ < kSlowTick) return;
  last_slow_tick_ = now;
  each(active_small_, [this](Item& item) { TickSmall(item); });
  if (no_room_) SchedulePump();  // there may be some now
  for (auto& [id, item] : items_) {
    if (item->stage == Stage::kParked && now > item->retry) {
      Enqueue(*item);
    } else if (item->stage == Stage::kAsking && now - item->since > kAnswerMax) {
      item->asked.clear();  // what comes later is still heard
      MaybePark(*item);
    }
  }
}

void Fetcher::Close() {
  for (auto& [id, item] : items_) {
    if (item->stage == Stage::kRunning && item->layer) {
      CheckPassed(*item);
      auto partial = Partial(id);
      partial.file = exchange_.objects.PartialPath(id);
      NotePartial(partial, id, item->have);
    }
    for (auto& [number, read] : item->reads) read.done(Error::kCancelled);
    item->reads.clear();
  }
}

void Fetcher::Fill(SwarmStatus& status) const {
  status.no_room = no_room_;
  const std::lock_guard lock(mutex_);
  for (const auto& [id, progress] : progress_) {
    if (progress->active) {
      status.fetching.push_back({id, progress->done_bytes, progress->sources});
    } else {
      ++status.waiting;
    }
  }
}

}  // namespace btfc::torrent
