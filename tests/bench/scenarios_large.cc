// Scenarios of one large file.
#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include "scenarios.h"

namespace btfc::bench {
namespace {

using cluster::RandomBytes;
using cluster::WriteFile;

constexpr std::size_t kLarge = 128 * kMiB;
constexpr std::size_t kPatch = 64 * 1024;
constexpr std::size_t kPatchOffset = 50 * kMiB;

bool HasPatch(const std::filesystem::path& file, const std::string& bytes) {
  const int fd = open(file.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return false;
  std::string part(bytes.size(), '\0');
  const bool same =
      pread(fd, part.data(), part.size(), kPatchOffset) == static_cast<ssize_t>(part.size()) &&
      part == bytes;
  close(fd);
  return same;
}

}  // namespace

std::vector<Figure> FanOut(const MakeCluster& make) {
  const auto hosts = make(4);
  hosts->Start();
  for (std::size_t i = 0; i < 4; ++i) hosts->machine(i).Shape("200mbit");
  const auto sent = hosts->machine(0).SentBytes();
  const auto bytes = RandomBytes(kLarge, 1);
  WriteFile(hosts->folder(0) / "large", bytes);
  const auto start = Clock::now();
  AwaitEverywhere(*hosts, "large", kLarge);
  const double took = Seconds(Clock::now() - start);
  const double bound = BoundSeconds(kLarge, 200);
  const double copies =
      static_cast<double>(hosts->machine(0).SentBytes() - sent) / static_cast<double>(kLarge);
  return {
      {"128 MiB to 3 hosts at 200 Mbit/s", fmt::format("{:.2f} s", bound), "1.15 x",
       fmt::format("{:.2f} s", took),
       fmt::format("{:.2f} of the bound; the origin sent {:.2f} copies", took / bound, copies)}};
}

std::vector<Figure> Delta(const MakeCluster& make) {
  const auto hosts = make(4);
  hosts->Start();
  WriteFile(hosts->folder(0) / "large", RandomBytes(kLarge, 1));
  AwaitEverywhere(*hosts, "large", kLarge);
  for (std::size_t i = 0; i < 4; ++i) hosts->machine(i).Shape("200mbit");
  const auto received = hosts->machine(1).ReceivedBytes();
  const auto bytes = RandomBytes(kPatch, 2);
  const int fd = open((hosts->folder(0) / "large").c_str(), O_WRONLY | O_CLOEXEC);
  Need(fd >= 0 && pwrite(fd, bytes.data(), kPatch, kPatchOffset) == ssize_t{kPatch}, "pwrite");
  close(fd);
  const auto start = Clock::now();
  for (std::size_t i = 1; i < 4; ++i) {
    Await([&] { return HasPatch(hosts->folder(i) / "large", bytes); }, "the change never came");
  }
  for (std::size_t i = 0; i < 4; ++i) {
    Await([&] { return hosts->Complete(i); }, "the change is never complete");
  }
  const double took = Seconds(Clock::now() - start);
  return {{"64 KiB changed in 128 MiB, on 3 others",
           fmt::format("{:.0f} ms", BoundSeconds(kPatch, 200) * 1000), "0.5 s",
           fmt::format("{:.2f} s", took),
           fmt::format("{} KiB received by a host",
                       (hosts->machine(1).ReceivedBytes() - received) / 1024)}};
}

std::vector<Figure> LateJoiner(const MakeCluster& make) {
  const auto hosts = make(3);
  hosts->Start();
  WriteFile(hosts->folder(0) / "large", RandomBytes(kLarge, 1));
  AwaitEverywhere(*hosts, "large", kLarge);
  for (std::size_t i = 0; i < 3; ++i) hosts->machine(i).Shape("50mbit");
  std::vector<std::uint64_t> sent;
  for (std::size_t i = 0; i < 3; ++i) sent.push_back(hosts->machine(i).SentBytes());
  hosts->Invite();
  const auto start = Clock::now();
  hosts->StartLate();
  Await([&] { return Readable(hosts->folder(3) / "large", kLarge) && hosts->Complete(3); },
        "never complete");
  const double took = Seconds(Clock::now() - start);
  const double bound = BoundSeconds(kLarge, 150);
  std::string shares;
  for (std::size_t i = 0; i < 3; ++i) {
    shares +=
        fmt::format(" {:.0f}", static_cast<double>(hosts->machine(i).SentBytes() - sent[i]) / kMiB);
  }
  return {{"joining late, 128 MiB, 3 holders at 50 Mbit/s", fmt::format("{:.2f} s", bound),
           "1.15 x", fmt::format("{:.2f} s", took),
           fmt::format("{:.2f} of the bound; MiB from each:{}", took / bound, shares)}};
}

}  // namespace btfc::bench
