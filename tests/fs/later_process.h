// Work in processes of their own.
#pragma once

#include <sys/types.h>

#include <functional>

namespace btfc::fs::test {

// A process that is made now and works when it is told. To be made while this process has no other
// threads: the child of one that has may do system calls only. A lock that another thread held at
// the fork is locked in it for ever, and that of AddressSanitizer's allocator is such a lock.
class LaterProcess {
 public:
  // `work` runs as this user if not 0, and answers the exit status. `prepare` runs before, still as
  // root. What they refer to is what it is now. Neither may use GoogleTest.
  explicit LaterProcess(const std::function<int()>& work, unsigned uid = 0,
                        const std::function<void()>& prepare = {});
  // Who was not told does nothing.
  ~LaterProcess();
  LaterProcess(const LaterProcess&) = delete;
  LaterProcess& operator=(const LaterProcess&) = delete;

  // Once: lets it begin.
  void Tell();
  // Its exit status; -1 if it was killed, 98 if it threw, 99 if it could not become the user.
  int Wait();

 private:
  pid_t pid_ = -1;
  int told_ = -1;  // the end of a pipe that it waits for
};

// One that is told at once.
int InProcess(const std::function<int()>& work, unsigned uid = 0,
              const std::function<void()>& prepare = {});

}  // namespace btfc::fs::test
