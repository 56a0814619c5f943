#include "fs/kernel_backing.h"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <string>

namespace btfc::fs {
namespace {

// Protocol 7.40; not in the headers of Debian 12.
struct BackingMap {
  std::int32_t fd;
  std::uint32_t flags;
  std::uint64_t padding;
};
constexpr unsigned kFuseDevice = 229;
const unsigned long kBackingOpen = _IOW(kFuseDevice, 1, BackingMap);
const unsigned long kBackingClose = _IOW(kFuseDevice, 2, std::uint32_t);

class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return fd_; }

 private:
  const int fd_;
};

}  // namespace

Result<int> KernelBacking::Register(int fd) {
  BackingMap map{fd, 0, 0};
  const int id = ::ioctl(device_, kBackingOpen, &map);
  if (id < 0) return Errno(errno);
  return id;
}

void KernelBacking::Unregister(int backing_id) {
  auto id = static_cast<std::uint32_t>(backing_id);
  ::ioctl(device_, kBackingClose, &id);
}

Result<void> KernelBacking::Probe(const std::filesystem::path& folder) {
  std::string name = (folder / ".probe-XXXXXX").string();
  const Descriptor writer(::mkostemp(name.data(), O_CLOEXEC));
  if (writer.get() < 0) return Errno(errno);
  const Descriptor file(::open(name.c_str(), O_RDONLY | O_CLOEXEC));
  const int problem = errno;
  ::unlink(name.c_str());
  if (file.get() < 0) return Errno(problem);
  BTFC_TRY(id, Register(file.get()));
  Unregister(id);
  return Ok();
}

}  // namespace btfc::fs
