// SQLite behind types that cannot be forgotten: a statement is reset when it goes out of scope, a
// transaction is rolled back unless it was committed.
//
// Failures of the database are thrown as StorageFailure and caught where a catalogue call begins:
// nothing in between could do more than pass them on. They never leave index/.
#pragma once

#include <sqlite3.h>

#include <array>
#include <cstdint>
#include <exception>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>

#include "index/ids.h"
#include "index/result.h"

namespace btfc::index {

class StorageFailure : public std::exception {
 public:
  StorageFailure(std::error_code code, std::string what) : code_(code), what_(std::move(what)) {}
  const std::error_code& code() const noexcept { return code_; }
  const char* what() const noexcept override { return what_.c_str(); }

 private:
  std::error_code code_;
  std::string what_;
};

class Database;

// Parameters are put in with <<, in order; columns are read by their number from 0 after Step
// answered true. Views of bytes hold until the next Step.
class Statement {
 public:
  Statement(Statement&& other) noexcept;
  Statement(const Statement&) = delete;
  Statement& operator=(const Statement&) = delete;
  Statement& operator=(Statement&&) = delete;
  ~Statement();

  Statement& operator<<(std::int64_t value);
  Statement& operator<<(std::uint64_t value) { return *this << static_cast<std::int64_t>(value); }
  Statement& operator<<(std::uint32_t value) { return *this << static_cast<std::int64_t>(value); }
  Statement& operator<<(int value) { return *this << static_cast<std::int64_t>(value); }
  Statement& operator<<(bool value) { return *this << static_cast<std::int64_t>(value); }
  Statement& operator<<(std::nullptr_t);
  Statement& operator<<(std::string_view bytes);  // a BLOB
  Statement& operator<<(const std::string& bytes) { return *this << std::string_view(bytes); }
  Statement& operator<<(const char*) = delete;
  template <std::size_t kSize>
  Statement& operator<<(const std::array<std::uint8_t, kSize>& bytes) {
    return *this << std::string_view(reinterpret_cast<const char*>(bytes.data()), kSize);
  }
  template <class Tag>
  Statement& operator<<(const Id<Tag>& id) {
    return *this << id.bytes;
  }
  template <class T>
  Statement& operator<<(const std::optional<T>& value) {
    return value ? *this << *value : *this << nullptr;
  }

  bool Step();
  void Run();  // to its end; for statements that answer nothing

  bool IsNull(int column) const;
  std::int64_t Int(int column) const;
  std::uint64_t Unsigned(int column) const { return static_cast<std::uint64_t>(Int(column)); }
  std::string_view Bytes(int column) const;
  std::string String(int column) const { return std::string(Bytes(column)); }
  // Throws Error::kCorrupt if the column has another length.
  template <class T>
  T Fixed(int column) const {
    T value{};
    Copy(column, reinterpret_cast<unsigned char*>(&value), sizeof(value));
    return value;
  }

 private:
  friend class Database;
  Statement(Database& database, sqlite3_stmt* handle, bool* in_use)
      : database_(&database), handle_(handle), in_use_(in_use) {}
  void Copy(int column, unsigned char* to, std::size_t size) const;

  Database* database_;
  sqlite3_stmt* handle_;
  bool* in_use_;  // of the cache's entry; nullptr: not from the cache
  int bound_ = 0;
};

// The text of a statement. Its address is its name in the cache of statements, so it has to be
// there for ever and to be the same for ever: what is not a constant does not compile.
class Sql {
 public:
  consteval Sql(const char* text) : text_(text) {}  // NOLINT(google-explicit-constructor)
  constexpr const char* text() const { return text_; }

 private:
  const char* text_;
};

// One connection with its prepared statements. One thread at a time.
class Database {
 public:
  // Only a foreign program with the file open makes anybody wait.
  static constexpr int kBusyTimeoutMs = 2000;

  enum class Mode { kReadWrite, kReadOnly };
  static Result<std::unique_ptr<Database>> Open(const std::filesystem::path& file, Mode mode);
  ~Database();
  Database(const Database&) = delete;
  Database& operator=(const Database&) = delete;

  Statement Prepare(Sql sql);
  void Execute(const std::string& sql);  // any number of statements
  std::int64_t Number(Sql sql);          // the first column of the first row
  std::int64_t last_insert_id() const { return sqlite3_last_insert_rowid(handle_); }
  sqlite3* handle() { return handle_; }
  [[noreturn]] void Throw(int code);

 private:
  struct Cached {
    sqlite3_stmt* handle = nullptr;
    bool in_use = false;
  };
  explicit Database(sqlite3* handle) : handle_(handle) {}
  sqlite3_stmt* Compile(const char* sql, bool lasting);

  sqlite3* handle_;
  std::unordered_map<const char*, std::unique_ptr<Cached>> cache_;
};

class Transaction {
 public:
  enum class Kind { kRead, kWrite };
  Transaction(Database& database, Kind kind);
  ~Transaction();
  Transaction(const Transaction&) = delete;
  Transaction& operator=(const Transaction&) = delete;
  void Commit();

 private:
  Database& database_;
  bool open_ = true;
};

}  // namespace btfc::index
