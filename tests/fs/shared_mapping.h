// A shared mapping of a file on a mount of the test's own process.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <string>
#include <string_view>

namespace btfc::fs::test {

// The mapping lives in a child. A process that maps a file which its own threads serve waits for
// itself: the kernel reads and writes the pages with the lock of the address space held, and a
// thread that answers may need that lock to grow the heap.
//
// One thread at a time. What fails answers an errno.
class SharedMapping {
 public:
  // Maps the first `size` bytes of `fd`. From here on the child has no descriptor of any file.
  SharedMapping(int fd, std::size_t size, int protection);
  SharedMapping(const SharedMapping&) = delete;
  SharedMapping& operator=(const SharedMapping&) = delete;
  ~SharedMapping();  // unmaps

  int error() const { return error_; }
  // Up to 4096 bytes in one call.
  std::string Read(std::size_t offset, std::size_t length);
  int Store(std::size_t offset, std::string_view bytes);
  int Sync();
  int Unmap();

 private:
  int Ask(char operation, std::size_t offset, std::string_view bytes);

  pid_t child_ = -1;
  int channel_ = -1;
  int error_ = 0;
};

}  // namespace btfc::fs::test
