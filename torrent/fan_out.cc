#include "torrent/fan_out.h"

#include <algorithm>
#include <numeric>
#include <random>
#include <utility>

namespace btfc::torrent {
namespace {

constexpr std::size_t kOfferedMax = 12;  // to one receiver, without a confirmation
constexpr std::chrono::seconds kPatience{5};

}  // namespace

FanOut::FanOut(std::uint32_t pieces, std::uint64_t seed) : pieces_(pieces), seed_(seed) {
  Shuffle();
}

void FanOut::Shuffle() {
  std::vector<std::uint32_t> order(pieces_);
  std::iota(order.begin(), order.end(), 0U);
  std::shuffle(order.begin(), order.end(), std::mt19937_64(seed_++));
  pool_.assign(order.begin(), order.end());
  in_pool_.assign(pieces_, true);
}

FanOut::State& FanOut::StateOf(Receiver receiver) {
  // Who comes when nobody else is there is the first of a new round.
  if (receivers_.empty()) Shuffle();
  State& state = receivers_[receiver];
  if (state.has.empty()) {
    state.has.resize(pieces_);
    state.offered.resize(pieces_);
  }
  return state;
}

std::vector<std::uint32_t> FanOut::Next(Receiver receiver, Clock::time_point now) {
  State& state = StateOf(receiver);
  std::vector<std::uint32_t> offer;
  if (state.everything) return offer;
  // Few pieces are shared out among all who are there.
  const std::size_t share = pool_.size() / (2 * receivers_.size()) + 1;
  const std::size_t most = std::min(kOfferedMax, state.waiting.size() + share);
  for (auto piece = pool_.begin(); piece != pool_.end() && state.waiting.size() < most;) {
    if (state.has[*piece] || state.offered[*piece]) {
      ++piece;
      continue;
    }
    offer.push_back(*piece);
    state.offered[*piece] = true;
    state.waiting[*piece] = now;
    in_pool_[*piece] = false;
    piece = pool_.erase(piece);
  }
  if (!pool_.empty()) return offer;
  const auto rest = Everything(receiver);
  offer.insert(offer.end(), rest.begin(), rest.end());
  return offer;
}

std::vector<std::uint32_t> FanOut::Everything(Receiver receiver) {
  State& state = StateOf(receiver);
  std::vector<std::uint32_t> rest;
  if (std::exchange(state.everything, true)) return rest;
  for (std::uint32_t piece = 0; piece < pieces_; ++piece) {
    if (!state.has[piece] && !state.offered[piece]) rest.push_back(piece);
  }
  return rest;
}

void FanOut::Has(Receiver receiver, std::uint32_t piece) {
  if (piece >= pieces_) return;
  State& state = StateOf(receiver);
  state.has[piece] = true;
  state.waiting.erase(piece);
  if (in_pool_[piece]) {  // it got it elsewhere, where others can get it as well
    in_pool_[piece] = false;
    pool_.remove(piece);
  }
}

void FanOut::Leave(Receiver receiver) {
  const auto found = receivers_.find(receiver);
  if (found == receivers_.end()) return;
  for (const auto& [piece, since] : found->second.waiting) {
    if (!in_pool_[piece]) pool_.push_front(piece);
    in_pool_[piece] = true;
  }
  receivers_.erase(found);
}

void FanOut::TakeBack(Clock::time_point now) {
  if (receivers_.size() < 2) return;
  for (auto& [receiver, state] : receivers_) {
    std::erase_if(state.waiting, [&](const auto& waiting) {
      if (now - waiting.second < kPatience) return false;
      if (!in_pool_[waiting.first]) pool_.push_front(waiting.first);
      in_pool_[waiting.first] = true;
      return true;
    });
  }
}

}  // namespace btfc::torrent
