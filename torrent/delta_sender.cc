#include "torrent/delta_sender.h"

#include <spdlog/spdlog.h>

#include <utility>

namespace btfc::torrent {
namespace {

using std::chrono::milliseconds;

constexpr std::uint64_t kWindow = 2 * 1024 * 1024;  // bytes of parts on their way to one peer
// While one is applied over there the next one waits; what is published meanwhile goes into the
// one after it.
constexpr std::size_t kUnansweredMax = 2;
constexpr milliseconds kRelayDelay{200};
constexpr milliseconds kTellInterval{20};
constexpr milliseconds kRetry{5000};

}  // namespace

DeltaSender::DeltaSender(DeltaSenderOptions options, index::Replica& replica, ObjectPort& objects,
                         Members& members)
    : options_(std::move(options)),
      replica_(replica),
      objects_(objects),
      members_(members),
      loop_("btfc-delta-out") {}

void DeltaSender::PeerUp(const PeerPtr& peer) {
  loop_.Post([this, peer] {
    State& state = states_[peer.get()];
    state.peer = peer;
    wire::Summary summary;
    Grown(state, replica_.Known(), &summary);
    peer->link->Send(Kind::kSummary, summary);
  });
}

void DeltaSender::PeerDown(const PeerPtr& peer) {
  loop_.Post([this, peer] { states_.erase(peer.get()); });
}

void DeltaSender::Published() {
  if (pump_posted_.exchange(true)) return;
  loop_.Post([this] {
    pump_posted_ = false;
    PumpAll();
  });
}

void DeltaSender::Learned() {
  loop_.Post([this] {
    if (!relay_posted_) {
      relay_posted_ = true;
      loop_.PostAfter(kRelayDelay, [this] {
        relay_posted_ = false;
        PumpAll();
      });
    }
    if (tell_posted_) return;
    const auto now = Loop::Clock::now();
    if (now - last_told_ >= kTellInterval) return TellAll();
    tell_posted_ = true;
    loop_.PostAfter(kTellInterval, [this] {
      tell_posted_ = false;
      TellAll();
    });
  });
}

void DeltaSender::PeerKnows(const PeerPtr& peer, index::Summary summary) {
  loop_.Post([this, peer, summary = std::move(summary)] {
    State* const state = Find(peer);
    if (state == nullptr) return;
    Confirm(*state, summary);
    if (!std::exchange(state->heard, true)) Pump(*state);
    UpdateSync(*state, replica_.Known());
  });
}

void DeltaSender::TakeResult(const PeerPtr& peer, wire::DeltaResult result) {
  loop_.Post([this, peer, result = std::move(result)] {
    State* const state = Find(peer);
    if (state == nullptr) return;
    const auto summary = FromWire(result.summary());
    if (!summary || result.id() > state->last_id) {
      return members_.Nonsense(peer->link, "a malformed answer to a delta");
    }
    state->unanswered.erase(result.id());
    if (result.status() == wire::DeltaResult::NOT_COVERED) {
      if (result.id() > state->stale_id) StartOver(*state, *summary);
    } else {
      Confirm(*state, *summary);
      if (result.status() == wire::DeltaResult::FAILED && result.id() > state->stale_id) {
        StartOver(*state, state->confirmed);
        Pause(*state);
      }
    }
    Pump(*state);
    UpdateSync(*state, replica_.Known());
  });
}

void DeltaSender::TakeProgress(const PeerPtr& peer, std::uint64_t delta_bytes) {
  loop_.Post([this, peer, delta_bytes] {
    State* const state = Find(peer);
    if (state == nullptr) return;
    if (delta_bytes > state->sent_bytes || delta_bytes < state->dealt_bytes) {
      return members_.Nonsense(peer->link, "progress beyond what was sent");
    }
    state->dealt_bytes = delta_bytes;
    Pump(*state);
  });
}

void DeltaSender::TakeHolding(const PeerPtr& peer, const wire::Holding& holding) {
  loop_.Post([this, peer, holding] {
    if (Find(peer) == nullptr) return;
    peer->lazy = holding.lazy();
    peer->missing_objects = holding.missing_objects();
    peer->missing_bytes = holding.missing_bytes();
    peer->holding_known = true;
  });
}

void DeltaSender::Tick() {
  loop_.Post([this] {
    if (states_.empty()) return;
    const auto lacking = objects_.Missing();
    if (!lacking) return;
    wire::Holding holding;
    holding.set_missing_objects(lacking->objects);
    holding.set_missing_bytes(lacking->bytes);
    holding.set_lazy(options_.lazy);
    for (auto& [peer, state] : states_) {
      if (!state.grown && state.lacking == *lacking) continue;
      state.grown = false;
      state.lacking = *lacking;
      state.peer->link->Send(Kind::kHolding, holding);
    }
  });
}

void DeltaSender::SendResult(const PeerPtr& peer, std::uint64_t id,
                             wire::DeltaResult::Status status) {
  loop_.Post([this, peer, id, status] {
    State* const state = Find(peer);
    if (state == nullptr) return;
    wire::DeltaResult result;
    result.set_id(id);
    result.set_status(status);
    const index::Summary known = replica_.Known();
    if (status == wire::DeltaResult::NOT_COVERED) state->told.clear();
    Grown(*state, known, result.mutable_summary());
    peer->link->Send(Kind::kDeltaResult, result);
    UpdateSync(*state, known);
  });
}

DeltaSender::State* DeltaSender::Find(const PeerPtr& peer) {
  const auto found = states_.find(peer.get());
  return found != states_.end() ? &found->second : nullptr;
}

void DeltaSender::PumpAll() {
  for (auto& [peer, state] : states_) Pump(state);
}

// Sends what the peer lacks, as far as its window allows.
void DeltaSender::Pump(State& state) {
  if (options_.read_only || !state.heard || state.paused) return;
  for (;;) {
    if (state.outgoing && !SendParts(state)) return;
    if (state.unanswered.size() >= kUnansweredMax) return;
    const index::Summary known = replica_.Known();
    if (Covers(state.believed, known)) return UpdateSync(state, known);
    if (!CutNext(state, known)) return;
  }
}

// True when all parts are on their way.
bool DeltaSender::SendParts(State& state) {
  Outgoing& outgoing = *state.outgoing;
  while (!outgoing.spool.empty()) {
    const std::uint64_t pending = state.sent_bytes - state.dealt_bytes;
    if (pending > 0 && pending + outgoing.spool.next_size() > kWindow) return false;
    const bool last = outgoing.spool.last();
    auto part = outgoing.spool.Next();
    if (!part) {
      spdlog::error("cannot read a delta that was set aside: {}", part.error().message());
      StartOver(state, state.confirmed);
      Pause(state);
      return false;
    }
    wire::Delta delta;
    delta.set_id(outgoing.id);
    state.sent_bytes += part.value().size();
    delta.set_part(std::move(part).value());
    if (last) Grown(state, outgoing.until, delta.mutable_known());
    state.peer->link->Send(Kind::kDelta, delta);
  }
  Join(state.believed, outgoing.until);
  state.unanswered.insert(outgoing.id);
  state.outgoing.reset();
  return true;
}

bool DeltaSender::CutNext(State& state, const index::Summary& known) {
  auto reader = replica_.Cut(state.believed);
  if (!reader) {
    spdlog::error("cannot read rows for {}: {}", state.peer->name, reader.error().message());
    Pause(state);
    return false;
  }
  if (!reader.value()) {
    UpdateSync(state, known);
    return false;
  }
  index::Summary until = reader.value()->until();
  auto spool = DeltaSpool::Read(*reader.value(), options_.folder);
  if (!spool || spool.value().empty()) {
    if (!spool) {
      spdlog::error("cannot cut a delta for {}: {}", state.peer->name, spool.error().message());
    }
    Pause(state);
    return false;
  }
  state.outgoing.emplace(Outgoing{++state.last_id, std::move(spool).value(), std::move(until)});
  return true;
}

void DeltaSender::Pause(State& state) {
  state.paused = true;
  loop_.PostAfter(kRetry, [this, weak = std::weak_ptr<Peer>(state.peer)] {
    const PeerPtr peer = weak.lock();
    State* const waiting = peer ? Find(peer) : nullptr;
    if (waiting == nullptr) return;
    waiting->paused = false;
    Pump(*waiting);
  });
}

// Forgets what is on its way: the peer cannot take it.
void DeltaSender::StartOver(State& state, const index::Summary& summary) {
  state.confirmed = summary;
  state.believed = summary;
  state.outgoing.reset();
  state.unanswered.clear();
  state.stale_id = state.last_id;
}

void DeltaSender::TellAll() {
  last_told_ = Loop::Clock::now();
  const index::Summary known = replica_.Known();
  for (auto& [peer, state] : states_) {
    wire::Summary summary;
    Grown(state, known, &summary);
    if (summary.known_size() > 0) state.peer->link->Send(Kind::kSummary, summary);
    UpdateSync(state, known);
  }
}

// What a read-only host has written for itself (its device's row) is told to nobody.
void DeltaSender::UpdateSync(State& state, const index::Summary& known) {
  const bool sent = options_.read_only || Covers(state.confirmed, known);
  const bool received = state.peer->read_only || Covers(known, state.confirmed);
  state.peer->in_sync = state.heard && sent && received;
}

// The peer said that it knows this.
void DeltaSender::Confirm(State& state, const index::Summary& summary) {
  // It may name contents that the peer lacks.
  if (!Covers(state.confirmed, summary)) state.peer->holding_known = false;
  Join(state.confirmed, summary);
  Join(state.believed, summary);
}

// What was not told to this peer yet; from now on it was.
void DeltaSender::Grown(State& state, const index::Summary& known, wire::Summary* out) {
  index::Summary grown;
  for (const auto& [device, number] : known) {
    std::uint64_t& told = state.told[device];
    if (told < number) grown[device] = told = number;
  }
  if (!grown.empty()) state.grown = true;
  ToWire(grown, out);
}

}  // namespace btfc::torrent
