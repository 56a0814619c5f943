// Fetcher: reads that wait for their pieces.
#include <algorithm>
#include <utility>

#include "torrent/content_info.h"
#include "torrent/fetcher.h"

namespace btfc::torrent {
namespace {

using std::chrono::milliseconds;

constexpr std::uint64_t kAheadBytes = 4 * 1024 * 1024;
constexpr int kAheadStep = 100;  // ms between the deadlines of pieces read ahead
constexpr int kCheckBackoffMax = 6;

}  // namespace

void Fetcher::Read(std::uint64_t number, const index::ContentId& id, std::uint64_t offset,
                   std::uint64_t length, Done done) {
  if (length == 0 || offset >= id.size) return Answer(std::move(done), Ok());
  const std::uint64_t piece_length = index::PieceLength(id.size);
  const std::uint64_t end = offset + std::min(length, id.size - offset);
  Item& item = Make(id);
  item.reads[number] = {offset / piece_length, (end - 1) / piece_length, std::move(done)};
  reads_[number] = id;
  switch (item.stage) {
    case Stage::kQueued:
    case Stage::kParked:
      Enqueue(item);
      break;
    case Stage::kAsking:
    case Stage::kReady:
      SchedulePump();
      break;
    case Stage::kRunning:
      UrgeReads(item);
      CheckPieces(item);
      break;
    default:
      CheckPieces(item);
      break;
  }
}

void Fetcher::CancelRead(std::uint64_t number) {
  const auto found = reads_.find(number);
  if (found == reads_.end()) return;
  Item* const item = Find(found->second);
  reads_.erase(found);
  if (item == nullptr) return;
  const auto read = item->reads.find(number);
  if (read == item->reads.end()) return;
  Answer(std::move(read->second.done), Error::kCancelled);
  item->reads.erase(read);
  item->since = Clock::now();
  // What runs goes on for a while: the next read is probably near.
  if (item->stage != Stage::kRunning) MaybeForget(item->id);
}

// Tells libtorrent what is read, and a little beyond.
void Fetcher::UrgeReads(Item& item) {
  if (item.stage != Stage::kRunning) return;
  std::vector<ContentTorrents::Urgent> urgent;
  std::set<std::uint64_t> named;
  const auto add = [&](std::uint64_t piece, int deadline_ms) {
    if (piece < item.have.size() && !item.have[piece] && named.insert(piece).second) {
      urgent.push_back({piece, deadline_ms});
    }
  };
  for (const auto& [number, read] : item.reads) {
    for (std::uint64_t piece = read.first; piece <= read.last; ++piece) add(piece, 0);
  }
  const std::uint64_t ahead =
      std::max<std::uint64_t>(1, kAheadBytes / index::PieceLength(item.id.size));
  for (const auto& [number, read] : item.reads) {
    for (std::uint64_t i = 1; i <= ahead; ++i) {
      add(read.last + i, static_cast<int>(i + 1) * kAheadStep);
    }
  }
  if (!urgent.empty()) exchange_.torrents.Urge(item.id, urgent);
}

// Looks into the file for pieces that passed and that somebody reads: libtorrent may not have
// written the last block of a piece when it says that the piece is there.
void Fetcher::CheckPieces(Item& item) {
  if (item.have.empty() || !item.layer) return;
  for (const auto& [number, read] : item.reads) {
    for (std::uint64_t piece = read.first; piece <= read.last; ++piece) {
      if (!item.have[piece] || item.checked.contains(piece)) continue;
      if (item.checking.insert(piece).second) CheckPiece(item.id, piece, 0);
    }
  }
  AnswerReads(item);
}

void Fetcher::CheckPiece(const index::ContentId& id, std::uint64_t piece, int attempt) {
  Item* const item = Find(id);
  if (item == nullptr) return;
  exchange_.disk.Post([this, id, piece, attempt, layer = item->layer] {
    const bool there = PieceIsThere(exchange_.objects.PartialPath(id), id, *layer, piece);
    exchange_.loop.Post([this, id, piece, attempt, there] {
      Item* const checked = Find(id);
      if (checked == nullptr) return;
      if (there) {
        checked->checking.erase(piece);
        checked->checked.insert(piece);
        return AnswerReads(*checked);
      }
      const milliseconds wait(1 << std::min(attempt, kCheckBackoffMax));
      exchange_.loop.PostAfter(wait,
                               [this, id, piece, attempt] { CheckPiece(id, piece, attempt + 1); });
    });
  });
}

void Fetcher::AnswerReads(Item& item) {
  for (auto read = item.reads.begin(); read != item.reads.end();) {
    bool all = true;
    for (std::uint64_t piece = read->second.first; all && piece <= read->second.last; ++piece) {
      all = item.checked.contains(piece);
    }
    if (!all) {
      ++read;
      continue;
    }
    Answer(std::move(read->second.done), Ok());
    reads_.erase(read->first);
    read = item.reads.erase(read);
    item.since = Clock::now();
  }
}

void Fetcher::AnswerAll(Item& item, Result<void> result) {
  for (auto& [number, read] : item.reads) {
    reads_.erase(number);
    Answer(std::move(read.done), result);
  }
  item.reads.clear();
}

void Fetcher::Answer(Done done, Result<void> result) {
  exchange_.disk.Post([done = std::move(done), result] { done(result); });
}

}  // namespace btfc::torrent
