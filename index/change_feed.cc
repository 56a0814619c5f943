// What a transaction changed in what users see, by comparing before and after.
#include <algorithm>

#include "index/session.h"

namespace btfc::index {

Ino Session::ShownAt(const Slot& spot) {
  auto find =
      tables_.db().Prepare("SELECT ino FROM place WHERE up = ? AND name = ? AND state & 8 LIMIT 1");
  find << spot.folder << spot.name;
  return find.Step() ? find.Unsigned(0) : 0;
}

std::optional<ContentId> Session::ContentOf(Ino ino) {
  auto find = tables_.db().Prepare(
      "SELECT v.root, v.size FROM inode i JOIN version v ON v.version = i.head WHERE i.ino = ?");
  find << ino;
  if (!find.Step()) return std::nullopt;
  return ContentId{find.Fixed<std::array<std::uint8_t, 32>>(0), find.Unsigned(1)};
}

void Session::NoteBefore(Ino ino, const InodeBrief& brief) {
  if (!watching_ || ino >= first_new_ || brief.kind != Kind::kFile) return;
  if (!content_before_.contains(ino)) content_before_.emplace(ino, ContentOf(ino));
}

void Session::NoteAttributes(Ino ino) {
  if (watching_ && ino < first_new_) attributes_changed_.insert(ino);
}

void Session::CollectChanges() {
  for (const Slot& spot : uncovered_) shown_before_.emplace(spot, 0);
  for (const auto& [spot, before] : shown_before_) {
    const Ino now = ShownAt(spot);
    if (now == before) continue;
    changes_.push_back(
        {.what = Change::What::kEntry, .parent = spot.folder, .name = spot.name, .ino = now});
  }
  for (const auto& [ino, before] : content_before_) {
    const auto now = ContentOf(ino);
    if (!now) continue;
    if (now == before) {
      attributes_changed_.insert(ino);  // the same bytes, written at another time
      continue;
    }
    changes_.push_back({.what = Change::What::kContent, .ino = ino, .content = *now});
    attributes_changed_.erase(ino);
  }
  for (const Ino ino : attributes_changed_) {
    changes_.push_back({.what = Change::What::kAttributes, .ino = ino});
  }
}

}  // namespace btfc::index
