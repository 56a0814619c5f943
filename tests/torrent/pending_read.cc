#include "pending_read.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <chrono>

namespace btfc::torrent {
namespace {

constexpr std::chrono::seconds kPatience{60};
constexpr auto kReady = std::future_status::ready;

}  // namespace

PendingRead::PendingRead(TestHost& host, const index::ContentId& id, std::size_t offset,
                         std::size_t length)
    : number_(host.swarm->Read(id, offset, length, [promise = promise_](Result<void> result) {
        promise->set_value(result ? std::error_code() : result.error());
      })) {}

bool PendingRead::waiting() { return answer_.wait_for(std::chrono::milliseconds(200)) != kReady; }

std::error_code PendingRead::Wait() {
  return answer_.wait_for(kPatience) == kReady ? answer_.get()
                                               : std::make_error_code(std::errc::timed_out);
}

std::string Pread(TestHost& host, const index::ContentId& id, std::size_t offset,
                  std::size_t length) {
  int fd = ::open(host.objects->PartialPath(id).c_str(), O_RDONLY);
  if (fd < 0 && host.objects->Find(id)) fd = ::open(host.objects->Find(id)->c_str(), O_RDONLY);
  std::string bytes(length, '\0');
  const ssize_t n = ::pread(fd, bytes.data(), length, static_cast<off_t>(offset));
  ::close(fd);
  bytes.resize(n > 0 ? static_cast<std::size_t>(n) : 0);
  return bytes;
}

void TakeBack(TestHost& host, const index::ContentId& id) {
  std::promise<void> withdrawn;
  host.swarm->Withdraw(id, [&] { withdrawn.set_value(); });
  withdrawn.get_future().wait();
  host.objects->Remove(id);
}

std::vector<index::Hash> PiecesOf(TestHost& host, const index::ContentId& id) {
  const int fd = ::open(host.objects->Find(id)->c_str(), O_RDONLY);
  auto hashed = index::HashFile(fd, [] { return false; });
  ::close(fd);
  EXPECT_TRUE(hashed);
  return hashed ? std::move(hashed.value().pieces) : std::vector<index::Hash>();
}

bool CanClone(const std::filesystem::path& from, const std::filesystem::path& to) {
  const int in = ::open(from.c_str(), O_RDONLY);
  const int out = ::open(to.c_str(), O_RDWR | O_CREAT, 0600);
  const bool cloned = ::ioctl(out, FICLONE, in) == 0;
  ::close(in);
  ::close(out);
  return cloned;
}

}  // namespace btfc::torrent
