// A real mount for tests: catalogue, object store, files and the kernel, all of one host.
#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "fs/files.h"
#include "fs/mount.h"
#include "fs/object_store.h"
#include "index/catalogue.h"
#include "tests/support/eventually.h"
#include "tests/support/needs.h"
#include "tests/support/temp_dir.h"

namespace btfc::fs::test {

using btfc::test::Eventually;

// Why no mount is possible here; empty if it is.
std::string WhyNoMount();

// At the start of a test that mounts.
#define BTFC_NEED_MOUNT()                                  \
  const std::string why_no = btfc::fs::test::WhyNoMount(); \
  BTFC_NEEDS(why_no.empty(), why_no)

// Other users of the machine may look in.
class TempFolder : public btfc::test::TempDir {
 public:
  explicit TempFolder(const std::string& name) : TempDir(name, 0755) {}
};

// Delivers nothing, unless the test answers the requests itself.
class HeldSource : public ContentSource {
 public:
  std::uint64_t Request(const index::ContentId& id, std::uint64_t offset, std::uint64_t length,
                        Done done) override;
  void Cancel(std::uint64_t request) override;
  void Available(const index::ContentId& /*id*/) override {}
  void Withdraw(const index::ContentId& /*id*/, std::function<void()> done) override { done(); }

  std::size_t waiting() const;

 private:
  struct Asked {
    std::uint64_t number;
    Done done;
  };
  mutable std::mutex mutex_;
  std::vector<Asked> asked_;  // guarded by mutex_
  std::uint64_t next_ = 1;    // guarded by mutex_
};

struct MountedOptions {
  bool allow_other = true;
  bool read_only = false;
  bool passthrough = true;  // false: the probe is made to fail
  std::vector<std::string> kernel_options;
  OwnerPolicy owner = OwnerPolicy::kMap;
  FilesOptions files;
};

class Mounted {
 public:
  // Below `where` if given, which stays.
  explicit Mounted(const std::string& name, const MountedOptions& options = {},
                   const std::filesystem::path& where = {});
  static std::filesystem::path RootBelow(const std::filesystem::path& where) {
    return where / "mnt";
  }
  // Unmounts, lazily if a failed test left something open.
  ~Mounted();

  const std::filesystem::path& root() const { return root_; }
  std::filesystem::path operator/(const std::string& name) const { return root_ / name; }
  index::Catalogue& catalogue() { return *catalogue_; }
  Files& files() { return *files_; }
  Mount& mount() { return *mount_; }
  HeldSource& source() { return source_; }
  ObjectStore& store() { return *store_; }
  const std::filesystem::path& cache() const { return cache_; }

  // Until no file is being written or committed. False if that takes longer than a minute.
  bool WaitQuiet();
  // Ends the mount, not the rest.
  void Unmount();
  // Until somebody else ended it.
  void WaitEnded();

 private:
  std::unique_ptr<TempFolder> folder_;
  std::filesystem::path cache_, root_;
  HeldSource source_;
  std::unique_ptr<index::Catalogue> catalogue_;
  std::unique_ptr<ObjectStore> store_;
  std::unique_ptr<Files> files_;
  std::unique_ptr<Mount> mount_;
  std::thread loop_;
};

// Another host's catalogue, in reach of a function call.
class Peer {
 public:
  explicit Peer(const std::string& name);
  index::Catalogue& catalogue() { return *catalogue_; }
  // All that one knows and the other does not, either way.
  void Send(index::Catalogue& to) { Copy(*catalogue_, to); }
  void Fetch(index::Catalogue& from) { Copy(from, *catalogue_); }
  // A file's new bytes, at most index::kInlineMax.
  void Write(index::Ino file, const std::string& bytes);

 private:
  static void Copy(index::Catalogue& from, index::Catalogue& to);
  TempFolder folder_;
  std::unique_ptr<index::Catalogue> catalogue_;
};

// For a process of its own: a mount namespace of its own in which everybody may open /dev/fuse, as
// is usual but not so in every container.
void OpenFuseToAll(const std::filesystem::path& scratch);

std::string ReadWhole(const std::filesystem::path& path);
void WriteWhole(const std::filesystem::path& path, const std::string& bytes);

}  // namespace btfc::fs::test
