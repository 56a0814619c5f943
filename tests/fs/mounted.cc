#include "mounted.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <utility>

#include "index/merkle.h"

namespace btfc::fs::test {
namespace {

// Large enough for a loaded machine.
constexpr std::chrono::seconds kQuiet{60};

index::CatalogueOptions CatalogueAt(const std::filesystem::path& path, const std::string& name) {
  index::CatalogueOptions options;
  options.path = path;
  options.cluster.fill(7);
  std::ranges::copy_n(name.begin(), std::min<std::ptrdiff_t>(std::ssize(name), 32),
                      options.node_key.begin());
  options.host_name = name;
  return options;
}

}  // namespace

std::string WhyNoMount() {
  if (::geteuid() != 0) return "skipped: mounting for tests needs root";
  if (::access("/dev/fuse", R_OK | W_OK) != 0) return "skipped: there is no usable /dev/fuse";
  return {};
}

std::uint64_t HeldSource::Request(const index::ContentId& /*id*/, std::uint64_t /*offset*/,
                                  std::uint64_t /*length*/, Done done) {
  const std::lock_guard lock(mutex_);
  asked_.push_back({next_, std::move(done)});
  return next_++;
}

void HeldSource::Cancel(std::uint64_t request) {
  Done done;
  {
    const std::lock_guard lock(mutex_);
    const auto found = std::ranges::find(asked_, request, &Asked::number);
    if (found == asked_.end()) return;
    done = std::move(found->done);
    asked_.erase(found);
  }
  done(Error::kCancelled);
}

std::size_t HeldSource::waiting() const {
  const std::lock_guard lock(mutex_);
  return asked_.size();
}

Mounted::Mounted(const std::string& name, const MountedOptions& options,
                 const std::filesystem::path& where) {
  if (where.empty()) folder_ = std::make_unique<TempFolder>("mounted");
  cache_ = (folder_ ? folder_->path() : where) / "cache";
  root_ = RootBelow(folder_ ? folder_->path() : where);
  std::filesystem::create_directory(cache_);
  std::filesystem::create_directory(root_);
  auto catalogue = index::Catalogue::Open(CatalogueAt(cache_ / "index.db", name));
  if (!catalogue) throw std::system_error(catalogue.error(), "Catalogue::Open");
  catalogue_ = std::move(catalogue.value());
  auto store = ObjectStore::Open(cache_);
  if (!store) throw std::system_error(store.error(), "ObjectStore::Open");
  store_ = std::move(store.value());
  FilesOptions files_options = options.files;
  files_options.read_only = options.read_only;
  auto files = Files::Start(*catalogue_, *store_, source_, files_options);
  if (!files) throw std::system_error(files.error(), "Files::Start");
  files_ = std::move(files.value());

  MountOptions mount_options;
  mount_options.mount_point = root_;
  mount_options.source = name;
  mount_options.kernel_options = options.kernel_options;
  mount_options.read_only = options.read_only;
  mount_options.allow_other = options.allow_other;
  mount_options.owner = options.owner;
  mount_options.cache = options.passthrough ? cache_ : std::filesystem::path("/proc");
  std::string why;
  auto mount = Mount::Make(mount_options, *catalogue_, *files_, &why);
  if (!mount) throw std::system_error(mount.error(), why);
  mount_ = std::move(mount.value());
  catalogue_->OnChange(
      [this](const std::vector<index::Change>& changes) { mount_->Changed(changes); });
  if (const auto recovered = files_->Recover(); !recovered) {
    throw std::system_error(recovered.error(), "Files::Recover");
  }
  loop_ = std::thread([this] { mount_->Run({}); });
}

Mounted::~Mounted() {
  Unmount();
  catalogue_->OnChange([](const std::vector<index::Change>&) {});
  files_->Stop();
  mount_.reset();
  files_.reset();
}

void Mounted::Unmount() {
  if (!loop_.joinable()) return;
  mount_->Unmount();
  loop_.join();
}

void Mounted::WaitEnded() {
  if (loop_.joinable()) loop_.join();
}

bool Mounted::WaitQuiet() {
  return Eventually([this] { return files_->GetStatus().writing == 0; }, kQuiet);
}

Peer::Peer(const std::string& name) : folder_(name) {
  auto catalogue = index::Catalogue::Open(CatalogueAt(folder_ / "index.db", name));
  if (!catalogue) throw std::system_error(catalogue.error(), "Catalogue::Open");
  catalogue_ = std::move(catalogue.value());
}

void Peer::Copy(index::Catalogue& from, index::Catalogue& to) {
  auto cut = from.Cut(to.Known());
  ASSERT_TRUE(cut) << cut.error().message();
  if (!cut.value()) return;
  auto writer = to.Receive();
  for (;;) {
    auto part = cut.value()->Next();
    ASSERT_TRUE(part) << part.error().message();
    if (!part.value()) break;
    const auto added = writer->Add(*part.value());
    ASSERT_TRUE(added) << added.error().message();
  }
  const auto finished = writer->Finish();
  ASSERT_TRUE(finished) << finished.error().message();
}

void Peer::Write(index::Ino file, const std::string& bytes) {
  ASSERT_LE(bytes.size(), index::kInlineMax);
  ASSERT_TRUE(catalogue_->BeginWrite(file, false));
  index::NewVersion version;
  version.id = index::ContentIdOf(bytes);
  version.inline_bytes = bytes;
  version.mtime_ns = std::chrono::system_clock::now().time_since_epoch().count();
  const auto committed = catalogue_->Commit(file, version, false);
  ASSERT_TRUE(committed) << committed.error().message();
}

void OpenFuseToAll(const std::filesystem::path& scratch) {
  const std::string device = scratch / "fuse";
  const bool done = ::unshare(CLONE_NEWNS) == 0 &&
                    ::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0 &&
                    ::mknod(device.c_str(), S_IFCHR | 0666, makedev(10, 229)) == 0 &&
                    ::chmod(device.c_str(), 0666) == 0 &&
                    ::mount(device.c_str(), "/dev/fuse", nullptr, MS_BIND, nullptr) == 0;
  if (!done) throw std::system_error(errno, std::generic_category(), "OpenFuseToAll");
}

std::string ReadWhole(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

void WriteWhole(const std::filesystem::path& path, const std::string& bytes) {
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  file.close();
  EXPECT_TRUE(file) << path;
}

}  // namespace btfc::fs::test
