// A mount that an ordinary user made through fusermount3, let others into, and answers for in a
// process of its own.
#pragma once

#include <sys/types.h>

#include <filesystem>
#include <functional>
#include <string>

#include "mounted.h"

namespace btfc::fs::test {

// Made before the test has threads. The mount lives in a mount namespace of its own, with a
// /dev/fuse for everybody, a name for the user, and a fuse.conf that lets users let others in.
class UserMount {
 public:
  explicit UserMount(unsigned uid);
  ~UserMount();
  UserMount(const UserMount&) = delete;
  UserMount& operator=(const UserMount&) = delete;

  bool ok() const { return ok_; }
  std::filesystem::path root() const { return folder_ / "mnt"; }
  // In a process of its own: as root, into the namespace where the mount is.
  std::function<void()> Enter() const;

 private:
  void Serve(unsigned uid, int ready, int until) const;
  // In the namespace of the mount only.
  void Replace(const std::string& file, const std::string& bytes) const;

  TempFolder folder_;
  TempFolder scratch_;
  pid_t keeper_ = -1;
  int until_ = -1;  // the keeper goes on as long as this end of a pipe is open
  bool ok_ = false;
};

}  // namespace btfc::fs::test
