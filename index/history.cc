// Versions that are not current any more, and files that are gone: how they get into the history,
// and how they leave it. What leaves it: index/prune.cc.
#include <algorithm>
#include <limits>

#include "index/catalogue_impl.h"

namespace btfc::index {
namespace {

constexpr double kSecond = 1e9;  // ns

}  // namespace

void Session::Archive(const VersionRow& row, const std::string& inline_bytes) {
  NoteObject(row.content);
  if (context_.kept_versions == 0) return;
  auto insert = tables_.db().Prepare(
      "INSERT OR IGNORE INTO history (ino, commit_dev, commit_n, root, size, mtime, time, dev, "
      "inline, replaced) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)");
  insert << row.ino;
  tables_.Bind(insert, row.commit);
  insert << row.content.root << row.content.size << row.mtime_ns << row.stamp.time_ns
         << tables_.devices().NumberOf(tables_.db(), row.stamp.device);
  if (inline_bytes.empty()) {
    insert << nullptr;
  } else {
    insert << inline_bytes;
  }
  insert << context_.now_ns;
  insert.Run();
  ThinOut(row.ino);
}

// One too many: that one goes which stands closest between its neighbours, for its age. So a file
// that is saved every few seconds keeps its latest versions, and some of each hour and day before.
void Session::ThinOut(Ino ino) {
  struct Point {
    VersionNo version;
    double time_s;
  };
  std::vector<Point> points;
  auto find = tables_.db().Prepare(
      "SELECT version, time FROM history WHERE ino = ? ORDER BY time DESC, version DESC");
  find << ino;
  while (find.Step()) points.push_back({find.Int(0), static_cast<double>(find.Int(1)) / kSecond});
  const double now_s = static_cast<double>(context_.now_ns) / kSecond;
  while (points.size() > context_.kept_versions) {
    std::size_t least = points.size() - 1;
    double least_weight = std::numeric_limits<double>::max();
    for (std::size_t i = 1; i + 1 < points.size(); ++i) {  // the oldest one goes by its age alone
      const double age = std::max(0.0, now_s - points[i].time_s) + 1;
      const double weight = (points[i - 1].time_s - points[i + 1].time_s) / age;
      if (weight < least_weight) {
        least_weight = weight;
        least = i;
      }
    }
    DropFromHistory(points[least].version);
    points.erase(points.begin() + static_cast<std::ptrdiff_t>(least));
  }
}

bool Session::DropFromHistory(VersionNo version) {
  auto find = tables_.db().Prepare("SELECT root, size FROM history WHERE version = ?");
  find << version;
  if (!find.Step()) return false;
  NoteObject({find.Fixed<std::array<std::uint8_t, 32>>(0), find.Unsigned(1)});
  auto drop = tables_.db().Prepare("DELETE FROM history WHERE version = ?");
  drop << version;
  drop.Run();
  return true;
}

bool Session::IsKeptGone(Ino ino) {
  auto find = tables_.db().Prepare("SELECT 1 FROM inode WHERE ino = ? AND gone > 0");
  find << ino;
  return find.Step();
}

// An inode without a name is not kept any more.
void Session::DropGone(Ino ino) {
  NoteObjectsOf(ino);
  auto drop = tables_.db().Prepare("DELETE FROM history WHERE ino = ?");
  drop << ino;
  drop.Run();
  auto forget = tables_.db().Prepare("UPDATE inode SET gone = -1 WHERE ino = ? AND gone > 0");
  forget << ino;
  forget.Run();
}

}  // namespace btfc::index
