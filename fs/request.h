// One request of the kernel, answered exactly once.
#pragma once

#define FUSE_USE_VERSION 314
#include <fuse_lowlevel.h>
#include <sys/statvfs.h>

#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string_view>
#include <utility>

#include "fs/files.h"
#include "index/result.h"

namespace btfc::fs {

// Owns the duty to answer. A request that is dropped unanswered answers EIO, so that no handler
// can leave an application hanging. May be moved to another thread. The methods that answer with
// something the kernel will hold (a lookup count, an open file) say whether the kernel took it:
// if not, the caller takes it back.
class Request {
 public:
  explicit Request(fuse_req_t request) : request_(request) {}
  ~Request();
  Request(Request&& other) noexcept : request_(std::exchange(other.request_, nullptr)) {}
  Request& operator=(Request&&) = delete;

  fuse_req_t get() const { return request_; }
  std::uint32_t uid() const { return fuse_req_ctx(request_)->uid; }
  std::uint32_t gid() const { return fuse_req_ctx(request_)->gid; }
  std::uint32_t umask() const { return fuse_req_ctx(request_)->umask; }
  // Whether the caller's groups, the supplementary ones too, have this one.
  bool InGroup(std::uint32_t group) const;

  // Called on a worker when the caller of the request was interrupted, with `data`; at once if
  // that has happened already. Not after the answer.
  void OnInterrupt(fuse_interrupt_func_t function, void* data) {
    fuse_req_interrupt_func(request_, function, data);
  }

  void Error(const std::error_code& code) { Error(ToErrno(code)); }
  void Error(int number) { fuse_reply_err(Take(), number); }
  void Done() { Error(0); }
  void None() { fuse_reply_none(Take()); }
  bool Entry(const fuse_entry_param& entry) { return fuse_reply_entry(Take(), &entry) == 0; }
  void Attributes(const struct stat& attributes, double timeout_s) {
    fuse_reply_attr(Take(), &attributes, timeout_s);
  }
  void Bytes(std::string_view bytes) { fuse_reply_buf(Take(), bytes.data(), bytes.size()); }
  // The same for what the kernel holds from then on.
  bool Payload(const void* bytes, std::size_t size) {
    return fuse_reply_buf(Take(), static_cast<const char*>(bytes), size) == 0;
  }
  bool Open(const fuse_file_info& info) { return fuse_reply_open(Take(), &info) == 0; }
  bool Create(const fuse_entry_param& entry, const fuse_file_info& info) {
    return fuse_reply_create(Take(), &entry, &info) == 0;
  }
  void Written(std::size_t count) { fuse_reply_write(Take(), count); }
  void XattrSize(std::size_t size) { fuse_reply_xattr(Take(), size); }
  void Link(const char* target) { fuse_reply_readlink(Take(), target); }
  void Statfs(const struct statvfs& figures) { fuse_reply_statfs(Take(), &figures); }
  void Offset(std::uint64_t offset) { fuse_reply_lseek(Take(), static_cast<off_t>(offset)); }

 private:
  fuse_req_t Take();
  fuse_req_t request_;
};

// A request that waits for a call of Files: answered by `reply` from whichever thread has the
// result, and cancelled when the caller is interrupted.
//
//   Parked<std::string>::Start(std::move(request), reply, interrupt,
//       [&](auto done) { return files.Read(handle, offset, size, done); });
//
// The interrupt function gets the ticket as its data: a number, not a pointer, so that one that
// comes late points at nothing.
template <class T>
class Parked : public std::enable_shared_from_this<Parked<T>> {
 public:
  using Reply = std::function<void(Request, Result<T>)>;

  template <class Call>
  static void Start(Request request, Reply reply, fuse_interrupt_func_t interrupt, Call&& call) {
    auto parked = std::make_shared<Parked>(std::move(request), std::move(reply));
    const Files::Ticket ticket =
        call([parked](Result<T> result) { parked->Finish(std::move(result)); });
    parked->Arm(ticket, interrupt);
  }

  Parked(Request request, Reply reply) : request_(std::move(request)), reply_(std::move(reply)) {}

 private:
  void Finish(Result<T> result) {
    {
      const std::lock_guard lock(mutex_);
      if (arming_) {
        // Arm answers: the request must live until fuse_req_interrupt_func has returned.
        early_.emplace(std::move(result));
        return;
      }
    }
    reply_(std::move(request_), std::move(result));
  }

  void Arm(Files::Ticket ticket, fuse_interrupt_func_t interrupt) {
    if (ticket != 0) {
      // May call `interrupt` before it returns, which may lead to Finish: no lock held.
      request_.OnInterrupt(interrupt, reinterpret_cast<void*>(ticket));  // NOLINT
    }
    {
      const std::lock_guard lock(mutex_);
      arming_ = false;
      if (!early_) return;
    }
    reply_(std::move(request_), std::move(*early_));
  }

  std::mutex mutex_;
  bool arming_ = true;              // guarded by mutex_
  std::optional<Result<T>> early_;  // guarded by mutex_ while arming_
  Request request_;
  Reply reply_;
};

}  // namespace btfc::fs
