#include "torrent/content_torrents.h"

#include <spdlog/spdlog.h>

#include <libtorrent/add_torrent_params.hpp>
#include <libtorrent/alert_types.hpp>
#include <libtorrent/download_priority.hpp>
#include <libtorrent/load_torrent.hpp>
#include <libtorrent/torrent_flags.hpp>
#include <libtorrent/torrent_info.hpp>
#include <map>
#include <utility>

#include "torrent/content_info.h"
#include "torrent/content_plugin.h"
#include "torrent/session_handle.h"

namespace btfc::torrent {
namespace {

// Between the default and the top, which what has a deadline gets.
const lt::download_priority_t kSoon{6};

}  // namespace

class ContentTorrents::Impl {
 public:
  Impl(Session& session, Loop& loop, Events events)
      : session_(session.handle()), loop_(loop), events_(std::move(events)) {
    session_.on_alert = [this](lt::alert* alert) { Take(alert); };
  }
  ~Impl() { session_.on_alert = nullptr; }
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  void Load(const ContentLoad& load) {
    const index::ContentId id = load.id;
    Entry& entry = entries_[id];
    entry = {};
    entry.number = ++last_number_;
    entry.seed = load.seed;
    entry.counters = std::make_shared<TorrentCounters>();
    try {
      session_.session->async_add_torrent(Params(load, entry));
    } catch (const std::exception& error) {
      spdlog::error("libtorrent refused an object's torrent: {}", error.what());
      entries_.erase(id);
      loop_.Post([this, id] { events_.failed(id, Error::kUnavailable); });
    }
  }

  bool loaded(const index::ContentId& id) const { return entries_.contains(id); }
  bool ready(const index::ContentId& id) const {
    const auto found = entries_.find(id);
    return found != entries_.end() && found->second.told && !found->second.closing;
  }
  std::size_t count() const { return entries_.size(); }
  std::optional<Loop::Clock::time_point> last_unloaded() const { return last_unloaded_; }

  ContentTraffic traffic(const index::ContentId& id) const {
    const auto found = entries_.find(id);
    if (found == entries_.end()) return {};
    const TorrentCounters& counters = *found->second.counters;
    return {counters.sent_bytes, counters.received_bytes, counters.connections};
  }

  void Connect(const index::ContentId& id, const std::string& ip, std::uint16_t port) {
    if (Entry* const entry = Running(id)) {
      lt::error_code error;
      const auto address = boost::asio::ip::make_address(ip, error);
      if (!error) entry->handle.connect_peer({address, port}, {}, lt::pex_lt_v2);
    }
  }

  void Resume(const index::ContentId& id) {
    if (Entry* const entry = Running(id)) entry->handle.resume();
  }

  void Urge(const index::ContentId& id, const std::vector<std::uint64_t>& now,
            const std::vector<std::uint64_t>& soon) {
    Entry* const entry = Running(id);
    if (entry == nullptr) return;
    // A deadline makes libtorrent drop what it waits for; only few pieces must have one, or it
    // takes them in any order.
    for (const std::uint64_t piece : now) {
      entry->handle.set_piece_deadline(lt::piece_index_t(static_cast<int>(piece)), 0);
    }
    for (const std::uint64_t piece : soon) {
      entry->handle.piece_priority(lt::piece_index_t(static_cast<int>(piece)), kSoon);
    }
    session_.queue->Post([weak = entry->plugin] {
      if (const auto plugin = weak.lock()) plugin->RevealAll();
    });
  }

  void WantAll(const index::ContentId& id) {
    Entry* const entry = Running(id);
    if (entry == nullptr) return;
    entry->handle.prioritize_pieces(
        std::vector<lt::download_priority_t>(PieceCount(id.size), lt::default_priority));
  }

  void Unload(const index::ContentId& id, ContentTorrents::Closed closed) {
    const auto found = entries_.find(id);
    if (found == entries_.end()) return closed({});
    Entry& entry = found->second;
    entry.on_closed.push_back(std::move(closed));
    if (std::exchange(entry.closing, true)) return;
    last_unloaded_ = Loop::Clock::now();
    if (entry.handle.is_valid()) session_.session->remove_torrent(entry.handle);
  }

