// Scenarios that only btfc has, or that need but one host.
#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include "scenarios.h"

namespace btfc::bench {
namespace {

using cluster::RandomBytes;
using cluster::WriteFile;

// Write with fsync, then, when `quiet` says that nothing else goes on, read; in MiB/s.
std::pair<double, double> WriteAndRead(const std::filesystem::path& file, const std::string& block,
                                       const std::function<bool()>& quiet) {
  constexpr int kBlocks = 1024;
  auto start = Clock::now();
  int fd = open(file.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  for (int i = 0; i < kBlocks; ++i) {
    Need(write(fd, block.data(), block.size()) == static_cast<ssize_t>(block.size()), "write");
  }
  Need(fsync(fd) == 0, "fsync");
  const double write_speed = kBlocks / Seconds(Clock::now() - start);
  close(fd);
  Await(quiet, "never quiet");
  std::string into(block.size(), '\0');
  fd = open(file.c_str(), O_RDONLY | O_CLOEXEC);
  start = Clock::now();
  for (int i = 0; i < kBlocks; ++i) Need(read(fd, into.data(), into.size()) > 0, "read");
  const double read_speed = kBlocks / Seconds(Clock::now() - start);
  close(fd);
  unlink(file.c_str());
  return {write_speed, read_speed};
}

}  // namespace

std::vector<Figure> RandomReads(const MakeCluster& make) {
  constexpr std::size_t kSize = 128 * kMiB;
  const auto hosts = make(2);
  hosts->Start();
  hosts->machine(1).Shape("80mbit");
  const auto bytes = RandomBytes(kSize, 1);
  WriteFile(hosts->folder(0) / "large", bytes);
  Await([&] { return Readable(hosts->folder(1) / "large", kSize); }, "no name");
  const int fd = open((hosts->folder(1) / "large").c_str(), O_RDONLY | O_CLOEXEC);
  std::vector<double> milliseconds;
  for (int i = 0; i < 20; ++i) {
    const auto offset = (static_cast<std::size_t>(i) * 53 + 17) % 128 * kMiB + 1234;
    std::string part(4096, '\0');
    const auto start = Clock::now();
    Need(pread(fd, part.data(), part.size(), static_cast<off_t>(offset)) == 4096, "pread");
    milliseconds.push_back(Seconds(Clock::now() - start) * 1000);
    Need(part == bytes.substr(offset, 4096), "wrong bytes");
  }
  close(fd);
  return {{"random offset of a file still arriving", "", "150 ms",
           fmt::format("{:.0f} ms", Percentile(milliseconds, 0.5)),
           fmt::format("p50 at 80 Mbit/s; p95 {:.0f} ms", Percentile(milliseconds, 0.95))}};
}

std::vector<Figure> Sequential(const MakeCluster& make) {
  const auto hosts = make(1);
  hosts->Start();
  const auto block = RandomBytes(kMiB, 1);
  std::vector<double> write_ratios, read_ratios;
  for (int round = 0; round < 5; ++round) {
    const auto native =
        WriteAndRead(hosts->machine(0).folder() / "native", block, [] { return true; });
    const auto ours =
        WriteAndRead(hosts->folder(0) / "ours", block, [&] { return hosts->Complete(0); });
    write_ratios.push_back(ours.first / native.first);
    read_ratios.push_back(ours.second / native.second);
  }
  return {{"1 GiB write + fsync, of native", "", "0.95",
           fmt::format("{:.2f}", Percentile(write_ratios, 0.5)), "median of 5 pairs"},
          {"1 GiB read, of native", "", "0.95", fmt::format("{:.2f}", Percentile(read_ratios, 0.5)),
           "median of 5 pairs, hot"}};
}

}  // namespace btfc::bench
