// Random numbers that are the same everywhere for one seed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <iterator>
#include <utility>

namespace btfc::index {

// SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014).
class Random {
 public:
  explicit Random(std::uint64_t seed) : state_(seed) {}

  std::uint64_t Next() {
    std::uint64_t z = (state_ += 0x9E3779B97F4A7C15U);
    z = (z ^ (z >> 30U)) * 0xBF58476D1CE4E5B9U;
    z = (z ^ (z >> 27U)) * 0x94D049BB133111EBU;
    return z ^ (z >> 31U);
  }
  std::size_t Below(std::size_t limit) { return static_cast<std::size_t>(Next() % limit); }
  bool Percent(unsigned chance) { return Below(100) < chance; }
  template <class Container>
  const auto& Pick(const Container& container) {
    return *std::next(std::begin(container),
                      static_cast<std::ptrdiff_t>(Below(std::size(container))));
  }
  template <class Container>
  void Shuffle(Container& container) {
    for (std::size_t i = container.size(); i > 1; --i)
      std::swap(container[i - 1], container[Below(i)]);
  }

 private:
  std::uint64_t state_;
};

}  // namespace btfc::index
