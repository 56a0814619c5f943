#include "index/catalogue.h"

#include <fcntl.h>
#include <spdlog/spdlog.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <span>

#include "index/catalogue_impl.h"
#include "index/fault_point.h"
#include "index/incarnation.h"
#include "index/schema.h"
#include "index/summaries.h"

namespace btfc::index {
namespace {

constexpr std::size_t kIdleReadersMax = 8;

std::int64_t SystemNow() {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  return std::chrono::duration_cast<std::chrono::nanoseconds>(now).count();
}

void DrawRandom(std::span<std::uint8_t> bytes) {
  while (!bytes.empty()) {
    const ssize_t n = getrandom(bytes.data(), bytes.size(), 0);
    if (n > 0) bytes = bytes.subspan(static_cast<std::size_t>(n));
  }
}

// Ids that are drawn one after the other lie side by side in the indexes, as those of UUID version
// 7 (RFC 9562) do: a group of operations touches few pages.
std::array<std::uint8_t, 16> RandomId() {
  constexpr std::size_t kTime = 6;  // bytes of milliseconds since 1970, the highest first
  std::array<std::uint8_t, 16> id;
  auto now_ms = static_cast<std::uint64_t>(SystemNow() / 1'000'000);
  for (std::size_t i = kTime; i-- > 0; now_ms >>= 8U) id[i] = static_cast<std::uint8_t>(now_ms);
  // Each operation draws some, and a system call costs more than the bytes: they come by the page.
  constexpr std::size_t kDrawn = id.size() - kTime;
  thread_local std::array<std::uint8_t, 400 * kDrawn> drawn;
  thread_local std::size_t used = drawn.size();
  if (used == drawn.size()) {
    DrawRandom(drawn);
    used = 0;
  }
  std::copy_n(drawn.begin() + static_cast<std::ptrdiff_t>(used), kDrawn, id.begin() + kTime);
  used += kDrawn;
  return id;
}

Result<void> CheckCluster(Database& database, const CatalogueOptions& options) {
  const std::string_view cluster(reinterpret_cast<const char*>(options.cluster.data()),
                                 options.cluster.size());
  auto find = database.Prepare("SELECT value FROM meta WHERE key = 'cluster'");
  if (find.Step()) {
    if (find.Bytes(0) != cluster) return Error::kOtherCluster;
    return Ok();
  }
  auto put = database.Prepare("INSERT INTO meta (key, value) VALUES ('cluster', ?)");
  put << cluster;
  put.Run();
  return Ok();
}

// Beside the database from before it is made until its first rows are there. A database without
// tables is the beginning of one if this is there, and the rest of one if not.
std::filesystem::path BeginningMark(const std::filesystem::path& database) {
  auto mark = database;
  mark += "-new";
  return mark;
}

bool Exists(const std::filesystem::path& path) {
  std::error_code error;
  return std::filesystem::exists(path, error);
}

// Whether a database without tables would be a new one.
Result<bool> MayBeNew(const std::filesystem::path& database) {
  if (Exists(BeginningMark(database))) return true;
  struct stat status {};
  // SQLite takes an empty file, and one of a single byte, for a new database, and removes the log
  // beside it.
  if (::stat(database.c_str(), &status) == 0) {
    if (status.st_size <= 1) return Error::kCorrupt;
    return false;
  }
  auto log = database;
  log += "-wal";
  if (::stat(log.c_str(), &status) == 0 && status.st_size > 0) return Error::kCorrupt;
  const int mark = ::open(BeginningMark(database).c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
  if (mark < 0) return Errno(errno);
  ::close(mark);
  const int folder = ::open(database.parent_path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (folder < 0) return Errno(errno);
  const bool synced = ::fsync(folder) == 0;
  const int problem = errno;
  ::close(folder);
  if (!synced) return Errno(problem);
  return true;
}

}  // namespace

// --- opening and closing

Result<std::unique_ptr<Catalogue::Impl>> Catalogue::Impl::Open(const CatalogueOptions& options) {
  std::unique_ptr<Impl> impl(new Impl(options));
  try {
    BOOST_OUTCOME_TRYV(impl->Start());
  } catch (const StorageFailure& failure) {
    spdlog::error("index: {}: {}", options.path.string(), failure.what());
    return failure.code();
  }
  return impl;
}

Result<void> Catalogue::Impl::Start() {
  BTFC_TRY(may_be_new, MayBeNew(options_.path));
  BOOST_OUTCOME_TRYA(writer, Database::Open(options_.path, Database::Mode::kReadWrite));
  writer_ = std::move(writer);
  // A file that is no database says so here.
  writer_->Number("SELECT count(*) FROM sqlite_master");
  writer_->Execute(
      "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 0; "
      "PRAGMA cache_size = -32768; PRAGMA temp_store = MEMORY; PRAGMA journal_size_limit = " +
      std::to_string(WalKeeper::kBytesKept));
  BOOST_OUTCOME_TRYV(Migrate(*writer_, may_be_new));
  BOOST_OUTCOME_TRYV(CheckCluster(*writer_, options_));
  devices_.Load(*writer_);
  tables_ = std::make_unique<Tables>(*writer_, devices_);
  StartRows();
  if (may_be_new) ::unlink(BeginningMark(options_.path).c_str());
  writer_->Execute("PRAGMA synchronous = NORMAL");
  BOOST_OUTCOME_TRYA(keeper,
                     WalKeeper::Start(options_.path, write_gate_, [this] { (void)EndGroup(); }));
  keeper_ = std::move(keeper);
  reserve_ = std::make_unique<SpaceReserve>(options_.path);
  sqlite3_wal_hook(
      writer_->handle(),
      [](void* hook, sqlite3*, const char*, int pages) {
        static_cast<WalKeeper*>(hook)->Grew(pages);
        return SQLITE_OK;
      },
      keeper_.get());
  return Ok();
}

// Synced to the disk: before a row of this device goes out, it must be certain which one it is.
void Catalogue::Impl::StartRows() {
  Transaction transaction(*writer_, Transaction::Kind::kWrite);
  const auto incarnation = OpenIncarnation(*tables_, options_, [this] { return NewId(); });
  SetSelf(incarnation.device, incarnation.number);
  continues_ = !incarnation.fresh;
  known_ = tables_->Known();
  if (!tables_->FindInode(kRootId)) {
    auto root = writer_->Prepare(
        "INSERT INTO inode (ino, id, kind, live_links, nlink) VALUES (1, ?, 2, 1, 1)");
    root << kRootId;
    root.Run();
  }
  const auto context = MakeContext();
  // As mkdir would; the first entry's time, the same everywhere, replaces it.
  auto born = writer_->Prepare(
      "UPDATE inode SET mtime = ?1, ctime = max(ctime, ?1) WHERE ino = 1 AND mtime = 0");
  born << context.now_ns;
  born.Run();
  Session session(*tables_, context, known_);
  if (incarnation.fresh) session.TakeIncarnation(self_);
  WriteDeviceRow(session);
  session.Finish();
  fault::Pass("index.open");
  transaction.Commit();
  devices_.Settle();
  known_ = session.known();
  LoadRemoved();
}

void Catalogue::Impl::LoadRemoved() {
  std::set<NodeKey> removed;
  auto find = writer_->Prepare("SELECT key FROM device WHERE role = ?");
  find << kRemovedHost;
  while (find.Step()) removed.insert(find.Fixed<NodeKey>(0));
  const std::lock_guard lock(state_mutex_);
  removed_ = std::move(removed);
}

bool Catalogue::Impl::IsRemoved(const NodeKey& node_key) const {
  const std::lock_guard lock(state_mutex_);
  return removed_.contains(node_key);
}

std::set<NodeKey> Catalogue::Impl::Removed() const {
  const std::lock_guard lock(state_mutex_);
  return removed_;
}

bool Catalogue::Impl::NoteExamined(const Summary& floor, std::size_t inodes, std::size_t names) {
  const std::lock_guard lock(state_mutex_);
  auto now = std::make_tuple(floor, inodes, names);
  return std::exchange(examined_, now) != now;
}

std::optional<Catalogue::Impl::Look> Catalogue::Impl::LastLook() const {
  const std::lock_guard lock(state_mutex_);
  return look_;
}

void Catalogue::Impl::NoteLook(const std::optional<Look>& look) {
  const std::lock_guard lock(state_mutex_);
  look_ = look;
}

// What others call this device in conflict names, unless they know already.
void Catalogue::Impl::WriteDeviceRow(Session& session) {
  const std::string name = options_.host_name.substr(0, kNameMax);
  const auto held = tables_->GetDevice(session.self());
  const bool told = held && held->dot.n != 0;  // else it is from before rows gave the incarnation
  if (told && held->name == name && held->key == options_.node_key) return;
  DeviceRow row;
  row.device = session.self();
  row.name = name;
  row.key = options_.node_key;
  row.incarnation = IncarnationNumber(*tables_);
  row.stamp = held ? session.Now({held->stamp}) : session.Now();
  row.dot = session.NextDot();
  session.Merge(row);
}

void Catalogue::Impl::TakeNewIncarnation(Session& session) {
  session.TakeIncarnation(NewIncarnation(*tables_, options_, [this] { return NewId(); }).device);
  WriteDeviceRow(session);
}

Catalogue::Impl::~Impl() {
  if (!keeper_) return;
  StopGroups();
  try {
    const std::lock_guard gate(write_gate_);
    if (const auto ended = EndGroup(); !ended) {
      spdlog::warn("index: closing: {}; the journal keeps what was answered",
                   ended.error().message());
    }
    writer_->Execute("PRAGMA synchronous = FULL");
    Transaction transaction(*writer_, Transaction::Kind::kWrite);
    CloseIncarnation(*tables_);
    transaction.Commit();
  } catch (const StorageFailure& failure) {
    spdlog::warn("index: closing: {}", failure.what());
  }
  sqlite3_wal_hook(writer_->handle(), nullptr, nullptr);
  keeper_.reset();
}

// --- state that all threads ask for

SessionContext Catalogue::Impl::MakeContext() const {
  SessionContext context;
  context.self = Self();
  context.host_name = options_.host_name;
  context.now_ns = options_.now_ns ? options_.now_ns() : SystemNow();
  context.new_id = options_.new_id ? options_.new_id : RandomId;
  context.kept_versions = options_.kept_versions;
  return context;
}

// Of incarnations: copies of one cache may draw theirs at the same time.
std::array<std::uint8_t, 16> Catalogue::Impl::NewId() {
  if (options_.new_id) return options_.new_id();
  std::array<std::uint8_t, 16> id;
  DrawRandom(id);
  return id;
}

DeviceId Catalogue::Impl::Self() const {
  const std::lock_guard lock(state_mutex_);
  return self_;
}

std::uint64_t Catalogue::Impl::SelfIncarnation() const {
  const std::lock_guard lock(state_mutex_);
  return incarnation_;
}

void Catalogue::Impl::SetSelf(const DeviceId& self, std::uint64_t incarnation) {
  const std::lock_guard lock(state_mutex_);
  self_ = self;
  incarnation_ = incarnation;
}

Result<void> Catalogue::Impl::SyncSelf() {
  const std::uint64_t taken = selves_taken_;
  if (selves_synced_ >= taken) return Ok();
  const auto synced = keeper_->Sync();
  if (synced) selves_synced_ = taken;
  return synced;
}

// A group that cannot be committed stays this host's own: nobody is told.
Summary Catalogue::Impl::Known() {
  (void)Settle();
  return KnownNow();
}

Summary Catalogue::Impl::KnownNow() const {
  const std::lock_guard lock(state_mutex_);
  return known_;
}

void Catalogue::Impl::Committed(const Summary& known) {
  ++commits_;
  devices_.Settle();
  const std::lock_guard lock(state_mutex_);
  known_ = known;
}

void Catalogue::Impl::AfterFailure(const StorageFailure& failure) {
  // A full disk is said by each operation's errno; here it would fill the log, too.
  if (!IsNoRoom(failure.code())) spdlog::error("index: {}", failure.what());
  NoteIfDamage(failure);
  Reload();
}

void Catalogue::Impl::Reload() {
  try {
    tables_->Reload();
  } catch (const StorageFailure& failure) {
    // A full disk is said by each operation's errno; here it would fill the log, too.
    if (!IsNoRoom(failure.code())) spdlog::error("index: {}", failure.what());
  }
}

void Catalogue::Impl::SetListeners(std::function<void(const std::vector<Change>&)> changed,
                                   std::function<void()> published) {
  const std::lock_guard lock(state_mutex_);
  if (changed) on_change_ = std::move(changed);
  if (published) on_publish_ = std::move(published);
}

void Catalogue::Impl::Tell(const std::vector<Change>& changes, bool published) {
  std::function<void(const std::vector<Change>&)> on_change;
  std::function<void()> on_publish;
  {
    const std::lock_guard lock(state_mutex_);
    on_change = on_change_;
    on_publish = on_publish_;
  }
  if (on_change && !changes.empty()) on_change(changes);
  if (on_publish && published) on_publish();
}

// --- connections that read

Result<std::unique_ptr<Database>> Catalogue::Impl::TakeReader() {
  {
    const std::lock_guard lock(readers_mutex_);
    if (!readers_.empty()) {
      auto reader = std::move(readers_.back());
      readers_.pop_back();
      return reader;
    }
  }
  BOOST_OUTCOME_TRYA(reader, Database::Open(options_.path, Database::Mode::kReadOnly));
  reader->Execute("PRAGMA cache_size = -8192; PRAGMA temp_store = MEMORY");
  return std::move(reader);
}

void Catalogue::Impl::GiveReader(std::unique_ptr<Database> reader) {
  const std::lock_guard lock(readers_mutex_);
  if (readers_.size() < kIdleReadersMax) readers_.push_back(std::move(reader));
}

// --- batches

void Catalogue::Impl::BeginBatch() {
  write_gate_.lock();
  batch_failure_.clear();
  if (const auto ended = EndGroup(); !ended) batch_failure_ = ended.error();
  batch_changes_.clear();
  batch_published_ = false;
  batch_known_ = KnownNow();
  batch_owner_ = std::this_thread::get_id();
  if (batch_failure_) return;
  try {
    batch_ = std::make_unique<Transaction>(*writer_, Transaction::Kind::kWrite);
  } catch (const StorageFailure& failure) {
    batch_failure_ = failure.code();
  }
}

Result<void> Catalogue::Impl::EndBatch(bool commit) {
  std::error_code failure = batch_failure_;
  if (commit && !failure) {
    try {
      batch_->Commit();
      Committed(batch_known_);
    } catch (const StorageFailure& thrown) {
      failure = thrown.code();
    }
  }
  batch_.reset();
  const bool committed = commit && !failure;
  if (!committed) Reload();
  const auto changes = std::move(batch_changes_);
  const bool published = batch_published_;
  batch_owner_ = std::thread::id();
  write_gate_.unlock();
  if (committed) Tell(changes, published || publish_due_.exchange(false));
  TellPublished();
  if (failure) return failure;
  return Ok();
}

Catalogue::Batch::Batch(Catalogue& catalogue) : catalogue_(catalogue) {
  catalogue_.impl_->BeginBatch();
}

Catalogue::Batch::~Batch() {
  if (!finished_) (void)catalogue_.impl_->EndBatch(false);
}

Result<void> Catalogue::Batch::Finish() {
  finished_ = true;
  return catalogue_.impl_->EndBatch(true);
}

// --- the class itself

Catalogue::Catalogue(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Catalogue::~Catalogue() = default;

Result<std::unique_ptr<Catalogue>> Catalogue::Open(const CatalogueOptions& options) {
  BOOST_OUTCOME_TRYA(impl, Impl::Open(options));
  std::unique_ptr<Catalogue> catalogue(new Catalogue(std::move(impl)));
  BOOST_OUTCOME_TRYV(catalogue->impl_->TakeJournal(*catalogue));
  return catalogue;
}

Result<void> Catalogue::Sync() { return impl_->Sync(); }

void Catalogue::OnChange(std::function<void(const std::vector<Change>&)> listener) {
  impl_->SetListeners(std::move(listener), nullptr);
}

void Catalogue::OnPublish(std::function<void()> listener) {
  impl_->SetListeners(nullptr, std::move(listener));
}

bool Catalogue::IsRemoved(const NodeKey& node_key) const { return impl_->IsRemoved(node_key); }
DeviceId Catalogue::self() const { return impl_->Self(); }
std::uint64_t Catalogue::incarnation() const { return impl_->SelfIncarnation(); }
Summary Catalogue::Known() const { return impl_->Known(); }

}  // namespace btfc::index
