// Fetcher: reads that wait for their pieces.
#include <algorithm>
#include <utility>

#include "torrent/content_info.h"
#include "torrent/fetcher.h"

namespace btfc::torrent {
namespace {

using std::chrono::milliseconds;

constexpr std::uint64_t kAheadMax = 32;  // pieces
constexpr int kCheckBackoffMax = 6;

}  // namespace

void Fetcher::Read(std::uint64_t number, const index::ContentId& id, std::uint64_t offset,
                   std::uint64_t length, Done done) {
  if (length == 0 || offset >= id.size) return Answer(std::move(done), Ok());
  const std::uint64_t piece_length = index::PieceLength(id.size);
  const std::uint64_t end = offset + std::min(length, id.size - offset);
  Item& item = Make(id);
  // Who reads on gets more and more beforehand, who jumps about nothing.
  const std::uint64_t first = offset / piece_length;
  const bool goes_on = first == item.next_read || first == item.next_read + 1;
  item.ahead = goes_on ? std::clamp<std::uint64_t>(item.ahead * 2, 1, kAheadMax) : 0;
  item.next_read = (end - 1) / piece_length;
  item.reads[number] = {offset / piece_length, (end - 1) / piece_length, std::move(done),
                        Clock::now()};
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
      // Something that shares it may be here, and was spared.
      if (item.sparing && item.sources.empty() && Lacks(item, first, item.next_read)) {
        PrepareAgain(item);
      }
      break;
    case Stage::kPreparing:
      ShareReads(item);
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

bool Fetcher::Lacks(const Item& item, std::uint64_t first, std::uint64_t last) {
  for (std::uint64_t piece = first; piece <= last; ++piece) {
    if (piece >= item.have.size() || !item.have[piece]) return true;
  }
  return false;
}

// With those that probably will be soon.
std::set<std::uint64_t> Fetcher::PiecesRead(const Item& item) {
  std::set<std::uint64_t> pieces;
  for (const auto& [number, read] : item.reads) {
    for (auto piece = read.first; piece <= read.last + item.ahead; ++piece) pieces.insert(piece);
  }
  return pieces;
}

void Fetcher::ShareReads(Item& item) {
  auto pieces = PiecesRead(item);
  const std::lock_guard lock(item.read_pieces->mutex);
  item.read_pieces->pieces = std::move(pieces);
}

// Tells libtorrent what is read, and what probably will be.
void Fetcher::UrgeReads(Item& item) {
  if (item.stage != Stage::kRunning || item.reads.empty()) return;
  std::set<std::uint64_t> now;
  std::set<std::uint64_t> soon;
  for (const auto& [number, read] : item.reads) {
    for (std::uint64_t piece = read.first; piece <= read.last; ++piece) now.insert(piece);
    for (std::uint64_t i = 1; i <= item.ahead; ++i) soon.insert(read.last + i);
  }
  const auto missing = [&item](const std::set<std::uint64_t>& pieces,
                               const std::set<std::uint64_t>& except) {
    std::vector<std::uint64_t> result;
    for (const std::uint64_t piece : pieces) {
      const bool copied = piece < item.later.size() && item.later[piece];
      if (piece < item.have.size() && !item.have[piece] && !copied && !except.contains(piece)) {
        result.push_back(piece);
      }
    }
    return result;
  };
  exchange_.torrents.Urge(item.id, missing(now, {}), missing(soon, now));
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

// Somebody waits for it, and it is said to be there: what the disk refused is not, in the end.
bool Fetcher::IsAwaited(const Item& item, std::uint64_t piece) {
  if (piece >= item.have.size() || !item.have[piece]) return false;
  return std::ranges::any_of(item.reads, [piece](const auto& one) {
    return one.second.first <= piece && piece <= one.second.last;
  });
}

void Fetcher::CheckPiece(const index::ContentId& id, std::uint64_t piece, int attempt) {
  Item* const item = Find(id);
  if (item == nullptr || !item->layer) return;
  exchange_.disk.Post([this, id, piece, attempt, layer = item->layer] {
    const bool there = PieceIsThere(exchange_.objects.PartialPath(id), id, *layer, piece);
    exchange_.loop.Post([this, id, piece, attempt, there] {
      Item* const checked = Find(id);
      if (checked == nullptr) return;
      if (there || !IsAwaited(*checked, piece)) checked->checking.erase(piece);
      if (there) {
        checked->checked.insert(piece);
        return AnswerReads(*checked);
      }
      if (!checked->checking.contains(piece)) return;
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
