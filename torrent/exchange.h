// What giving and getting objects have in common. Internal to torrent/.
#pragma once

#include <atomic>
#include <filesystem>

#include "torrent/content_torrents.h"
#include "torrent/layers.h"
#include "torrent/loop.h"
#include "torrent/members.h"
#include "torrent/object_port.h"

namespace btfc::torrent {

// Objects up to this size come on the control connection, larger ones by a torrent of their own.
inline constexpr std::uint64_t kSmallMax = 1024 * 1024;  // bytes
inline bool IsSmall(const index::ContentId& id) { return id.size <= kSmallMax; }

struct Exchange {
  Loop& loop;     // decides; never waits
  Loop& disk;     // short reads and writes; calls back
  Loop& hashing;  // reads whole files
  Members& members;
  ObjectPort& objects;
  ContentTorrents& torrents;
  const Layers& layers;
  const std::atomic<bool>& stopping;
};

}  // namespace btfc::torrent