 private:
  struct Entry {
    std::uint64_t number = 0;
    bool seed = false;
    bool checked = false;
    bool told = false;  // ready was called
    bool closing = false;
    lt::torrent_handle handle;            // invalid until libtorrent has added it
    std::weak_ptr<ContentPlugin> plugin;  // for the network thread
    std::shared_ptr<TorrentCounters> counters;
    std::error_code failure;
    std::vector<ContentTorrents::Closed> on_closed;
  };

  lt::add_torrent_params Params(const ContentLoad& load, const Entry& entry) {
    namespace flags = lt::torrent_flags;
    lt::add_torrent_params params = lt::load_torrent_buffer(
        ContentTorrentFile(load.id, session_.cluster.ca_cert_pem, load.layer));
    params.save_path = load.file.parent_path().string();
    params.renamed_files[lt::file_index_t(0)] = load.file.string();
    // What is there was checked against the layer by us.
    params.flags =
        flags::no_verify_files | flags::disable_pex | flags::disable_lsd | flags::disable_dht;
    if (load.seed) {
      params.flags |= flags::seed_mode;
    } else {
      params.flags |= flags::paused;
      params.have_pieces.resize(static_cast<int>(PieceCount(load.id.size)), false);
      for (std::size_t i = 0; i < load.have.size(); ++i) {
        if (load.have[i]) params.have_pieces.set_bit(lt::piece_index_t(static_cast<int>(i)));
      }
      for (const bool skip : load.skip) {
        params.piece_priorities.push_back(skip ? lt::dont_download : lt::default_priority);
      }
      if (load.only_asked) {
        params.piece_priorities.assign(PieceCount(load.id.size), lt::dont_download);
      }
    }
    params.extensions.push_back([this, id = load.id, number = entry.number,
                                 counters = entry.counters, seed = load.seed,
                                 selects = load.only_asked || !load.skip.empty()](
                                    const lt::torrent_handle& handle, lt::client_data_t) {
      SetCertificate(handle, session_.node);
      std::optional<std::uint32_t> hidden;
      if (seed) hidden = static_cast<std::uint32_t>(PieceCount(id.size));
      auto plugin = std::make_shared<ContentPlugin>(MakeEvents(id, number), counters,
                                                    session_.doorkeeper, hidden,
                                                    /*reveal_all=*/selects);
      loop_.Post([this, id, number, handle, weak = std::weak_ptr<ContentPlugin>(plugin)] {
        Added(id, number, handle, weak);
      });
      return plugin;
    });
    return params;
  }

  TorrentEvents MakeEvents(const index::ContentId& id, std::uint64_t number) {
    TorrentEvents events;
    events.have = [this, id, number](int piece) {
      loop_.Post([this, id, number, piece] {
        const Entry* const entry = Find(id, number);
        if (entry != nullptr && !entry->closing) {
          events_.have(id, static_cast<std::uint64_t>(piece));
        }
      });
    };
    events.closed = [this, id, number] { loop_.Post([this, id, number] { Closed(id, number); }); };
    events.traffic = [this](const std::string& ip, std::uint64_t sent, std::uint64_t received) {
      loop_.Post([this, ip, sent, received] { events_.traffic(ip, sent, received); });
    };
    return events;
  }

  Entry* Find(const index::ContentId& id, std::uint64_t number) {
    const auto found = entries_.find(id);
    return found != entries_.end() && found->second.number == number ? &found->second : nullptr;
  }

  Entry* Running(const index::ContentId& id) {
    const auto found = entries_.find(id);
    const bool running =
        found != entries_.end() && !found->second.closing && found->second.handle.is_valid();
    return running ? &found->second : nullptr;
  }

  void Added(const index::ContentId& id, std::uint64_t number, const lt::torrent_handle& handle,
             const std::weak_ptr<ContentPlugin>& plugin) {
    Entry* const entry = Find(id, number);
    if (entry == nullptr) return;
    entry->handle = handle;
    entry->plugin = plugin;
    if (entry->closing) return session_.session->remove_torrent(handle);
    TellReady(id, *entry);
  }

  void TellReady(const index::ContentId& id, Entry& entry) {
    if (!entry.checked || !entry.handle.is_valid() || entry.closing) return;
    if (!std::exchange(entry.told, true)) events_.ready(id);
  }

