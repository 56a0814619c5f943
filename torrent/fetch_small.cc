// Fetcher: objects that come in chunks on the control connection.
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "index/merkle.h"
#include "torrent/fetcher.h"
#include "torrent/partial_file.h"

namespace btfc::torrent {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kChunkMaxWait{5000};
constexpr milliseconds kAskAgain{1000};
constexpr std::uint64_t kTellBytes = 128 * 1024;

Result<void> WriteWhole(const std::filesystem::path& file, std::string_view bytes) {
  const int fd = OpenPartial(file, O_WRONLY | O_TRUNC);
  if (fd < 0) return Errno(errno);
  int error = 0;
  while (!bytes.empty() && error == 0) {
    const ssize_t n = ::write(fd, bytes.data(), bytes.size());
    if (n >= 0) {
      bytes.remove_prefix(static_cast<std::size_t>(n));
    } else if (errno != EINTR) {
      error = errno;
    }
  }
  if (::close(fd) != 0 && error == 0) error = errno;
  if (error != 0) return Errno(error);
  return Ok();
}

}  // namespace

void Fetcher::BeginSmall(Item& item) {
  item.bytes.clear();
  item.from = nullptr;
  if (item.sources.empty()) return Park(item, kAskAgain);
  // The holder that has the least to do for us.
  std::map<PeerPtr, std::size_t> busy;
  for (const auto& id : active_small_) {
    if (const Item* const other = Find(id); other != nullptr && other->from) ++busy[other->from];
  }
  const auto best = std::min_element(
      item.sources.begin(), item.sources.end(),
      [&busy](const auto& a, const auto& b) { return busy[a.first] < busy[b.first]; });
  item.from = best->first;
  SetStage(item, Stage::kSmall);
  wire::Get get;
  ToWire(item.id, get.mutable_content());
  item.from->link->Send(Kind::kGet, get);
}

void Fetcher::TakeChunk(const PeerPtr& peer, const wire::Chunk& chunk) {
  const auto id = FromWire(chunk.content());
  if (!id || chunk.bytes().empty() || chunk.bytes().size() > kChunkMax ||
      chunk.offset() > id->size || chunk.bytes().size() > id->size - chunk.offset()) {
    return exchange_.members.Nonsense(peer->link, "a malformed chunk");
  }
  Item* const item = Find(*id);
  bool complete = false;
  // The rest of an answer that was given up (it took too long, or nobody needed it for a while) may
  // still come before the one that is waited for.
  if (item != nullptr && item->stage == Stage::kSmall && item->from == peer &&
      chunk.offset() == item->bytes.size()) {
    item->bytes += chunk.bytes();
    item->since = Clock::now();
    item->progress->done_bytes = item->bytes.size();
    complete = item->bytes.size() == id->size;
  }
  Receipt& receipt = receipts_[peer];
  receipt.dealt_bytes += chunk.bytes().size();
  const bool last = chunk.offset() + chunk.bytes().size() >= id->size;
  if (last || receipt.dealt_bytes - receipt.told_bytes >= kTellBytes) {
    receipt.told_bytes = receipt.dealt_bytes;
    wire::Progress progress;
    progress.set_object_bytes(receipt.dealt_bytes);
    peer->link->Send(Kind::kProgress, progress);
  }
  if (complete) StoreSmall(*item);
}

void Fetcher::StoreSmall(Item& item) {
  SetStage(item, Stage::kStoring);
  exchange_.disk.Post([this, id = item.id, peer = item.from, bytes = std::move(item.bytes)] {
    const bool right = index::ContentIdOf(bytes) == id;
    const auto written = right ? WriteWhole(exchange_.objects.PartialPath(id), bytes)
                               : Result<void>(Error::kCorrupt);
    exchange_.loop.Post([this, id, peer, right, written] {
      Item* const stored = Find(id);
      if (!right) exchange_.members.Nonsense(peer->link, "bytes that are not the object's");
      if (stored == nullptr) return;
      if (!right) {
        stored->sources.erase(peer);
        return BeginSmall(*stored);
      }
      if (!written) return Retry(*stored, written.error());
      Store(*stored);
    });
  });
}

void Fetcher::TickSmall(Item& item) {
  if (item.stage == Stage::kSmall && Clock::now() - item.since > kChunkMaxWait) {
    DropSource(item, PeerPtr(item.from));
  }
}

}  // namespace btfc::torrent
