// Gets objects from the peers that have them. Internal to torrent/.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "torrent/exchange.h"
#include "torrent/holder.h"
#include "torrent/partial_file.h"

namespace btfc::torrent {

struct FetcherOptions {
  index::DeviceId self;
  std::filesystem::path notes;  // folder, for what is known of partial files
  std::function<void(const index::ContentId&)> arrived;  // whole and in the store
  std::function<void(const index::ContentId&)> sharing;  // its torrent runs here now
  std::function<std::vector<PeerPtr>(const index::ContentId&)> wanting;  // peers that want it too
};

// One object that is wanted or read:
//
//   queued -> asking -> ready -> small -----------------> storing -> (arrived)
//               |         |        layer -> preparing
//             parked      +------>   -> loading -> running -> closing -> storing
//
// Running goes back to preparing when what others have of it is to be copied.
//
// Used on the swarm's loop, except where noted.
class Fetcher final : public Holder::Sharing {
 public:
  using Done = std::function<void(Result<void>)>;

  Fetcher(FetcherOptions options, Exchange& exchange);

  void Want(const index::ContentId& id);
  void Unwant(const index::ContentId& id);
  // `done` is called on the disk loop.
  void Read(std::uint64_t number, const index::ContentId& id, std::uint64_t offset,
            std::uint64_t length, Done done);
  void CancelRead(std::uint64_t number);

  void PeerUp(const PeerPtr& peer);
  void PeerDown(const PeerPtr& peer);
  void TakeHave(const PeerPtr& peer, const wire::Have& have);
  void TakeChunk(const PeerPtr& peer, const wire::Chunk& chunk);
  void TakeGone(const PeerPtr& peer, const wire::Gone& gone);
  void TakeLoaded(const PeerPtr& peer, const wire::Loaded& loaded);

  // Of torrents that this class loaded; false if it did not.
  bool TorrentReady(const index::ContentId& id);
  // In memory; it may not be written yet.
  bool TorrentHas(const index::ContentId& id, std::uint64_t piece);
  bool TorrentFailed(const index::ContentId& id, std::error_code error);

  const std::vector<index::Hash>* SharedLayer(const index::ContentId& id) const override;

  // Removes partial files that nobody needs any more, and what is known of them.
  void DropUnneeded();
  // Ten times a second.
  void Tick();
  // After the loops and the session have ended: keeps what partial files hold, and calls off reads.
  void Close();
  // Any thread.
  void Fill(SwarmStatus& status) const;

 private:
  using Clock = Loop::Clock;
  using Layer = std::shared_ptr<const std::vector<index::Hash>>;  // null: not known yet

  enum class Stage {
    kQueued,
    kAsking,     // peers were asked who has it
    kParked,     // nobody has it
    kReady,      // waits for its turn
    kSmall,      // its chunks come in
    kLayer,      // a holder was asked to load it and to send the hashes of its pieces
    kPreparing,  // the partial file is made ready
    kLoading,    // its torrent is being added
    kRunning,
    kClosing,  // all is there; libtorrent closes the file
    kStoring,
  };

  struct Source {
    bool partial = false;
    bool loaded = false;
    std::string layer;  // what came of the hashes so far
  };

  struct PendingRead {
    std::uint64_t first = 0;  // pieces
    std::uint64_t last = 0;
    Done done;
    Clock::time_point since;
  };

  struct Progress {  // shared with Fill
    index::ContentId id;
    std::atomic<std::uint64_t> done_bytes = 0;
    std::atomic<int> sources = 0;
    std::atomic<bool> active = false;
  };

  struct Item {
    index::ContentId id;
    Stage stage = Stage::kQueued;
    bool wanted = false;
    std::map<std::uint64_t, PendingRead> reads;
    std::map<PeerPtr, Source> sources;
    std::set<PeerPtr> asked;  // and did not answer yet
    // Who has only the hashes of its pieces, and what came of them; while they are not known.
    std::map<PeerPtr, std::string> hashes;
    PeerPtr hashes_from;      // who was asked for them last
    Clock::time_point since;  // of the stage
    Clock::time_point retry;  // kParked: queue it again
    int failures = 0;
    std::shared_ptr<Progress> progress;
    // small
    PeerPtr from;
    std::string bytes;
    // large
    Layer layer;
    std::uint64_t data_bytes = 0;  // of the pieces that are not all zeros, by the layer
    std::uint64_t left_bytes = 0;  // of the disk, that an earlier fetch took
    std::vector<bool> have;
    std::vector<bool> later;           // the pieces that are copied when the others have come
    std::set<std::uint64_t> fetched;   // the pieces that came from others
    std::deque<std::uint64_t> passed;  // the last of them, which may not be written yet
    std::set<std::uint64_t> checked;   // pieces that were found in the file, for reads
    std::set<std::uint64_t> checking;  // pieces that are looked for there
    std::uint64_t received_bytes = 0;  // at the last look
    Clock::time_point moved;           // when bytes last came
    std::chrono::milliseconds patience{0};
    bool only_asked = false;
    // The pieces that are read, for who makes the file ready meanwhile.
    struct ReadPieces {
      std::mutex mutex;
      std::set<std::uint64_t> pieces;  // guarded by mutex
    };
    std::shared_ptr<ReadPieces> read_pieces = std::make_shared<ReadPieces>();
    bool sparing = false;         // the disk is full: no more comes than what is read
    bool prepare_again = false;   // what may be a base came while it was prepared
    std::uint64_t next_read = 0;  // the piece where the last read ended
    std::uint64_t ahead = 0;      // pieces to get before they are read
    std::shared_ptr<std::atomic<bool>> cancelled;
  };

