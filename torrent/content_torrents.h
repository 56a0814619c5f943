// The torrents of objects that are loaded at the moment, to give or to get. Internal to torrent/;
// hides libtorrent from the rest of the folder.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <system_error>
#include <vector>

#include "index/content.h"
#include "index/merkle.h"
#include "torrent/loop.h"
#include "torrent/session.h"

namespace btfc::torrent {

struct ContentLoad {
  index::ContentId id;
  std::vector<index::Hash> layer;
  std::filesystem::path file;  // absolute; exists with the object's length
  bool seed = false;           // all of it is there
  std::vector<bool> have;      // pieces that are there, if not all
  std::vector<bool> skip;      // pieces that come in another way, if any do
  bool only_asked = false;     // get no piece that nobody asked for
};

struct ContentTraffic {
  std::uint64_t sent_bytes = 0;
  std::uint64_t received_bytes = 0;
  int connections = 0;
};

// Used on the swarm's loop, where the events are called too.
class ContentTorrents {
 public:
  struct Events {
    // A seed takes connections; a fetch waits for Resume.
    std::function<void(const index::ContentId&)> ready;
    std::function<void(const index::ContentId&, std::uint64_t piece)> have;
    std::function<void(const index::ContentId&, std::error_code)> failed;
    std::function<void(const std::string& ip, std::uint64_t sent, std::uint64_t received)> traffic;
  };

  ContentTorrents(Session& session, Loop& loop, Events events);
  ~ContentTorrents();
  ContentTorrents(const ContentTorrents&) = delete;
  ContentTorrents& operator=(const ContentTorrents&) = delete;

  // Not while it is loaded.
  void Load(const ContentLoad& load);
  bool loaded(const index::ContentId& id) const;
  bool ready(const index::ContentId& id) const;
  std::size_t count() const;
  ContentTraffic traffic(const index::ContentId& id) const;
  // At once if it comes before Resume, else within a second.
  void Connect(const index::ContentId& id, const std::string& ip, std::uint16_t port);
  void Resume(const index::ContentId& id);
  // Gets the pieces of `now` before all others, and those of `soon` next.
  void Urge(const index::ContentId& id, const std::vector<std::uint64_t>& now,
            const std::vector<std::uint64_t>& soon);
  void WantAll(const index::ContentId& id);
  // `closed` when its file is closed, at once if it is not loaded; with the error if the disk did
  // not take or give something meanwhile: then pieces that passed may not be in the file.
  using Closed = std::function<void(std::error_code)>;
  void Unload(const index::ContentId& id, Closed closed);
  // When one was unloaded last; nothing if none was yet.
  std::optional<Loop::Clock::time_point> last_unloaded() const;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace btfc::torrent
