#include "torrent/delta_receiver.h"

#include <spdlog/spdlog.h>

#include <utility>

namespace btfc::torrent {
namespace {

constexpr std::uint64_t kTellBytes = 256 * 1024;

}  // namespace

DeltaReceiver::DeltaReceiver(index::Replica& replica, Members& members, DeltaSender& sender)
    : replica_(replica), members_(members), sender_(sender), loop_("btfc-delta-in") {}

void DeltaReceiver::PeerDown(const PeerPtr& peer) {
  loop_.Post([this, peer] { states_.erase(peer.get()); });
}

void DeltaReceiver::Take(const PeerPtr& peer, wire::Delta delta) {
  loop_.Post([this, peer, delta = std::move(delta)] {
    State& state = states_[peer.get()];
    const std::size_t size = delta.part().size();
    TakePart(peer, state, delta);
    state.dealt_bytes += size;
    peer->link->inbox_bytes -= static_cast<std::int64_t>(size);
    if (state.dealt_bytes - state.told_bytes >= kTellBytes || !state.writer) {
      state.told_bytes = state.dealt_bytes;
      wire::Progress progress;
      progress.set_delta_bytes(state.dealt_bytes);
      peer->link->Send(Kind::kProgress, progress);
    }
  });
}

void DeltaReceiver::TakePart(const PeerPtr& peer, State& state, const wire::Delta& delta) {
  if (delta.id() == 0 || delta.id() < state.id) {
    return members_.Nonsense(peer->link, "a delta out of order");
  }
  if (delta.id() != state.id) {
    state.id = delta.id();
    state.writer = replica_.Receive();
  }
  if (!state.writer) return;
  const auto added = state.writer->Add(delta.part());
  if (added && !added.value()) return;
  if (added) return Finish(peer, state, delta);
  state.writer.reset();
  if (added.error() == Error::kCorrupt) {
    return members_.Nonsense(peer->link, "a corrupt part of a delta");
  }
  spdlog::error("cannot set a delta from {} aside: {}", peer->name, added.error().message());
  sender_.SendResult(peer, delta.id(), wire::DeltaResult::FAILED);
}

void DeltaReceiver::Finish(const PeerPtr& peer, State& state, const wire::Delta& delta) {
  const auto known = FromWire(delta.known());
  if (!known) return members_.Nonsense(peer->link, "a malformed summary");
  const auto writer = std::exchange(state.writer, nullptr);
  const auto done = writer->Finish();
  if (done) {
    sender_.PeerKnows(peer, *known);
    sender_.SendResult(peer, delta.id(), wire::DeltaResult::APPLIED);
    sender_.Learned();
  } else if (done.error() == Error::kNotCovered) {
    sender_.SendResult(peer, delta.id(), wire::DeltaResult::NOT_COVERED);
  } else if (done.error() == Error::kCorrupt) {
    members_.Nonsense(peer->link, "a corrupt delta");
  } else if (done.error() == Errno(EAGAIN) || done.error() == Errno(ESTALE)) {
    // One of the two has to hear first what the other let go of; or was away for too long.
    if (!std::exchange(state.refused, true)) {
      spdlog::warn("rows from {} are not taken: {}", peer->name,
                   done.error() == Errno(ESTALE)
                       ? "this host was away for too long and has to be mounted anew"
                       : "one of us was away for too long, or has not heard enough yet");
    }
    sender_.SendResult(peer, delta.id(), wire::DeltaResult::FAILED);
  } else {
    spdlog::error("cannot apply a delta from {}: {}", peer->name, done.error().message());
    sender_.SendResult(peer, delta.id(), wire::DeltaResult::FAILED);
  }
}

}  // namespace btfc::torrent