  static constexpr std::chrono::milliseconds kRetryFirst{1000};
  static constexpr std::chrono::milliseconds kNoHolderRetry{5000};

  // fetcher.cc: from wanted to arrived
  Item& Make(const index::ContentId& id);
  Item* Find(const index::ContentId& id);
  void SetStage(Item& item, Stage stage);
  bool Needed(const Item& item) const { return item.wanted || !item.reads.empty(); }
  void Enqueue(Item& item);
  void SchedulePump();
  void Pump();
  void LookAndAsk(const std::vector<index::ContentId>& ids);
  void MaybePark(Item& item);
  void Park(Item& item, std::chrono::milliseconds retry);
  static std::uint64_t Takes(const Item& item);
  std::uint64_t Planned() const;
  // `refused`: bytes of the largest object that there is no room for.
  void NoteRoom(std::optional<std::uint64_t> refused);
  void Begin(Item& item);
  void Retry(Item& item, std::error_code error);
  void Store(Item& item);
  void Arrived(const index::ContentId& id);
  void MaybeForget(const index::ContentId& id);
  void ParkAndForget(Item& item);
  std::size_t Active(bool small) const;

  // fetch_sources.cc
  void Ask(const std::vector<index::ContentId>& ids, const std::vector<PeerPtr>& peers);
  void DropSource(Item& item, const PeerPtr& peer);
  void AskHashes(Item& item);
  void DropHashes(Item& item, const PeerPtr& peer);
  bool TakeLayer(Item& item, const PeerPtr& peer, std::string& so_far, const std::string& part,
                 std::uint64_t offset);
  void UseLayer(Item& item);
  static void SetLayer(Item& item, Layer layer);

  // fetch_small.cc
  void BeginSmall(Item& item);
  void StoreSmall(Item& item);
  void TickSmall(Item& item);

  // fetch_large.cc
  void BeginLarge(Item& item);
  void SendLoad(Item& item, const PeerPtr& peer, bool layer);
  void LayerCame(Item& item);
  void ConnectTo(Item& item, const PeerPtr& peer);
  void Run(const index::ContentId& id);
  bool WaitsForOthers(const Item& item) const;
  static bool OnlyLater(const Item& item);
  static bool ReadsLater(const Item& item, Clock::time_point before);
  void Unload(const Item& item, std::function<void(Item&)> next);
  void CloseLarge(Item& item);
  void TickLarge(Item& item);
  void Restart(Item& item);
  void LeaveLarge(Item& item);
  void SuspendLarge(Item& item);

  // fetch_prepare.cc
  void Prepare(Item& item);
  void Prepared(const index::ContentId& id, Result<PartialPieces> pieces);
  void PrepareAgain(Item& item);
  void FillUp(Item& item);
  CopyHooks HooksOf(const Item& item);
  void Copied(const index::ContentId& id, std::uint64_t first, std::uint64_t last);
  void OfferBase(const index::ContentId& base);
  std::optional<BaseObject> Base(const index::ContentId& id,
                                 const std::function<bool()>& stop) const;
  std::vector<BaseObject> KnownBases(const std::vector<index::ContentId>& ids) const;
  PartialFile Partial(const index::ContentId& id) const;
  void KeepNote(const Item& item);
  void CheckPassed(Item& item) const;

  // fetch_read.cc
  static bool Lacks(const Item& item, std::uint64_t first, std::uint64_t last);  // any piece
  static void ShareReads(Item& item);
  static std::set<std::uint64_t> PiecesRead(const Item& item);
  void UrgeReads(Item& item);
  void CheckPieces(Item& item);
  static bool IsAwaited(const Item& item, std::uint64_t piece);
  void CheckPiece(const index::ContentId& id, std::uint64_t piece, int attempt);
  void AnswerReads(Item& item);
  void AnswerAll(Item& item, Result<void> result);
  void Answer(Done done, Result<void> result);

  const FetcherOptions options_;
  Exchange& exchange_;
  std::map<index::ContentId, std::unique_ptr<Item>> items_;
  std::deque<index::ContentId> small_queue_;
  std::deque<index::ContentId> large_queue_;
  std::deque<index::ContentId> urgent_queue_;
  std::set<index::ContentId> ready_small_;
  std::set<index::ContentId> ready_large_;
  std::set<index::ContentId> active_small_;
  std::set<index::ContentId> active_large_;
  std::size_t asking_ = 0;
  bool pump_posted_ = false;
  std::map<std::uint64_t, index::ContentId> reads_;  // number -> object
  struct Receipt {
    std::uint64_t dealt_bytes = 0;
    std::uint64_t told_bytes = 0;
  };
  std::map<PeerPtr, Receipt> receipts_;  // of chunks
  Clock::time_point last_slow_tick_;
  std::optional<std::uint64_t> refused_;  // as of the last look
  std::atomic<bool> no_room_ = false;  // the disk is too full for something that could be fetched

  mutable std::mutex mutex_;
  std::map<index::ContentId, std::shared_ptr<Progress>> progress_;  // guarded by mutex_
};

}  // namespace btfc::torrent
