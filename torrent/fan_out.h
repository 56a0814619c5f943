// Which receiver a holder of everything offers which piece first, so that several who fetch the
// same object get different pieces from it and the rest from each other. Internal to torrent/.
#pragma once

#include <chrono>
#include <cstdint>
#include <list>
#include <map>
#include <vector>

namespace btfc::torrent {

// Every piece is offered to one receiver; it gets another one for each that it confirms. When all
// have been offered, everything is offered to everybody. Used on the network thread.
class FanOut {
 public:
  using Clock = std::chrono::steady_clock;
  using Receiver = std::uint64_t;

  // `seed` gives the order of the pieces.
  FanOut(std::uint32_t pieces, std::uint64_t seed);

  // What is to be offered to a receiver now.
  std::vector<std::uint32_t> Next(Receiver receiver, Clock::time_point now);
  // What it was not offered yet.
  std::vector<std::uint32_t> Everything(Receiver receiver);
  // The receiver has this piece, from wherever.
  void Has(Receiver receiver, std::uint32_t piece);
  void HasAll(Receiver receiver) { Leave(receiver); }
  // What it did not confirm is offered to others.
  void Leave(Receiver receiver);
  // Offers to others, too, what a receiver was offered long ago.
  void TakeBack(Clock::time_point now);

 private:
  struct State {
    std::vector<bool> has;
    std::vector<bool> offered;
    std::map<std::uint32_t, Clock::time_point> waiting;  // offered and not confirmed
    bool everything = false;
  };

  State& StateOf(Receiver receiver);
  void Shuffle();

  const std::uint32_t pieces_;
  std::uint64_t seed_;
  std::list<std::uint32_t> pool_;  // not offered to anybody yet
  std::vector<bool> in_pool_;
  std::map<Receiver, State> receivers_;
};

}  // namespace btfc::torrent