  void Closed(const index::ContentId& id, std::uint64_t number) {
    Entry* const entry = Find(id, number);
    if (entry == nullptr) return;
    const auto waiting = std::exchange(entry->on_closed, {});
    const bool asked = entry->closing;
    const std::error_code failure = entry->failure;
    entries_.erase(id);
    if (!asked) events_.failed(id, Error::kUnavailable);  // libtorrent did not take it
    for (const auto& closed : waiting) closed(failure);
  }

  void Take(lt::alert* alert) {
    if (const auto* added = lt::alert_cast<lt::add_torrent_alert>(alert)) {
      if (added->error) NotAdded(*added);
    } else if (const auto* checked = lt::alert_cast<lt::torrent_checked_alert>(alert)) {
      Checked(checked->torrent_name());
    } else if (const auto* file = lt::alert_cast<lt::file_error_alert>(alert)) {
      Fail(file->handle, {file->error.value(), std::generic_category()});
    } else if (const auto* torrent = lt::alert_cast<lt::torrent_error_alert>(alert)) {
      // Parameters for an exchange of keys that TLS with elliptic curves does not use.
      if (std::string_view(torrent->filename()) == "[dh params]") return;
      Fail(torrent->handle, Errno(EIO));
    }
  }

  // The alert may come before the handle does.
  void Checked(std::string_view name) {
    for (auto& [id, entry] : entries_) {
      if (entry.checked || index::ToHex(id) != name) continue;
      entry.checked = true;
      return TellReady(id, entry);
    }
  }

  // It has no plugin, so nothing else tells.
  void NotAdded(const lt::add_torrent_alert& alert) {
    spdlog::error("cannot load a torrent: {}", alert.error.message());
    for (const auto& [id, entry] : entries_) {
      if (entry.handle.is_valid() || !alert.params.ti ||
          alert.params.ti->name() != index::ToHex(id)) {
        continue;
      }
      loop_.Post([this, failed = id, number = entry.number] { Closed(failed, number); });
      return;
    }
  }

  // What passed is written later, some of it when the torrent is being unloaded. libtorrent tells
  // of that before it lets go of the torrent, so before Closed.
  void Fail(const lt::torrent_handle& handle, std::error_code error) {
    for (auto& [id, entry] : entries_) {
      if (entry.handle != handle) continue;
      entry.failure = error;
      if (entry.closing) return;
      loop_.Post([this, failed = id, error] { events_.failed(failed, error); });
      return;
    }
  }

  SessionHandle& session_;
  Loop& loop_;
  const Events events_;
  std::optional<Loop::Clock::time_point> last_unloaded_;
  std::uint64_t last_number_ = 0;
  std::map<index::ContentId, Entry> entries_;
};

ContentTorrents::ContentTorrents(Session& session, Loop& loop, Events events)
    : impl_(std::make_unique<Impl>(session, loop, std::move(events))) {}
ContentTorrents::~ContentTorrents() = default;

void ContentTorrents::Load(const ContentLoad& load) { impl_->Load(load); }
bool ContentTorrents::loaded(const index::ContentId& id) const { return impl_->loaded(id); }
bool ContentTorrents::ready(const index::ContentId& id) const { return impl_->ready(id); }
std::size_t ContentTorrents::count() const { return impl_->count(); }
ContentTraffic ContentTorrents::traffic(const index::ContentId& id) const {
  return impl_->traffic(id);
}
void ContentTorrents::Connect(const index::ContentId& id, const std::string& ip,
                              std::uint16_t port) {
  impl_->Connect(id, ip, port);
}
void ContentTorrents::Resume(const index::ContentId& id) { impl_->Resume(id); }
void ContentTorrents::Urge(const index::ContentId& id, const std::vector<std::uint64_t>& now,
                           const std::vector<std::uint64_t>& soon) {
  impl_->Urge(id, now, soon);
}
void ContentTorrents::WantAll(const index::ContentId& id) { impl_->WantAll(id); }
std::optional<Loop::Clock::time_point> ContentTorrents::last_unloaded() const {
  return impl_->last_unloaded();
}
void ContentTorrents::Unload(const index::ContentId& id, Closed closed) {
  impl_->Unload(id, std::move(closed));
}

}  // namespace btfc::torrent
