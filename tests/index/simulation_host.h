// A host of a simulated cluster: a real catalogue with a clock and ids of the test's own, used by
// path. Golden histories and the simulation share it. Calls that must not fail throw.
#pragma once

#include <cstdint>
#include <deque>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "index/catalogue.h"
#include "simulation_random.h"

namespace btfc::index {

template <class T>
T Must(Result<T> result, std::string_view what) {
  if (!result) throw std::runtime_error(std::string(what) + ": " + result.error().message());
  if constexpr (!std::is_void_v<T>) return std::move(result).value();
}

using Bytes16 = std::array<std::uint8_t, 16>;

// A delta on its way: the parts as they travel.
using Parcel = std::vector<std::string>;

struct TreeEntry {
  Kind kind = Kind::kFile;
  std::uint32_t mode = 0;  // of files
  std::string content;     // bytes of a file, target of a symlink
  std::map<std::string, std::string> xattrs;
  Ino ino = 0;              // this host's own: not compared
  std::uint32_t nlink = 0;  // not compared
  bool unwritten = false;   // no version yet: only here
  bool operator==(const TreeEntry& other) const {
    return kind == other.kind && mode == other.mode && content == other.content &&
           xattrs == other.xattrs && unwritten == other.unwritten;
  }
};
using Tree = std::map<std::string, TreeEntry>;  // by path, "/a/b"

std::string ToString(const Tree& tree);

using Cache = std::map<std::string, std::string>;  // bytes by what follows the database's name

struct FilePlace {
  Ino folder = kRootIno;
  std::string name;
};

class SimulatedHost {
 public:
  // The node key is SHA-256 of the name. The catalogue is not open yet.
  SimulatedHost(std::filesystem::path file, std::string name);

  // For a catalogue that is made by Open.
  void SetIncarnation(std::uint64_t incarnation) { incarnation_ = incarnation; }
  void Open();
  void Close() { catalogue_.reset(); }  // as at an unmount
  // The cache's files as they are now, open or not.
  Cache ReadCache() const;
  // While closed. In place: as if the files had never been written since. Otherwise the database
  // is another file, as after a restore from a backup.
  void WriteCache(const Cache& cache, bool in_place);
  // While closed: as if the machine had been started again after an end that was not orderly.
  void ForgetBoot();
  Catalogue& catalogue() { return *catalogue_; }
  const std::string& name() const { return name_; }

  void SetClock(std::int64_t now_ns) { *now_ns_ = now_ns; }
  // Ids that the next operations give out, in this order. Random ones when there are none left.
  void GiveIds(std::vector<Bytes16> ids) { ids_->assign(ids.begin(), ids.end()); }
  std::size_t IdsLeft() const { return ids_->size(); }
  void SeedIds(std::uint64_t seed) { *random_ids_ = Random(seed); }

  FilePlace SpotOf(std::string_view path);  // throws if there is no such folder
  Ino InoOf(std::string_view path);
  bool Has(std::string_view path);
  Tree ReadTree();

  // Not written yet: nobody else sees it before its first Commit.
  Ino Make(std::string_view path);
  Ino MakeFile(std::string_view path, std::string_view content);
  void MakeFolder(std::string_view path);
  void Link(std::string_view path, std::string_view to);
  // The inode, if this was its last name.
  std::optional<Ino> Unlink(std::string_view path);
  void RemoveFolder(std::string_view path);
  std::optional<Ino> Rename(std::string_view path, std::string_view to, unsigned flags = 0);
  void Chmod(std::string_view path, std::uint32_t mode);
  void Commit(Ino ino, std::string_view content, bool still_open);

  Parcel Cut(const Summary& since);
  Parcel AllRows();  // a delta for a new host, whoever gives it
  Result<void> Give(const Parcel& parcel);

 private:
  std::optional<Ino> Gone(const Removed& removed);

  std::filesystem::path file_;
  std::string name_;
  std::optional<std::uint64_t> incarnation_;
  std::shared_ptr<std::int64_t> now_ns_ = std::make_shared<std::int64_t>(1);
  std::shared_ptr<std::deque<Bytes16>> ids_ = std::make_shared<std::deque<Bytes16>>();
  std::shared_ptr<Random> random_ids_ = std::make_shared<Random>(1);
  std::unique_ptr<Catalogue> catalogue_;
};

}  // namespace btfc::index
