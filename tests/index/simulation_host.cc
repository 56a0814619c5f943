#include "simulation_host.h"

#include <fmt/format.h>
#include <openssl/sha.h>
#include <sqlite3.h>

#include <cerrno>
#include <fstream>
#include <iterator>

#include "index/delta.h"
#include "index/merkle.h"

namespace btfc::index {
namespace {

constexpr std::size_t kListAtOnce = 3;  // small, so that listings go on from cookies

TreeEntry ReadEntry(Catalogue& catalogue, const Node& node, const std::string& path) {
  TreeEntry entry;
  entry.kind = node.kind;
  entry.ino = node.ino;
  entry.nlink = node.nlink;
  for (const std::string& name : Must(catalogue.ListXattrs(node.ino), path)) {
    entry.xattrs[name] = Must(catalogue.GetXattr(node.ino, name), path);
  }
  if (node.kind == Kind::kSymlink) entry.content = Must(catalogue.Target(node.ino), path);
  if (node.kind != Kind::kFile) return entry;
  entry.mode = node.mode;
  entry.unwritten = node.content.state == Content::State::kNone;
  if (!entry.unwritten) entry.content = Must(catalogue.InlineBytes(node.ino), path);
  return entry;
}

void ReadFolder(Catalogue& catalogue, Ino folder, const std::string& path, Tree& tree) {
  std::uint64_t cookie = 0;
  for (;;) {
    const auto entries = Must(catalogue.List(folder, cookie, kListAtOnce), "list " + path);
    for (const Entry& entry : entries) {
      const std::string at = path + "/" + entry.name;
      if (!tree.emplace(at, ReadEntry(catalogue, entry.node, at)).second) {
        throw std::runtime_error("two entries at " + at);
      }
      if (entry.node.kind == Kind::kFolder) ReadFolder(catalogue, entry.node.ino, at, tree);
      cookie = entry.cookie;
    }
    if (entries.size() < kListAtOnce) return;
  }
}

}  // namespace

std::string ToString(const Tree& tree) {
  std::string text;
  for (const auto& [path, entry] : tree) {
    const bool file = entry.kind == Kind::kFile;
    text += fmt::format("  {} {}", path, file ? "f" : entry.kind == Kind::kFolder ? "d" : "l");
    if (file) text += fmt::format(" {:o}{}", entry.mode, entry.unwritten ? " unwritten" : "");
    text += ' ' + entry.content;
    for (const auto& [name, value] : entry.xattrs) text += ' ' + name + '=' + value;
    text += '\n';
  }
  return text;
}

SimulatedHost::SimulatedHost(std::filesystem::path file, std::string name)
    : file_(std::move(file)), name_(std::move(name)) {}

void SimulatedHost::Open() {
  CatalogueOptions options;
  options.path = file_;
  SHA256(reinterpret_cast<const unsigned char*>(name_.data()), name_.size(),
         options.node_key.data());
  options.host_name = name_;
  options.incarnation = incarnation_;
  options.now_ns = [now = now_ns_] { return *now; };
  options.new_id = [ids = ids_, random = random_ids_] {
    Bytes16 id;
    if (!ids->empty()) {
      id = ids->front();
      ids->pop_front();
      return id;
    }
    for (auto& byte : id) byte = static_cast<std::uint8_t>(random->Below(256));
    return id;
  };
  catalogue_ = Must(Catalogue::Open(options), "open the catalogue of " + name_);
}

Cache SimulatedHost::ReadCache() const {
  Cache cache;
  for (const char* suffix : {"", "-wal", ".ops"}) {
    std::ifstream in(file_.string() + suffix, std::ios::binary);
    if (!in) continue;
    cache[suffix].assign(std::istreambuf_iterator<char>(in), {});
  }
  return cache;
}

void SimulatedHost::WriteCache(const Cache& cache, bool in_place) {
  for (const char* suffix : {"-wal", "-shm", ".ops"}) {
    std::filesystem::remove(file_.string() + suffix);
  }
  const std::filesystem::path other = file_.string() + ".new";
  for (const auto& [suffix, bytes] : cache) {
    const bool database = suffix.empty();
    std::ofstream out(database && !in_place ? other.string() : file_.string() + suffix,
                      std::ios::binary | std::ios::trunc);
    out.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
    if (!out.flush()) throw std::runtime_error("cannot write the cache of " + name_);
  }
  // The old file still stands when the new one is made, so that their numbers differ.
  if (!in_place) std::filesystem::rename(other, file_);
}

void SimulatedHost::ForgetBoot() {
  sqlite3* database = nullptr;
  const int opened = sqlite3_open(file_.c_str(), &database);
  const char* sql =
      "UPDATE meta SET value = CASE key WHEN 'boot' THEN 'earlier' ELSE '0' END "
      "WHERE key IN ('boot', 'clean')";
  const int done = opened == SQLITE_OK ? sqlite3_exec(database, sql, nullptr, nullptr, nullptr) : 1;
  sqlite3_close(database);
  if (done != SQLITE_OK) throw std::runtime_error("cannot change the cache of " + name_);
}

FilePlace SimulatedHost::SpotOf(std::string_view path) {
  FilePlace spot;
  path.remove_prefix(1);
  for (;;) {
    const auto slash = path.find('/');
    if (slash == std::string_view::npos) break;
    spot.folder = Must(catalogue_->Lookup(spot.folder, path.substr(0, slash)), path).ino;
    path.remove_prefix(slash + 1);
  }
  spot.name = path;
  return spot;
}

Ino SimulatedHost::InoOf(std::string_view path) {
  const FilePlace spot = SpotOf(path);
  return Must(catalogue_->Lookup(spot.folder, spot.name), path).ino;
}

bool SimulatedHost::Has(std::string_view path) {
  const FilePlace spot = SpotOf(path);
  const auto found = catalogue_->Lookup(spot.folder, spot.name);
  if (!found && found.error() != Errno(ENOENT)) Must(found, path);
  return found.has_value();
}

Tree SimulatedHost::ReadTree() {
  Tree tree;
  ReadFolder(*catalogue_, kRootIno, "", tree);
  return tree;
}

Ino SimulatedHost::Make(std::string_view path) {
  const FilePlace spot = SpotOf(path);
  NewNode node;
  node.mode = 0644;
  const Ino ino = Must(catalogue_->Make(spot.folder, spot.name, node), path).ino;
  Must(catalogue_->BeginWrite(ino, false), path);
  return ino;
}

Ino SimulatedHost::MakeFile(std::string_view path, std::string_view content) {
  const Ino ino = Make(path);
  Commit(ino, content, false);
  return ino;
}

void SimulatedHost::MakeFolder(std::string_view path) {
  const FilePlace spot = SpotOf(path);
  NewNode node;
  node.kind = Kind::kFolder;
  node.mode = 0755;
  Must(catalogue_->Make(spot.folder, spot.name, node), path);
}

void SimulatedHost::Link(std::string_view path, std::string_view to) {
  const FilePlace spot = SpotOf(to);
  Must(catalogue_->Link(InoOf(path), spot.folder, spot.name), to);
}

std::optional<Ino> SimulatedHost::Gone(const Removed& removed) {
  if (removed.nlink > 0 && removed.kind != Kind::kFolder) return {};
  if (removed.kind == Kind::kFile) {
    Must(catalogue_->AbandonWrite(removed.ino), "take the note of a removed file back");
  }
  Must(catalogue_->Forget(removed.ino), "forget a removed file");
  return removed.ino;
}

std::optional<Ino> SimulatedHost::Unlink(std::string_view path) {
  const FilePlace spot = SpotOf(path);
  return Gone(Must(catalogue_->Unlink(spot.folder, spot.name), path));
}

void SimulatedHost::RemoveFolder(std::string_view path) {
  const FilePlace spot = SpotOf(path);
  Gone(Must(catalogue_->RemoveFolder(spot.folder, spot.name), path));
}

std::optional<Ino> SimulatedHost::Rename(std::string_view path, std::string_view to,
                                         unsigned flags) {
  const FilePlace spot = SpotOf(path);
  const FilePlace at = SpotOf(to);
  const auto over =
      Must(catalogue_->Rename(spot.folder, spot.name, at.folder, at.name, flags), path);
  return over && flags == 0 ? Gone(*over) : std::nullopt;
}

void SimulatedHost::Chmod(std::string_view path, std::uint32_t mode) {
  AttributeChange change;
  change.mode = mode;
  Must(catalogue_->SetAttributes(InoOf(path), change), path);
}

void SimulatedHost::Commit(Ino ino, std::string_view content, bool still_open) {
  NewVersion version;
  version.id = ContentIdOf(content);
  version.inline_bytes = content;
  version.mtime_ns = *now_ns_;
  Must(catalogue_->Commit(ino, version, still_open), "commit");
}

Parcel SimulatedHost::Cut(const Summary& since) {
  Parcel parcel;
  const auto reader = Must(catalogue_->Cut(since), "cut a delta");
  if (!reader) return parcel;
  while (auto part = Must(reader->Next(), "read a delta")) parcel.push_back(std::move(*part));
  return parcel;
}

Parcel SimulatedHost::AllRows() {
  Parcel parcel = Cut({});
  if (parcel.empty()) return parcel;
  wire::Part first;
  if (!first.ParseFromString(parcel[0])) throw std::runtime_error("a part that is none");
  first.clear_giver();
  parcel[0] = first.SerializeAsString();
  return parcel;
}

Result<void> SimulatedHost::Give(const Parcel& parcel) {
  if (parcel.empty()) return Ok();
  const auto writer = catalogue_->Receive();
  bool last = false;
  for (const std::string& part : parcel) {
    const auto added = writer->Add(part);
    if (!added) return added.error();
    last = added.value();
  }
  if (!last) return Error::kCorrupt;
  return writer->Finish();
}

}  // namespace btfc::index
