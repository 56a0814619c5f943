#include "simulation_cache.h"

#include <fmt/format.h>

namespace btfc::index {
namespace {

constexpr std::size_t kListAtOnce = 100;

void ReadFolder(Catalogue& catalogue, Ino folder, const std::string& path,
                const std::vector<std::string>& asked, Walk& walk) {
  for (const std::string& name : asked) walk.names[{folder, name}] = 0;
  std::uint64_t cookie = 0;
  for (;;) {
    const auto entries = Must(catalogue.List(folder, cookie, kListAtOnce), "list " + path);
    for (const Entry& entry : entries) {
      const Node& node = entry.node;
      const std::string at = path + "/" + entry.name;
      walk.names[{folder, entry.name}] = node.ino;
      walk.paths[at] = {folder, entry.name};
      walk.nodes[node.ino] = {node.kind, node.mode,     node.nlink,
                              node.size, node.mtime_ns, node.content.id};
      if (node.kind == Kind::kFolder) ReadFolder(catalogue, node.ino, at, asked, walk);
      cookie = entry.cookie;
    }
    if (entries.size() < kListAtOnce) return;
  }
}

std::string PathsOf(const Walk& walk, Ino ino) {
  std::string paths;
  for (const auto& [path, name] : walk.paths) {
    if (walk.names.at(name) == ino) paths += " " + path;
  }
  return paths;
}

std::string Differs(const Walk::Seen& kept, const Walk::Seen& is) {
  if (kept.mode != is.mode) return fmt::format("mode {:o}, is {:o}", kept.mode, is.mode);
  if (kept.nlink != is.nlink) return fmt::format("{} links, has {}", kept.nlink, is.nlink);
  if (kept.size != is.size) return fmt::format("size {}, is {}", kept.size, is.size);
  if (kept.mtime_ns != is.mtime_ns)
    return fmt::format("mtime {}, is {}", kept.mtime_ns, is.mtime_ns);
  return {};
}

}  // namespace

Walk KernelCache::Read(Catalogue& catalogue) const {
  Walk walk;
  const Node root = Must(catalogue.Get(kRootIno), "the root");
  walk.nodes[kRootIno] = {root.kind, root.mode, root.nlink, root.size, root.mtime_ns, {}};
  ReadFolder(catalogue, kRootIno, "", asked_, walk);
  return walk;
}

void KernelCache::Drop(const std::vector<Change>& told, const Own& own) {
  for (const CachedName& name : own.names) names_.erase(name);
  for (const CachedName& name : own.gone) names_[name] = 0;
  for (const Ino ino : own.nodes) {
    attributes_.erase(ino);
    bytes_.erase(ino);
  }
  for (const Change& change : told) {
    switch (change.what) {
      case Change::What::kEntry:
        names_.erase({change.parent, change.name});
        attributes_.erase(change.parent);
        break;
      case Change::What::kContent:
        bytes_.erase(change.ino);
        attributes_.erase(change.ino);
        break;
      case Change::What::kAttributes:
        attributes_.erase(change.ino);
        break;
      case Change::What::kWanted:
      case Change::What::kUnwanted:
        break;
    }
  }
}

void KernelCache::Check(const Walk& now, const std::vector<Change>& told, const Own& own) {
  Drop(told, own);
  for (const auto& [name, ino] : names_) {
    if (now.nodes.count(name.first) == 0) continue;  // no path leads to that folder
    const auto found = now.names.find(name);
    const Ino is = found == now.names.end() ? 0 : found->second;
    if (is != ino) {
      throw std::runtime_error(fmt::format("stale name: {} in folder {} is kept as {}, is {}",
                                           name.second, name.first, ino, is));
    }
  }
  for (const auto& [ino, is] : now.nodes) {
    if (const auto kept = attributes_.find(ino); kept != attributes_.end()) {
      const std::string differs = Differs(kept->second, is);
      if (!differs.empty())
        throw std::runtime_error(
            fmt::format("stale attributes: {} {}{}", ino, differs, PathsOf(now, ino)));
    }
    if (const auto kept = bytes_.find(ino); kept != bytes_.end() && kept->second != is.content) {
      throw std::runtime_error(fmt::format("stale bytes: {}{}", ino, PathsOf(now, ino)));
    }
    attributes_[ino] = is;
    bytes_[ino] = is.content;
  }
  for (const auto& [name, ino] : now.names) names_[name] = ino;
}

}  // namespace btfc::index
