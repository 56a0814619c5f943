#include "index/sqlite.h"

#include <sys/types.h>

#include <cerrno>
#include <cstring>
#include <utility>

namespace btfc::index {
namespace {

// The daemon has its cache for itself. So its connections need no locks of the file system for each
// read, and share the index of the log in memory of their own.
constexpr const char* kOneProcess = "unix-excl";

// SQLite knows a full disk by ENOSPC only, takes a quota that is used up for a broken disk, and
// keeps no errno of a commit that failed. And it takes what a disk cannot read for a file that is
// malformed. So its reads and writes come by here.
using Pread = ssize_t (*)(int, void*, size_t, off_t);
using Pwrite = ssize_t (*)(int, const void*, size_t, off_t);
Pread g_pread = nullptr;            // SQLite's own; set once, before the first database is opened
Pwrite g_pwrite = nullptr;          // and so is this
thread_local int t_no_room = 0;     // errno of this thread's last write that found no room
thread_local int t_unreadable = 0;  // errno of its last read that failed

ssize_t NotingPread(int fd, void* bytes, size_t size, off_t offset) {
  const ssize_t got = g_pread(fd, bytes, size, offset);
  if (got < 0 && errno != EINTR) {
    t_unreadable = errno;
    errno = EREMOTEIO;  // not one of those that it takes for a malformed file
  }
  return got;
}

ssize_t NotingPwrite(int fd, const void* bytes, size_t size, off_t offset) {
  const ssize_t written = g_pwrite(fd, bytes, size, offset);
  if (written < 0 && (errno == EDQUOT || errno == ENOSPC)) {
    t_no_room = errno;
    errno = ENOSPC;
  }
  return written;
}

template <class Call>
void LeadHere(const std::string& name, Call* own, Call here) {
  sqlite3_vfs* const vfs = sqlite3_vfs_find(nullptr);
  for (const auto& each : {name, name + "64"}) {  // it uses one of them
    const auto former = vfs->xGetSystemCall(vfs, each.c_str());
    if (former == nullptr) continue;
    *own = reinterpret_cast<Call>(former);
    vfs->xSetSystemCall(vfs, each.c_str(), reinterpret_cast<sqlite3_syscall_ptr>(here));
  }
}

void ForgetErrors() { t_no_room = t_unreadable = 0; }

std::error_code CodeOf(int sqlite_code, int system_errno) {
  const int no_room = std::exchange(t_no_room, 0);
  const int unreadable = std::exchange(t_unreadable, 0);
  switch (sqlite_code & 0xff) {
    case SQLITE_FULL:
      return Errno(no_room != 0 ? no_room : ENOSPC);
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
      return Error::kCorrupt;
    case SQLITE_BUSY:
      return Errno(EBUSY);
    case SQLITE_NOMEM:
      return Errno(ENOMEM);
    case SQLITE_READONLY:
      return Errno(EROFS);
    case SQLITE_CANTOPEN:
      return system_errno != 0 ? Errno(system_errno) : make_error_code(Error::kStorage);
    case SQLITE_IOERR:
      if (no_room != 0) return Errno(no_room);
      if (system_errno == ENOSPC || system_errno == EDQUOT) return Errno(system_errno);
      if (unreadable != 0) return Errno(unreadable);
      return Error::kStorage;
    default:
      return Error::kStorage;
  }
}

}  // namespace

Statement::Statement(Statement&& other) noexcept
    : database_(other.database_),
      handle_(std::exchange(other.handle_, nullptr)),
      in_use_(std::exchange(other.in_use_, nullptr)),
      bound_(other.bound_) {}

Statement::~Statement() {
  if (handle_ == nullptr) return;
  if (in_use_ == nullptr) {
    sqlite3_finalize(handle_);
    return;
  }
  sqlite3_reset(handle_);
  sqlite3_clear_bindings(handle_);
  *in_use_ = false;
}

Statement& Statement::operator<<(std::int64_t value) {
  if (const int code = sqlite3_bind_int64(handle_, ++bound_, value); code != SQLITE_OK) {
    database_->Throw(code);
  }
  return *this;
}

Statement& Statement::operator<<(std::nullptr_t) {
  if (const int code = sqlite3_bind_null(handle_, ++bound_); code != SQLITE_OK) {
    database_->Throw(code);
  }
  return *this;
}

Statement& Statement::operator<<(std::string_view bytes) {
  // An empty view may have no address, which SQLite would take for NULL.
  const char* data = bytes.data() != nullptr ? bytes.data() : "";
  const int code = sqlite3_bind_blob64(handle_, ++bound_, data, bytes.size(), SQLITE_TRANSIENT);
  if (code != SQLITE_OK) database_->Throw(code);
  return *this;
}

bool Statement::Step() {
  ForgetErrors();  // of a checkpoint or a rollback, of which nobody asked why
  const int code = sqlite3_step(handle_);
  if (code == SQLITE_ROW) return true;
  if (code != SQLITE_DONE) database_->Throw(code);
  return false;
}

void Statement::Run() {
  while (Step()) {
  }
}

bool Statement::IsNull(int column) const {
  return sqlite3_column_type(handle_, column) == SQLITE_NULL;
}

std::int64_t Statement::Int(int column) const { return sqlite3_column_int64(handle_, column); }

std::string_view Statement::Bytes(int column) const {
  const auto* data = static_cast<const char*>(sqlite3_column_blob(handle_, column));
  const auto size = static_cast<std::size_t>(sqlite3_column_bytes(handle_, column));
  return data == nullptr ? std::string_view() : std::string_view(data, size);
}

void Statement::Copy(int column, unsigned char* to, std::size_t size) const {
  const std::string_view bytes = Bytes(column);
  if (bytes.size() != size) throw StorageFailure(Error::kCorrupt, "a stored id has a wrong length");
  std::memcpy(to, bytes.data(), size);
}

Result<std::unique_ptr<Database>> Database::Open(const std::filesystem::path& file, Mode mode) {
  // Its counting of memory takes a lock for every allocation. Too late if somebody else in this
  // process uses SQLite: then it counts.
  static const bool configured = [] {
    sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
    LeadHere("pread", &g_pread, &NotingPread);
    LeadHere("pwrite", &g_pwrite, &NotingPwrite);
    return true;
  }();
  (void)configured;
  ForgetErrors();
  sqlite3* handle = nullptr;
  // NOMUTEX: the catalogue sees to it that one thread uses a connection at a time.
  const int flags =
      SQLITE_OPEN_NOMUTEX |
      (mode == Mode::kReadOnly ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE);
  const int code = sqlite3_open_v2(file.c_str(), &handle, flags, kOneProcess);
  if (code != SQLITE_OK) {
    const auto error = CodeOf(code, handle != nullptr ? sqlite3_system_errno(handle) : 0);
    sqlite3_close_v2(handle);
    return error;
  }
  sqlite3_extended_result_codes(handle, 1);
  sqlite3_busy_timeout(handle, kBusyTimeoutMs);
  return std::unique_ptr<Database>(new Database(handle));
}

Database::~Database() {
  for (auto& [sql, cached] : cache_) {
    if (cached) sqlite3_finalize(cached->handle);  // not if it never compiled
  }
  sqlite3_close_v2(handle_);
}

sqlite3_stmt* Database::Compile(const char* sql, bool lasting) {
  ForgetErrors();
  sqlite3_stmt* handle = nullptr;
  const unsigned flags = lasting ? SQLITE_PREPARE_PERSISTENT : 0;
  const int code = sqlite3_prepare_v3(handle_, sql, -1, flags, &handle, nullptr);
  if (code != SQLITE_OK) Throw(code);
  return handle;
}

Statement Database::Prepare(Sql sql) {
  auto& cached = cache_[sql.text()];
  if (!cached) {
    auto fresh = std::make_unique<Cached>();
    fresh->handle = Compile(sql.text(), true);
    cached = std::move(fresh);
  }
  // The same question asked again while its first answer is still being read.
  if (cached->in_use) return {*this, Compile(sql.text(), false), nullptr};
  cached->in_use = true;
  return {*this, cached->handle, &cached->in_use};
}

void Database::Execute(const std::string& sql) {
  ForgetErrors();
  const int code = sqlite3_exec(handle_, sql.c_str(), nullptr, nullptr, nullptr);
  if (code != SQLITE_OK) Throw(code);
}

std::int64_t Database::Number(Sql sql) {
  auto statement = Prepare(sql);
  return statement.Step() ? statement.Int(0) : 0;
}

void Database::Throw(int code) {
  throw StorageFailure(CodeOf(code, sqlite3_system_errno(handle_)),
                       std::string("index: ") + sqlite3_errmsg(handle_));
}

Transaction::Transaction(Database& database, Kind kind) : database_(database) {
  database_.Prepare(kind == Kind::kWrite ? Sql("BEGIN IMMEDIATE") : Sql("BEGIN")).Run();
}

Transaction::~Transaction() {
  if (!open_) return;
  // SQLite itself has rolled back after some failures; then this says so, and all is well.
  sqlite3_exec(database_.handle(), "ROLLBACK", nullptr, nullptr, nullptr);
}

void Transaction::Commit() {
  database_.Prepare("COMMIT").Run();
  open_ = false;
}

}  // namespace btfc::index
