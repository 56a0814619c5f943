// The libfuse session over a /dev/fuse descriptor, and the threads that answer the kernel.
#pragma once

#define FUSE_USE_VERSION 314
#include <fuse_lowlevel.h>
#include <pthread.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "fs/follower.h"
#include "fs/init_shim.h"
#include "fs/mount_point.h"
#include "fs/turns.h"
#include "index/result.h"

namespace btfc::fs {

// Whether the next request is likely to come so soon that it costs less to look for it again and
// again than to sleep and be woken: with programs that do one call after the other it is.
class Expectation {
 public:
  // How long to look at most.
  std::chrono::nanoseconds Patience() const;
  void Came(std::chrono::nanoseconds after);

 private:
  int misses_ = 0;
  int hits_ = 0;
};

// Handlers get the Session's `user` through User<T>(request).
class Session {
 public:
  // `mount_point` must outlive the session.
  static Result<std::unique_ptr<Session>> Make(MountPoint& mount_point,
                                               const fuse_lowlevel_ops& operations, void* user,
                                               std::string* why);
  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  // Receives and answers the kernel's INIT, which waits since mount(2), on the calling thread.
  Result<void> Handshake(std::string* why);
  // Answers requests on `workers` threads; returns when all have ended: the filesystem was
  // unmounted, or Stop was called. The connection is ended then, whoever still has files open.
  // `ready` is called when the threads are there.
  void Run(unsigned workers, const std::function<void()>& ready);
  // Unmounts. If files are in use it waits for the last one up to `grace`, then ends anyway.
  // From any thread but a worker's; Run may not have been called.
  void Stop(std::chrono::milliseconds grace);

  const InitShim& shim() const { return shim_; }
  fuse_session* get() { return session_; }

  template <class T>
  static T* User(fuse_req_t request) {
    return static_cast<T*>(static_cast<Session*>(fuse_req_userdata(request))->user_);
  }
  template <class T>
  static T* UserOf(void* userdata) {
    return static_cast<T*>(static_cast<Session*>(userdata)->user_);
  }

 private:
  Session(MountPoint& mount_point, void* user) : mount_point_(mount_point), user_(user) {}
  void Work(unsigned number);
  bool Wanted() const { return !stopping_ && fuse_session_exited(session_) == 0; }
  // Reads a request, waits for it if there is none. Without the turn no worker calls it.
  int Receive(fuse_buf* buffer);

  MountPoint& mount_point_;
  void* const user_;
  InitShim shim_;
  fuse_session* session_ = nullptr;
  std::atomic<bool> stopping_{false};
  Turns turns_;
  Expectation expectation_;  // of the worker that has the turn
  Follower follower_;        // and this

  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<pthread_t> workers_;  // those that have not ended; guarded by mutex_
};

}  // namespace btfc::fs
