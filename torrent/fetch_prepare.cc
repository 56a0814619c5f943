// Fetcher: the partial files of large objects, from what is here already to what is left of them.
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "torrent/content_info.h"
#include "torrent/fetcher.h"

namespace btfc::torrent {
namespace {

constexpr std::chrono::minutes kLayerAge{10};         // before, its object may still be on its way
constexpr std::uint64_t kFewBytes = 8 * 1024 * 1024;  // they come sooner than much is copied

}  // namespace

PartialFile Fetcher::Partial(const index::ContentId& id) const {
  return {{}, options_.notes / index::ContentName(id)};
}

void Fetcher::Prepare(Item& item) {
  SetStage(item, Stage::kPreparing);
  item.cancelled = std::make_shared<std::atomic<bool>>(false);
  ShareReads(item);
  const index::ContentId id = item.id;
  exchange_.disk.Post([this, id, layer = item.layer, partial = Partial(id),
                       cancelled = item.cancelled, read = PiecesRead(item), wanted = item.wanted,
                       takes = Takes(item), hooks = HooksOf(item)]() mutable {
    partial.file = exchange_.objects.PartialPath(id);
    const auto bases = exchange_.objects.Bases(id);
    // Whoever reads is served on a full disk, too, but with no more than that takes.
    const bool sparing = !read.empty() && !exchange_.objects.HasRoom(takes);
    // What its holders write to is gone in a moment. On a lazy host it stays what is asked for.
    const bool hurries = !sparing && (wanted || !exchange_.objects.Needed(id));
    std::error_code ignored;
    const bool left = std::filesystem::file_size(partial.file, ignored) > 0 && !ignored;
    if (hurries && !left) {
      if (auto few = PrepareFew(partial, id, *layer, KnownBases(bases), kFewBytes)) {
        exchange_.loop.Post([this, id, few = std::move(*few)]() mutable {
          if (Item* const prepared = Find(id)) prepared->sparing = false;
          Prepared(id, std::move(few));
        });
        return;
      }
    }
    const bool long_work = left || !bases.empty();
    const auto prepare = [this, id, layer, partial, cancelled, bases, sparing, hooks,
                          read = std::move(read)] {
      const auto stop = [this, &cancelled] { return *cancelled || exchange_.stopping; };
      auto rest = bases.begin();
      const auto next_base = [&]() -> std::optional<BaseObject> {
        while (rest != bases.end()) {
          auto base = Base(*rest++, stop);
          if (!base) continue;
          if (sparing) base->only = read;
          return base;
        }
        return std::nullopt;
      };
      auto have = PreparePartial(partial, id, *layer, next_base, stop, hooks);
      exchange_.loop.Post([this, id, sparing, have = std::move(have)]() mutable {
        if (Item* const prepared = Find(id)) prepared->sparing = sparing;
        Prepared(id, have ? Result<PartialPieces>(PartialPieces{std::move(have).value(), {}})
                          : have.error());
      });
    };
    // Hashing and copying must not hold up what is quick.
    if (long_work) {
      exchange_.hashing.Post(prepare);
    } else {
      prepare();
    }
  });
}

CopyHooks Fetcher::HooksOf(const Item& item) {
  CopyHooks hooks;
  hooks.read = [shared = item.read_pieces] {
    const std::lock_guard lock(shared->mutex);
    return shared->pieces;
  };
  hooks.copied = [this, id = item.id](std::uint64_t first, std::uint64_t last) {
    exchange_.loop.Post([this, id, first, last] { Copied(id, first, last); });
  };
  return hooks;
}

// Who waits for these pieces need not wait for the others. They are not had for certain before the
// base is known to be untouched; but for who reads them they are verified.
void Fetcher::Copied(const index::ContentId& id, std::uint64_t first, std::uint64_t last) {
  Item* const item = Find(id);
  if (item == nullptr || item->stage != Stage::kPreparing) return;
  item->have.resize(PieceCount(id.size));
  for (std::uint64_t piece = first; piece <= last; ++piece) item->have[piece] = true;
  CheckPieces(*item);
}

// Any thread. Nothing if it is not here any more.
std::optional<BaseObject> Fetcher::Base(const index::ContentId& id,
                                        const std::function<bool()>& stop) const {
  const auto file = exchange_.objects.Find(id);
  if (!file) return std::nullopt;
  auto layer = exchange_.layers.Of(id, *file, stop);
  if (!layer) return std::nullopt;
  return BaseObject{id, *file, std::move(layer).value()};
}

// Those that need not be hashed for it.
std::vector<BaseObject> Fetcher::KnownBases(const std::vector<index::ContentId>& ids) const {
  std::vector<BaseObject> bases;
  for (const auto& id : ids) {
    const auto file = exchange_.objects.Find(id);
    auto layer = file ? exchange_.layers.Find(id) : std::nullopt;
    if (layer) bases.push_back({id, *file, std::move(*layer)});
  }
  return bases;
}

// What is read, and nobody has any more, may be in part in an object that has come: the version
// after it.
void Fetcher::OfferBase(const index::ContentId& base) {
  if (base.size <= kSmallMax) return;
  std::set<index::ContentId> readers;
  for (const auto& [number, id] : reads_) {
    if (index::PieceLength(id.size) == index::PieceLength(base.size)) readers.insert(id);
  }
  for (const auto& id : readers) {
    exchange_.disk.Post([this, id, base] {
      const auto bases = exchange_.objects.Bases(id);
      if (std::find(bases.begin(), bases.end(), base) == bases.end()) return;
      exchange_.loop.Post([this, id] {
        if (Item* const item = Find(id)) PrepareAgain(*item);
      });
    });
  }
}

void Fetcher::PrepareAgain(Item& item) {
  if (item.reads.empty()) return;
  if (item.stage == Stage::kParked) return Enqueue(item);
  // Its bases are chosen already, or will be: again when it runs.
  item.prepare_again = item.stage == Stage::kPreparing || item.stage == Stage::kLoading;
  if (item.stage == Stage::kRunning) FillUp(item);
}

// Of a torrent that runs: takes what bases have.
void Fetcher::FillUp(Item& item) {
  SetStage(item, Stage::kPreparing);
  Unload(item, [this](Item& again) {
    KeepNote(again);
    if (Needed(again)) return Prepare(again);
    ParkAndForget(again);
  });
}

// Of a partial file that nobody writes to any more: which pieces are there.
void Fetcher::KeepNote(const Item& item) {
  exchange_.disk.Post([this, id = item.id, partial = Partial(item.id), have = item.have]() mutable {
    partial.file = exchange_.objects.PartialPath(id);
    NotePartial(partial, id, have);
  });
}

// Of one that nobody waited for to be unloaded: whether the disk took what was written last.
void Fetcher::CheckPassed(Item& item) const {
  const auto file = exchange_.objects.PartialPath(item.id);
  for (const std::uint64_t piece : item.passed) {
    item.have[piece] = PieceIsThere(file, item.id, *item.layer, piece);
  }
}

void Fetcher::Prepared(const index::ContentId& id, Result<PartialPieces> pieces) {
  Item* const item = Find(id);
  if (item == nullptr) return;
  if (!Needed(*item)) return ParkAndForget(*item);
  if (!pieces) return Retry(*item, pieces.error());
  item->have = std::move(pieces.value().have);
  item->later = std::move(pieces.value().later);
  item->checked.clear();
  item->passed.clear();
  const auto there =
      static_cast<std::uint64_t>(std::count(item->have.begin(), item->have.end(), true));
  item->progress->done_bytes = std::min(there * index::PieceLength(id.size), id.size);
  CheckPieces(*item);
  if (there == item->have.size()) return CloseLarge(*item);
  if (OnlyLater(*item)) {  // the rest is zeros
    KeepNote(*item);
    return Prepare(*item);
  }
  SetStage(*item, Stage::kLoading);
  item->only_asked = (!item->wanted || item->sparing) && item->later.empty();
  exchange_.disk.Post([this, id] {
    const auto file = exchange_.objects.PartialPath(id);
    exchange_.loop.Post([this, id, file] {
      Item* const loading = Find(id);
      if (loading == nullptr || loading->stage != Stage::kLoading) return;
      if (exchange_.torrents.loaded(id)) return Retry(*loading, Error::kUnavailable);
      ContentLoad load;
      load.id = id;
      load.layer = *loading->layer;
      load.file = file;
      load.have = loading->have;
      load.skip = loading->later;
      load.only_asked = loading->only_asked;
      exchange_.torrents.Load(load);
    });
  });
}

void Fetcher::DropUnneeded() {
  exchange_.disk.Post([this] {
    const auto here = [this](const index::ContentId& id) {
      return exchange_.objects.Find(id) ||
             ::access(exchange_.objects.PartialPath(id).c_str(), F_OK) == 0;
    };
    exchange_.layers.DropUseless(here, kLayerAge);
    const auto unneeded = exchange_.objects.UnneededPartials();
    if (unneeded.empty()) return;
    exchange_.loop.Post([this, unneeded] {
      std::vector<index::ContentId> drop;
      for (const auto& id : unneeded) {
        if (Find(id) == nullptr) drop.push_back(id);
      }
      // Who wants one from now on prepares its file after this.
      exchange_.disk.Post([this, drop = std::move(drop)] {
        for (const auto& id : drop) {
          ::unlink(exchange_.objects.PartialPath(id).c_str());
          ::unlink(Partial(id).note.c_str());
        }
      });
    });
  });
}

}  // namespace btfc::torrent
