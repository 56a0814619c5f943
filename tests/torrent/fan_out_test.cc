#include "torrent/fan_out.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

namespace btfc::torrent {
namespace {

using testing::IsEmpty;
using testing::SizeIs;

constexpr std::uint32_t kPieces = 300;
const FanOut::Clock::time_point kNow;

std::set<std::uint32_t> ToSet(const std::vector<std::uint32_t>& pieces) {
  return {pieces.begin(), pieces.end()};
}

TEST(FanOut, EveryPieceIsOfferedToOneReceiverFirst) {
  FanOut fan_out(kPieces, 1);
  std::set<std::uint32_t> seen;
  std::map<FanOut::Receiver, std::vector<std::uint32_t>> offered;
  for (const FanOut::Receiver r : {1, 2, 3}) offered[r] = fan_out.Next(r, kNow);
  bool more = true;
  while (more && seen.size() < kPieces) {
    more = false;
    for (auto& [receiver, pieces] : offered) {
      for (const auto piece : std::exchange(pieces, {})) {
        EXPECT_TRUE(seen.insert(piece).second) << piece;
        fan_out.Has(receiver, piece);
        more = true;
      }
      if (seen.size() < kPieces - 20) pieces = fan_out.Next(receiver, kNow);
    }
  }
  EXPECT_GE(seen.size(), kPieces - 40);
}

TEST(FanOut, OnlySoMuchIsOfferedWithoutConfirmation) {
  FanOut fan_out(kPieces, 2);
  const auto first = fan_out.Next(1, kNow);
  EXPECT_LE(first.size(), 16U);
  EXPECT_GT(first.size(), 4U);
  EXPECT_THAT(fan_out.Next(1, kNow), IsEmpty());
  fan_out.Has(1, first[0]);
  EXPECT_THAT(fan_out.Next(1, kNow), SizeIs(1));
}

TEST(FanOut, InTheEndEverythingIsOfferedToAll) {
  FanOut fan_out(20, 3);
  std::map<FanOut::Receiver, std::set<std::uint32_t>> got;
  for (int round = 0; round < 20; ++round) {
    for (const FanOut::Receiver r : {1, 2}) {
      for (const auto piece : fan_out.Next(r, kNow)) {
        EXPECT_TRUE(got[r].insert(piece).second);
        fan_out.Has(r, piece);
      }
    }
  }
  EXPECT_THAT(got[1], SizeIs(20));
  EXPECT_THAT(got[2], SizeIs(20));
}

TEST(FanOut, WhatALostReceiverDidNotConfirmGoesToOthers) {
  FanOut fan_out(20, 4);
  const auto lost = ToSet(fan_out.Next(1, kNow));
  ASSERT_FALSE(lost.empty());
  std::set<std::uint32_t> got;
  const auto take = [&] {
    for (const auto piece : fan_out.Next(2, kNow)) {
      got.insert(piece);
      fan_out.Has(2, piece);
    }
  };
  take();
  fan_out.Leave(1);
  for (int i = 0; i < 20; ++i) take();
  EXPECT_THAT(got, SizeIs(20));
}

TEST(FanOut, WhatASlowReceiverHoldsUpGoesToOthers) {
  FanOut fan_out(20, 5);
  const auto slow = ToSet(fan_out.Next(1, kNow));
  std::set<std::uint32_t> got;
  const auto later = kNow + std::chrono::seconds(10);
  fan_out.Next(2, later);
  fan_out.TakeBack(later);
  for (int i = 0; i < 30; ++i) {
    for (const auto piece : fan_out.Next(2, later)) {
      got.insert(piece);
      fan_out.Has(2, piece);
    }
    for (std::uint32_t piece = 0; piece < 20; ++piece) {
      if (!slow.contains(piece)) fan_out.Has(2, piece);
    }
  }
  for (const auto piece : slow) EXPECT_TRUE(got.contains(piece)) << piece;
}

TEST(FanOut, WhoAsksForEverythingGetsItOnce) {
  FanOut fan_out(kPieces, 6);
  const auto some = fan_out.Next(1, kNow);
  EXPECT_THAT(fan_out.Everything(1), SizeIs(kPieces - some.size()));
  EXPECT_THAT(fan_out.Everything(1), IsEmpty());
  EXPECT_THAT(fan_out.Next(1, kNow), IsEmpty());
}

TEST(FanOut, LaterReceiversAreSharedOutAgain) {
  FanOut fan_out(kPieces, 7);
  for (std::uint32_t piece = 0; piece < kPieces; ++piece) fan_out.Has(1, piece);
  fan_out.HasAll(1);
  EXPECT_LT(fan_out.Next(2, kNow).size(), 20U);
  fan_out.Has(2, kPieces + 5);  // of no object of ours
}

}  // namespace
}  // namespace btfc::torrent
