// The figures that btfc promises, measured between real mounts in network namespaces, each beside
// its bound: the time that the bytes alone need on the links.
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <functional>
#include <map>
#include <stdexcept>
#include <string>
#include <vector>

#include "lab.h"

namespace btfc::cluster {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::size_t kMiB = 1024 * 1024;
constexpr auto kPatience = std::chrono::seconds(120);

double Seconds(Clock::duration time) { return std::chrono::duration<double>(time).count(); }

double BoundSeconds(double bytes, double mbit_per_s) { return bytes * 8 / (mbit_per_s * 1e6); }

void Need(bool condition, const std::string& what) {
  if (!condition) throw std::runtime_error(what);
}

// One line of the report.
void Print(const std::string& what, const std::string& figure, const std::string& beside) {
  fmt::print("{:<46} {:>14}   {}\n", what, figure, beside);
  std::fflush(stdout);
}

bool Readable(const std::filesystem::path& file, std::size_t size) {
  struct stat status {};
  return stat(file.c_str(), &status) == 0 && static_cast<std::size_t>(status.st_size) == size;
}

// All of the objects are on the disks of all hosts, as their status says.
void AwaitEverywhere(Lab& lab, const std::string& what) {
  for (std::size_t i = 0; i < lab.size(); ++i) {
    Need(Eventually([&] { return lab[i].Complete(); }, kPatience), what + ": never complete");
  }
}

double Percentile(std::vector<double> values, double share) {
  std::sort(values.begin(), values.end());
  return values.at(static_cast<std::size_t>(share * static_cast<double>(values.size() - 1)));
}

void Latency() {
  Lab lab(2);
  Need(lab.StartAll(), "hosts do not start");
  std::vector<double> milliseconds;
  for (int i = 0; i < 200; ++i) {
    const auto name = "file" + std::to_string(i);
    const auto bytes = RandomBytes(4096, static_cast<unsigned>(i));
    WriteFile(lab[0] / name, bytes);
    const auto start = Clock::now();
    Need(Eventually([&] { return ReadFile(lab[1] / name) == bytes; }, kPatience),
         "a file never came");
    milliseconds.push_back(Seconds(Clock::now() - start) * 1000);
  }
  Print("4 KiB closed here, readable there",
        fmt::format("{:.1f} ms p50", Percentile(milliseconds, 0.5)),
        fmt::format("p95 {:.1f} ms; polled every 2 ms; at least 5 ms p50 wanted",
                    Percentile(milliseconds, 0.95)));
}

void FanOut() {
  Lab lab(4);
  Need(lab.StartAll(), "hosts do not start");
  for (std::size_t i = 0; i < 4; ++i) lab[i].Shape("200mbit");
  const auto sent = lab[0].SentBytes();
  const auto bytes = RandomBytes(128 * kMiB, 1);
  WriteFile(lab[0] / "large", bytes);
  const auto start = Clock::now();
  for (int i = 1; i < 4; ++i) {
    Need(Eventually([&] { return Readable(lab[i] / "large", bytes.size()); }, kPatience),
         "no name");
  }
  AwaitEverywhere(lab, "fan-out");
  const double took = Seconds(Clock::now() - start);
  const double bound = BoundSeconds(128.0 * kMiB, 200);
  Print("128 MiB to 3 hosts at 200 Mbit/s", fmt::format("{:.2f} s", took),
        fmt::format(
            "{:.2f} of the bound {:.2f} s; the origin sent {:.2f} copies; 1.15 wanted",
            took / bound, bound,
            static_cast<double>(lab[0].SentBytes() - sent) / static_cast<double>(bytes.size())));
}

void SmallFiles() {
  Lab lab(4);
  Need(lab.StartAll(), "hosts do not start");
  for (std::size_t i = 0; i < 4; ++i) lab[i].Shape("200mbit");
  const auto start = Clock::now();
  for (int i = 0; i < 3000; ++i) {
    WriteFile(lab[0] / ("f" + std::to_string(i)), RandomBytes(4096, static_cast<unsigned>(i)));
  }
  const double written = Seconds(Clock::now() - start);
  for (int i = 1; i < 4; ++i) {
    Need(Eventually(
             [&] {
               const auto status = lab[i].Status();
               return !status.empty() && status["files"] == 3000;
             },
             kPatience),
         "files never came");
  }
  const double took = Seconds(Clock::now() - start);
  Print("3,000 x 4 KiB on 3 other hosts", fmt::format("{:.2f} s", took),
        fmt::format("writing them took {:.2f} s of it; bound 1.5 s, 2 s wanted", written));
}

void RenameAndDelete() {
  Lab lab(4);
  Need(lab.StartAll(), "hosts do not start");
  Need(mkdir((lab[0] / "folder").c_str(), 0755) == 0, "mkdir");
  for (int i = 0; i < 200; ++i)
    WriteFile(lab[0] / ("folder/f" + std::to_string(i)), RandomBytes(4096, i));
  AwaitEverywhere(lab, "files");
  const auto sent = lab[0].SentBytes();
  const auto everywhere = [&](const std::string& name, bool there) {
    for (int i = 1; i < 4; ++i) {
      Need(Eventually([&] { return (access((lab[i] / name).c_str(), F_OK) == 0) == there; },
                      kPatience),
           name);
    }
  };
  auto start = Clock::now();
  Need(rename((lab[0] / "folder").c_str(), (lab[0] / "renamed").c_str()) == 0, "rename");
  everywhere("renamed/f7", true);
  Print("folder of 200 files renamed, seen by 3",
        fmt::format("{:.1f} ms", Seconds(Clock::now() - start) * 1000),
        fmt::format("{} bytes sent; 20 ms wanted", lab[0].SentBytes() - sent));
  start = Clock::now();
  Need(unlink((lab[0] / "renamed/f7").c_str()) == 0, "unlink");
  everywhere("renamed/f7", false);
  Print("file deleted, seen by 3", fmt::format("{:.1f} ms", Seconds(Clock::now() - start) * 1000),
        "20 ms wanted");
}

void Delta() {
  Lab lab(4);
  Need(lab.StartAll(), "hosts do not start");
  WriteFile(lab[0] / "large", RandomBytes(128 * kMiB, 1));
  AwaitEverywhere(lab, "the first version");
  for (std::size_t i = 0; i < 4; ++i) lab[i].Shape("200mbit");
  const auto received = lab[1].ReceivedBytes();
  const auto bytes = RandomBytes(64 * 1024, 2);
  const auto start = Clock::now();
  const int fd = open((lab[0] / "large").c_str(), O_WRONLY);
  Need(fd >= 0 && pwrite(fd, bytes.data(), bytes.size(), 50 * kMiB) == 65536, "pwrite");
  close(fd);
  for (int i = 1; i < 4; ++i) {
    Need(Eventually(
             [&] {
               const int other = open((lab[i] / "large").c_str(), O_RDONLY);
               std::string part(bytes.size(), '\0');
               const bool same =
                   pread(other, part.data(), part.size(), 50 * kMiB) == 65536 && part == bytes;
               close(other);
               return same;
             },
             kPatience),
         "the change never came");
  }
  AwaitEverywhere(lab, "the change");
  Print("64 KiB changed in 128 MiB, on 3 others",
        fmt::format("{:.2f} s", Seconds(Clock::now() - start)),
        fmt::format("{} KiB received by a host; 0.5 s wanted",
                    (lab[1].ReceivedBytes() - received) / 1024));
}

void LateJoiner() {
  Lab lab(3);
  Need(lab.StartAll(), "hosts do not start");
  WriteFile(lab[0] / "large", RandomBytes(128 * kMiB, 1));
  AwaitEverywhere(lab, "the first three");
  for (std::size_t i = 0; i < 3; ++i) lab[i].Shape("50mbit");
  std::vector<std::uint64_t> sent;
  for (std::size_t i = 0; i < 3; ++i) sent.push_back(lab[i].SentBytes());
  auto& late = lab.Add();
  lab.ShareKey(late);
  const auto start = Clock::now();
  Need(late.Start(), "the late host does not start");
  Need(Eventually([&] { return Readable(late / "large", 128 * kMiB) && late.Complete(); },
                  kPatience),
       "never complete");
  const double took = Seconds(Clock::now() - start);
  const double bound = BoundSeconds(128.0 * kMiB, 150);
  std::string shares;
  for (std::size_t i = 0; i < 3; ++i) {
    shares += fmt::format(" {:.0f}", static_cast<double>(lab[i].SentBytes() - sent[i]) / kMiB);
  }
  Print("joining late, 128 MiB, 3 holders at 50 Mbit/s", fmt::format("{:.2f} s", took),
        fmt::format("{:.2f} of the bound {:.2f} s; MiB from each:{}; 1.15 wanted", took / bound,
                    bound, shares));
}

void RandomReads() {
  Lab lab(2);
  Need(lab.StartAll(), "hosts do not start");
  lab[1].Shape("80mbit");
  const auto bytes = RandomBytes(128 * kMiB, 1);
  WriteFile(lab[0] / "large", bytes);
  Need(Eventually([&] { return Readable(lab[1] / "large", bytes.size()); }, kPatience), "no name");
  const int fd = open((lab[1] / "large").c_str(), O_RDONLY);
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
  Print("random offset of a file still arriving",
        fmt::format("{:.0f} ms p50", Percentile(milliseconds, 0.5)),
        fmt::format("p95 {:.0f} ms, at 80 Mbit/s; 150 ms wanted", Percentile(milliseconds, 0.95)));
}

void Heal() {
  Lab lab(2);
  Need(lab.StartAll(), "hosts do not start");
  WriteFile(lab[0] / "file", "first");
  AwaitEverywhere(lab, "the first version");
  lab[1].SetLink(false);
  Need(Eventually([&] { return !lab[0].Connected() && !lab[1].Connected(); }, kPatience),
       "still connected");
  WriteFile(lab[0] / "file", "from one");
  WriteFile(lab[1] / "file", "from two");
  lab[1].SetLink(true);
  const auto start = Clock::now();
  Need(Eventually(
           [&] { return lab[0].Status()["conflicts"] == 1 && lab[1].Status()["conflicts"] == 1; },
           kPatience),
       "never settled");
  const double took = Seconds(Clock::now() - start);
  Need(Describe(lab[0].mount()) == Describe(lab[1].mount()), "the trees differ");
  Print("conflict settled after the link is back", fmt::format("{:.2f} s", took), "10 s wanted");
}

// Write with fsync, then, when `quiet` says that nothing else goes on, read; in MiB/s.
std::pair<double, double> Sequential(const std::filesystem::path& file, const std::string& block,
                                     const std::function<bool()>& quiet) {
  constexpr int kBlocks = 1024;
  auto start = Clock::now();
  int fd = open(file.c_str(), O_RDWR | O_CREAT | O_TRUNC, 0644);
  for (int i = 0; i < kBlocks; ++i) {
    Need(write(fd, block.data(), block.size()) == static_cast<ssize_t>(block.size()), "write");
  }
  Need(fsync(fd) == 0, "fsync");
  const double write_speed = kBlocks / Seconds(Clock::now() - start);
  close(fd);
  Need(Eventually(quiet, kPatience), "never quiet");
  std::string into(block.size(), '\0');
  fd = open(file.c_str(), O_RDONLY);
  start = Clock::now();
  for (int i = 0; i < kBlocks; ++i) Need(read(fd, into.data(), into.size()) > 0, "read");
  const double read_speed = kBlocks / Seconds(Clock::now() - start);
  close(fd);
  unlink(file.c_str());
  return {write_speed, read_speed};
}

void SequentialLocal() {
  Lab lab(1);
  Need(lab[0].Start(), "the host does not start");
  const auto block = RandomBytes(kMiB, 1);
  std::vector<double> write_ratios, read_ratios;
  for (int round = 0; round < 5; ++round) {
    const auto native = Sequential(lab[0].folder() / "native", block, [] { return true; });
    const auto ours = Sequential(lab[0] / "ours", block, [&] { return lab[0].Complete(); });
    write_ratios.push_back(ours.first / native.first);
    read_ratios.push_back(ours.second / native.second);
  }
  Print("1 GiB write + fsync, of native", fmt::format("{:.2f}", Percentile(write_ratios, 0.5)),
        "median of 5 pairs; 0.95 wanted");
  Print("1 GiB read, of native", fmt::format("{:.2f}", Percentile(read_ratios, 0.5)),
        "median of 5 pairs, hot; 0.95 wanted");
}

const std::map<std::string, std::function<void()>> kScenarios = {
    {"latency", Latency},        {"fanout", FanOut},     {"small", SmallFiles},
    {"rename", RenameAndDelete}, {"heal", Heal},         {"delta", Delta},
    {"late", LateJoiner},        {"reads", RandomReads}, {"sequential", SequentialLocal}};

int Main(const std::vector<std::string>& names) {
  if (const auto why = WhyNoLab()) {
    fmt::print(stderr, "bench: {}\n", *why);
    return 1;
  }
  int code = 0;
  for (const auto& [name, run] : kScenarios) {
    if (!names.empty() && std::find(names.begin(), names.end(), name) == names.end()) continue;
    try {
      run();
    } catch (const std::exception& error) {
      Print(name, "failed", error.what());
      code = 1;
    }
  }
  return code;
}

}  // namespace
}  // namespace btfc::cluster

// bench [latency|fanout|small|rename|delta|late|reads|heal|sequential ...]: all without a name.
int main(int argc, char** argv) { return btfc::cluster::Main({argv + 1, argv + argc}); }
