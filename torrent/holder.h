// Gives objects to the peers that ask for them. Internal to torrent/.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "torrent/exchange.h"

namespace btfc::torrent {

// Used on the swarm's loop.
class Holder {
 public:
  // What this host is fetching and already shares.
  class Sharing {
   public:
    virtual ~Sharing() = default;
    // The hashes of the object's pieces if its torrent runs, else null.
    virtual const std::vector<index::Hash>* SharedLayer(const index::ContentId& id) const = 0;
  };

  Holder(Exchange& exchange, const Sharing& sharing);

  void TakeWant(const PeerPtr& peer, const wire::Want& want);
  void TakeUnwant(const PeerPtr& peer, const wire::Unwant& unwant);
  void TakeGet(const PeerPtr& peer, const wire::Get& get);
  void TakeLoad(const PeerPtr& peer, const wire::Load& load);
  void TakeProgress(const PeerPtr& peer, std::uint64_t object_bytes);
  void PeerDown(const PeerPtr& peer);

  // This host has it now, whole or, while it fetches it, in part.
  void Available(const index::ContentId& id);
  void PartlyAvailable(const index::ContentId& id);
  // `done` is called on the disk loop.
  void Withdraw(const index::ContentId& id, std::function<void()> done);
  // Who wants this object, as far as they said so.
  std::vector<PeerPtr> Wanting(const index::ContentId& id) const;

  // Of torrents that this class loaded; false if it did not.
  bool TorrentReady(const index::ContentId& id);
  bool TorrentFailed(const index::ContentId& id, std::error_code error);
  // Once a second: unloads what nobody uses.
  void Tick();

 private:
  using Cancelled = std::shared_ptr<std::atomic<bool>>;
  struct Customer {  // a peer that small objects are sent to
    std::set<index::ContentId> wants;
    std::deque<index::ContentId> gets;
    bool reading = false;
    index::ContentId current;
    std::string bytes;  // of the current object
    std::size_t offset = 0;
    std::uint64_t sent_bytes = 0;
    std::uint64_t dealt_bytes = 0;
    std::size_t hash_reads = 0;  // under way
    Cancelled gone = std::make_shared<std::atomic<bool>>(false);
  };
  struct Waiting {
    PeerPtr peer;
    bool layer = false;
  };
  struct Seed {
    bool ready = false;
    bool closing = false;
    std::vector<index::Hash> layer;
    std::vector<Waiting> waiting;
    Cancelled cancelled;
    Loop::Clock::time_point used;
    std::uint64_t sent_bytes = 0;
  };

  // holder.cc: who wants what, and small objects
  Customer& CustomerOf(const PeerPtr& peer);
  void Pump(const PeerPtr& peer);
  void ReadNext(const PeerPtr& peer, Customer& customer);
  bool Withdrawn(const index::ContentId& id) const { return withdrawn_.contains(id); }
  void TellWanting(const index::ContentId& id, bool partial);

  // holder_large.cc
  void BeginSeed(const index::ContentId& id, const Waiting& waiting);
  void LoadSeed(const index::ContentId& id, const Cancelled& cancelled,
                const std::filesystem::path& file, Result<std::vector<index::Hash>> layer);
  void GiveUpSeed(const index::ContentId& id);
  void CloseSeed(const index::ContentId& id, std::function<void()> closed);
  void MakeRoom();
  void SendLoaded(const Waiting& to, const index::ContentId& id,
                  const std::vector<index::Hash>& layer, bool partial);
  void SendGone(const PeerPtr& peer, const index::ContentId& id,
                const std::vector<index::Hash>& layer);
  void AnswerGone(const Waiting& to, const index::ContentId& id);

  Exchange& exchange_;
  const Sharing& sharing_;
  std::map<PeerPtr, Customer> customers_;
  std::map<index::ContentId, Seed> seeds_;
  std::map<index::ContentId, Loop::Clock::time_point> withdrawn_;  // and until when that is kept
};

}  // namespace btfc::torrent
