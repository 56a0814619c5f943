// What users do in the simulation: one random operation, and the tree that it must leave behind.
#include <fmt/format.h>

#include <algorithm>

#include "index/conflict_names.h"
#include "simulation.h"

namespace btfc::index {
namespace {

bool Below(const std::string& path, const std::string& folder) {
  return path.compare(0, folder.size() + 1, folder + "/") == 0;
}

// `path` after `from`, itself or a folder above it, became `to`.
std::string Moved(const std::string& path, const std::string& from, const std::string& to) {
  return path == from || Below(path, from) ? to + path.substr(from.size()) : path;
}

}  // namespace

void Simulation::LocalStep(Host& host) {
  using Operation = void (Simulation::*)(Moment&);
  static constexpr std::pair<const char*, Operation> kOperations[] = {
      {"create", &Simulation::Create},
      {"create many", &Simulation::CreateMany},
      {"create late", &Simulation::CreateLate},
      {"write", &Simulation::Write},
      {"write", &Simulation::Write},
      {"write", &Simulation::Write},
      {"open", &Simulation::OpenForWriting},
      {"commit", &Simulation::CommitSome},
      {"commit", &Simulation::CommitSome},
      {"close", &Simulation::CloseUnchanged},
      {"save", &Simulation::Save},
      {"save", &Simulation::Save},
      {"mkdir", &Simulation::MakeFolder},
      {"mkdir and move", &Simulation::MakeFolderAndMove},
      {"unlink", &Simulation::Unlink},
      {"rmdir", &Simulation::RemoveFolder},
      {"rm -r", &Simulation::RemoveTree},
      {"mv", &Simulation::Move},
      {"mv", &Simulation::Move},
      {"mv folder", &Simulation::MoveFolder},
      {"mv folder", &Simulation::MoveFolder},
      {"exchange", &Simulation::Swap},
      {"link", &Simulation::Link},
      {"symlink", &Simulation::Symlink},
      {"chmod", &Simulation::Chmod},
      {"xattr", &Simulation::Xattr},
      {"undelete", &Simulation::Undelete},
      {"restore", &Simulation::RestoreVersion},
      {"prune", &Simulation::Prune},
  };
  const auto& [word, operation] = random_.Pick(kOperations);
  Tree before = host.ReadTree();
  Moment moment{host, before, before, true, {}, {}, {}, {}};
  for (const auto& [path, entry] : before) {
    moment.all.push_back(path);
    if (entry.kind == Kind::kFile) moment.files.push_back(path);
    if (entry.kind == Kind::kFolder) moment.folders.push_back(path);
  }
  const Walk walk = host.kernel.Read(host.catalogue());
  Say(fmt::format("{} {}", host.name(), word));
  (this->*operation)(moment);
  Check(moment);
  CheckKernel(host, OwnOf(moment, walk, host.kernel.Read(host.catalogue())));
}

void Simulation::Check(Moment& moment) {
  Must(moment.host.catalogue().CheckIntegrity(), "integrity of " + moment.host.name());
  if (!moment.exact) return;
  const Tree got = moment.host.ReadTree();
  if (got == moment.want || WithoutReturned(got, moment) == moment.want) return;
  throw std::runtime_error(fmt::format("{} has\n{}and should have\n{}before\n{}",
                                       moment.host.name(), ToString(got), ToString(moment.want),
                                       ToString(moment.before)));
}

// A removal that waited for a file's first content, and now had to travel, may not have seen what
// was written elsewhere: that is a conflict copy beside what took its name.
Tree Simulation::WithoutReturned(Tree got, const Moment& moment) {
  const auto waits = [](const auto& path_and_entry) { return path_and_entry.second.unwritten; };
  if (std::none_of(moment.before.begin(), moment.before.end(), waits)) return got;
  std::erase_if(got, [&](const auto& path_and_entry) {
    const auto& [path, entry] = path_and_entry;
    return moment.want.count(path) == 0 && entry.kind == Kind::kFile && !entry.unwritten &&
           replaced_.count(entry.content) == 0 && IsConflictName(path.substr(path.rfind('/') + 1));
  });
  return got;
}

// The names and inodes that the operation itself was about.
KernelCache::Own Simulation::OwnOf(const Moment& moment, const Walk& before, const Walk& after) {
  KernelCache::Own own;
  own.nodes = moment.touched;
  const auto stands = [&moment](const std::string& folder) {
    const auto was = moment.before.find(folder), is = moment.want.find(folder);
    return folder.empty() || (was != moment.before.end() && is != moment.want.end() &&
                              was->second.ino == is->second.ino);
  };
  const auto differs = [&](const std::string& path) {
    const auto was = moment.before.find(path), is = moment.want.find(path);
    if (was == moment.before.end() || is == moment.want.end()) return true;
    return !(was->second == is->second) || was->second.ino != is->second.ino;
  };
  for (const auto* walk : {&before, &after}) {
    for (const auto& [path, name] : walk->paths) {
      const bool known = moment.before.count(path) != 0 || moment.want.count(path) != 0;
      if (!known || !differs(path)) continue;
      own.names.insert(name);
      own.nodes.insert(name.first);
      own.nodes.insert(walk->names.at(name));
      const bool gone = moment.want.count(path) == 0;
      if (gone && walk == &before && stands(path.substr(0, path.rfind('/')))) {
        own.gone.insert(name);
      }
    }
  }
  return own;
}

std::string Simulation::SomeSpot(Moment& moment) {
  const std::size_t at = random_.Below(moment.folders.size() + 1);
  return (at == 0 ? "" : moment.folders[at - 1]) + "/" + random_.Pick(kNames);
}

std::string Simulation::NewContent() {
  std::string content = equal_contents_ && random_.Percent(30)
                            ? fmt::format("same{}", random_.Below(2))
                            : fmt::format("v{}", ++contents_);
  Say("  content " + content);
  written_.insert(content);
  return content;
}

// This host's user takes away or overwrites what an entry shows, if that is its last name.
void Simulation::Replaced(const TreeEntry& entry) {
  if (entry.kind != Kind::kFile || entry.nlink > 1) return;
  if (!entry.unwritten) replaced_.insert(entry.content);
}

void Simulation::Dropped(Host& host, const std::optional<Ino>& gone) {
  if (gone) host.open.erase(*gone);
}

void Simulation::CommitOpen(Host& host, Ino ino, bool still_open) {
  const std::string content = NewContent();
  host.Commit(ino, content, still_open);
  OpenFile& open = host.open.at(ino);
  replaced_.insert(open.had.begin(), open.had.end());
  open.had.insert(content);
  open.first = false;
  if (!still_open) host.open.erase(ino);
}

void Simulation::Create(Moment& moment) {
  const std::string path = SomeSpot(moment);
  if (moment.before.count(path) != 0) return;
  TreeEntry& entry = moment.want[path];
  entry.content = NewContent();
  entry.mode = 0644;
  moment.host.MakeFile(path, entry.content);
  Say("  " + path);
}

// An import: all in one transaction, or nothing.
void Simulation::CreateMany(Moment& moment) {
  const std::string folder = SomeSpot(moment);
  if (moment.before.count(folder) != 0) return;
  const bool finishes = random_.Percent(70);
  Say(fmt::format("  {} {}", folder, finishes ? "" : "given up"));
  Catalogue::Batch batch(moment.host.catalogue());
  Tree many;
  moment.host.MakeFolder(folder);
  many[folder].kind = Kind::kFolder;
  for (const std::string& name : kNames) {
    TreeEntry& entry = many[folder + "/" + name];
    entry.mode = 0644;
    entry.content = fmt::format("v{}", ++contents_);
    moment.host.MakeFile(folder + "/" + name, entry.content);
  }
  if (!finishes) return;
  Must(batch.Finish(), "finish a batch");
  for (const auto& [path, entry] : many) {
    moment.want[path] = entry;
    if (entry.kind == Kind::kFile) written_.insert(entry.content);
  }
}

void Simulation::CreateLate(Moment& moment) {
  const std::string path = SomeSpot(moment);
  if (moment.before.count(path) != 0) return;
  moment.host.open[moment.host.Make(path)].first = true;
  TreeEntry& entry = moment.want[path];
  entry.mode = 0644;
  entry.unwritten = true;
  Say("  " + path);
}

void Simulation::Write(Moment& moment) {
  if (moment.files.empty()) return;
  const std::string& path = random_.Pick(moment.files);
  const TreeEntry entry = moment.before.at(path);
  Say("  " + path);
  moment.touched.insert(entry.ino);
  if (moment.host.open.count(entry.ino) != 0) {
    moment.exact = false;
    CommitOpen(moment.host, entry.ino, true);
    return;
  }
  Must(moment.host.catalogue().BeginWrite(entry.ino, random_.Percent(10)), path);
  moment.host.open[entry.ino].had.insert(entry.content);
  CommitOpen(moment.host, entry.ino, false);
  const std::string content =
      Must(moment.host.catalogue().InlineBytes(entry.ino), "bytes of " + path);
  for (auto& [at, other] : moment.want) {
    if (other.ino == entry.ino) other.content = content;
  }
}

void Simulation::OpenForWriting(Moment& moment) {
  if (moment.files.empty()) return;
  const std::string& path = random_.Pick(moment.files);
  const TreeEntry& entry = moment.before.at(path);
  Say("  " + path);
  Must(moment.host.catalogue().BeginWrite(entry.ino, random_.Percent(10)), path);
  const auto [open, fresh] = moment.host.open.try_emplace(entry.ino);
  if (fresh) open->second.had.insert(entry.content);
}

void Simulation::CommitSome(Moment& moment) {
  if (moment.host.open.empty()) return;
  moment.exact = false;
  const Ino ino = random_.Pick(moment.host.open).first;
  moment.touched.insert(ino);
  CommitOpen(moment.host, ino, random_.Percent(40));
}

void Simulation::CloseUnchanged(Moment& moment) {
  if (moment.host.open.empty()) return;
  const auto [ino, open] = random_.Pick(moment.host.open);
  if (open.first) return;
  Must(moment.host.catalogue().AbandonWrite(ino), "close");
  moment.host.open.erase(ino);
}

// An editor's: a new file, renamed over the old one before or after its bytes are committed; or
// the old one removed and made again.
void Simulation::Save(Moment& moment) {
  const std::string path = SomeSpot(moment), temporary = path + "~";
  const auto old = moment.before.find(path);
  const bool replaces = old != moment.before.end();
  if (moment.before.count(temporary) != 0) return;
  if (replaces && old->second.kind != Kind::kFile) return;
  if (replaces) Replaced(old->second);
  if (replaces && old->second.unwritten) moment.exact = false;
  Say("  " + path);
  TreeEntry entry;
  entry.mode = 0644;
  const std::size_t way = random_.Below(3);
  if (way == 0) {
    if (replaces) Dropped(moment.host, moment.host.Unlink(path));
    // What a file that nobody else knew of had hidden may come to light.
    if (moment.host.Has(path)) {
      if (replaces) moment.touched.insert(old->second.ino);  // it may have other names
      return;
    }
    entry.content = NewContent();
    moment.host.MakeFile(path, entry.content);
  } else if (way == 1) {
    entry.content = NewContent();
    moment.host.MakeFile(temporary, entry.content);
    Dropped(moment.host, moment.host.Rename(temporary, path));
  } else {
    const Ino ino = moment.host.Make(temporary);
    Dropped(moment.host, moment.host.Rename(temporary, path));
    entry.content = NewContent();
    moment.host.Commit(ino, entry.content, false);
  }
  moment.want[path] = entry;
}

void Simulation::MakeFolder(Moment& moment) {
  const std::string path = SomeSpot(moment);
  if (moment.before.count(path) != 0) return;
  Say("  " + path);
  moment.host.MakeFolder(path);
  moment.want[path].kind = Kind::kFolder;
}

// File managers make "new folder" and rename it at once.
void Simulation::MakeFolderAndMove(Moment& moment) {
  const std::string path = SomeSpot(moment);
  if (moment.before.count("/new") != 0 || moment.before.count(path) != 0) return;
  Say("  " + path);
  moment.host.MakeFolder("/new");
  moment.touched.insert(kRootIno);
  moment.host.Rename("/new", path);
  moment.want[path].kind = Kind::kFolder;
}

void Simulation::Unlink(Moment& moment) {
  if (moment.files.empty()) return;
  const std::string& path = random_.Pick(moment.files);
  Say("  " + path);
  moment.exact = !moment.before.at(path).unwritten;
  Replaced(moment.before.at(path));
  Dropped(moment.host, moment.host.Unlink(path));
  moment.want.erase(path);
}

void Simulation::RemoveFolder(Moment& moment) {
  if (moment.folders.empty()) return;
  const std::string& path = random_.Pick(moment.folders);
  const auto next = std::next(moment.before.find(path));
  for (auto it = next; it != moment.before.end(); ++it) {
    if (Below(it->first, path)) return;
  }
  Say("  " + path);
  moment.host.RemoveFolder(path);
  moment.want.erase(path);
}

void Simulation::RemoveTree(Moment& moment) {
  if (moment.folders.empty()) return;
  const std::string& top = random_.Pick(moment.folders);
  for (const auto& [path, entry] : moment.before) {
    if (entry.unwritten && Below(path, top)) return;
  }
  Say("  " + top);
  // Children come after their folders.
  for (auto it = moment.all.rbegin(); it != moment.all.rend(); ++it) {
    const std::string& path = *it;
    if (path != top && !Below(path, top)) continue;
    const TreeEntry& entry = moment.before.at(path);
    if (entry.kind == Kind::kFolder) {
      moment.host.RemoveFolder(path);
    } else {
      if (entry.kind == Kind::kFile) {
        TreeEntry now = entry;
        now.nlink = Must(moment.host.catalogue().Get(entry.ino), path).nlink;
        Replaced(now);
      }
      Dropped(moment.host, moment.host.Unlink(path));
    }
    moment.want.erase(path);
  }
}

void Simulation::Move(Moment& moment) {
  if (moment.files.empty()) return;
  const std::string& from = random_.Pick(moment.files);
  const std::string to = SomeSpot(moment);
  const TreeEntry entry = moment.before.at(from);
  const auto old = moment.before.find(to);
  if (old != moment.before.end()) {
    if (old->second.kind != Kind::kFile || old->second.ino == entry.ino) return;
    Replaced(old->second);
  }
  Say("  " + from + " to " + to);
  moment.exact = !entry.unwritten && (old == moment.before.end() || !old->second.unwritten);
  Dropped(moment.host, moment.host.Rename(from, to));
  moment.want.erase(from);
  moment.want[to] = entry;
}

void Simulation::MoveFolder(Moment& moment) {
  if (moment.folders.empty()) return;
  const std::string& from = random_.Pick(moment.folders);
  const std::string to = SomeSpot(moment);
  if (to == from || Below(to, from) || moment.before.count(to) != 0) return;
  Say("  " + from + " to " + to);
  moment.host.Rename(from, to, random_.Percent(50) ? unsigned{kNoReplace} : 0U);
  moment.want.clear();
  for (const auto& [path, entry] : moment.before) moment.want[Moved(path, from, to)] = entry;
}

void Simulation::Swap(Moment& moment) {
  if (moment.all.empty()) return;
  const std::string &a = random_.Pick(moment.all), &b = random_.Pick(moment.all);
  if (a == b || Below(a, b) || Below(b, a)) return;
  if (moment.before.at(a).ino == moment.before.at(b).ino) return;
  Say("  " + a + " and " + b);
  moment.exact = !moment.before.at(a).unwritten && !moment.before.at(b).unwritten;
  moment.host.Rename(a, b, kExchange);
  moment.want.clear();
  for (const auto& [path, entry] : moment.before) {
    const bool with_a = path == a || Below(path, a);
    moment.want[with_a ? Moved(path, a, b) : Moved(path, b, a)] = entry;
  }
}

void Simulation::Link(Moment& moment) {
  const std::string to = SomeSpot(moment);
  if (moment.files.empty() || moment.before.count(to) != 0) return;
  const std::string& from = random_.Pick(moment.files);
  Say("  " + from + " as " + to);
  moment.host.Link(from, to);
  moment.want[to] = moment.before.at(from);
}

void Simulation::Symlink(Moment& moment) {
  const std::string path = SomeSpot(moment);
  if (moment.before.count(path) != 0) return;
  Say("  " + path);
  NewNode node;
  node.kind = Kind::kSymlink;
  node.mode = 0777;
  node.target = fmt::format("target{}", random_.Below(3));
  const FilePlace spot = moment.host.SpotOf(path);
  Must(moment.host.catalogue().Make(spot.folder, spot.name, node), path);
  TreeEntry& entry = moment.want[path];
  entry.kind = Kind::kSymlink;
  entry.content = node.target;
}

void Simulation::Chmod(Moment& moment) {
  if (moment.files.empty()) return;
  const std::string& path = random_.Pick(moment.files);
  const auto mode = static_cast<std::uint32_t>(random_.Below(512));
  Say(fmt::format("  {} {:o}", path, mode));
  moment.host.Chmod(path, mode);
  for (auto& [at, entry] : moment.want) {
    if (entry.ino == moment.before.at(path).ino) entry.mode = mode;
  }
}

void Simulation::Xattr(Moment& moment) {
  if (moment.files.empty()) return;
  const std::string& path = random_.Pick(moment.files);
  const TreeEntry& before = moment.before.at(path);
  const std::string name = random_.Percent(50) ? "user.x" : "user.y";
  const bool removes = before.xattrs.count(name) != 0 && random_.Percent(50);
  const std::string value = fmt::format("{}", random_.Below(10));
  Say(fmt::format("  {} {} {}", path, name, removes ? "removed" : value));
  if (removes) {
    Must(moment.host.catalogue().RemoveXattr(before.ino, name), path);
  } else {
    Must(moment.host.catalogue().SetXattr(before.ino, name, value, 0), path);
  }
  for (auto& [at, entry] : moment.want) {
    if (entry.ino != before.ino) continue;
    if (removes) {
      entry.xattrs.erase(name);
    } else {
      entry.xattrs[name] = value;
    }
  }
}

}  // namespace btfc::index
