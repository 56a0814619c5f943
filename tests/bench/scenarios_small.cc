// Scenarios of many small things.
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>

#include "scenarios.h"

namespace btfc::bench {
namespace {

using cluster::RandomBytes;
using cluster::ReadFile;
using cluster::WriteFile;

constexpr std::size_t kSmall = 4096;
constexpr std::chrono::seconds kCut{12};  // btfc gives up a silent connection after 8

}  // namespace

std::vector<Figure> Latency(const MakeCluster& make) {
  const auto hosts = make(2);
  hosts->Start();
  std::vector<double> milliseconds;
  for (int i = 0; i < hosts->rounds(); ++i) {
    const auto name = "file" + std::to_string(i);
    const auto bytes = RandomBytes(kSmall, static_cast<unsigned>(i));
    WriteFile(hosts->folder(0) / name, bytes);
    const auto start = Clock::now();
    Await([&] { return ReadFile(hosts->folder(1) / name) == bytes; }, "a file never came");
    milliseconds.push_back(Seconds(Clock::now() - start) * 1000);
  }
  return {{"4 KiB closed here, readable there", "", "5 ms",
           fmt::format("{:.1f} ms", Percentile(milliseconds, 0.5)),
           fmt::format("p50; p95 {:.1f} ms; polled every 2 ms", Percentile(milliseconds, 0.95))}};
}

std::vector<Figure> SmallFiles(const MakeCluster& make) {
  constexpr int kFiles = 3000;
  const auto hosts = make(4);
  hosts->Start();
  for (std::size_t i = 0; i < 4; ++i) hosts->machine(i).Shape("200mbit");
  const auto start = Clock::now();
  for (int i = 0; i < kFiles; ++i) {
    WriteFile(hosts->folder(0) / ("f" + std::to_string(i)),
              RandomBytes(kSmall, static_cast<unsigned>(i)));
  }
  const double written = Seconds(Clock::now() - start);
  const auto last = "f" + std::to_string(kFiles - 1);
  for (std::size_t i = 1; i < 4; ++i) {
    Await(
        [&] {
          return Readable(hosts->folder(i) / last, kSmall) &&
                 CountNames(hosts->folder(i)) == kFiles;
        },
        "files never came");
  }
  const double took = Seconds(Clock::now() - start);
  return {{"3,000 x 4 KiB on 3 other hosts", "1.5 s", "2 s", fmt::format("{:.2f} s", took),
           fmt::format("writing them took {:.2f} s of it", written)}};
}

std::vector<Figure> RenameAndDelete(const MakeCluster& make) {
  constexpr int kFiles = 200;
  const auto hosts = make(4);
  hosts->Start();
  const auto first = hosts->folder(0);
  Need(mkdir((first / "folder").c_str(), 0755) == 0, "mkdir");
  for (int i = 0; i < kFiles; ++i) {
    WriteFile(first / ("folder/f" + std::to_string(i)),
              RandomBytes(kSmall, static_cast<unsigned>(i)));
  }
  for (std::size_t i = 0; i < 4; ++i) {
    Await([&] { return CountNames(hosts->folder(i) / "folder") == kFiles; }, "files never came");
    Await([&] { return hosts->Complete(i); }, "files are never complete");
  }
  const auto everywhere = [&](const std::string& name, bool there) {
    for (std::size_t i = 1; i < 4; ++i) {
      const auto path = hosts->folder(i) / name;
      Await([&] { return (access(path.c_str(), F_OK) == 0) == there; }, name);
    }
  };
  const auto sent = hosts->machine(0).SentBytes();
  auto start = Clock::now();
  Need(rename((first / "folder").c_str(), (first / "renamed").c_str()) == 0, "rename");
  everywhere("renamed/f7", true);
  const double renamed = Seconds(Clock::now() - start) * 1000;
  const auto cost = hosts->machine(0).SentBytes() - sent;
  for (std::size_t i = 0; i < 4; ++i) {
    Await([&] { return CountNames(hosts->folder(i) / "renamed") == kFiles && hosts->Complete(i); },
          "the renamed folder is never complete");
  }
  const auto sent_before = hosts->machine(0).SentBytes();
  start = Clock::now();
  Need(unlink((first / "renamed/f7").c_str()) == 0, "unlink");
  everywhere("renamed/f7", false);
  const double removed = Seconds(Clock::now() - start) * 1000;
  const auto cost_of_removal = hosts->machine(0).SentBytes() - sent_before;
  return {{"folder of 200 files renamed, seen by 3", "1 ms", "20 ms",
           fmt::format("{:.1f} ms", renamed), fmt::format("{} KiB sent", cost / 1024)},
          {"file deleted, seen by 3", "1 ms", "20 ms", fmt::format("{:.1f} ms", removed),
           fmt::format("{} KiB sent", cost_of_removal / 1024)}};
}

std::vector<Figure> Heal(const MakeCluster& make) {
  const auto hosts = make(2);
  hosts->Start();
  WriteFile(hosts->folder(0) / "file", "first");
  AwaitEverywhere(*hosts, "file", 5);
  hosts->machine(1).SetLink(false);
  const auto cut = Clock::now();
  WriteFile(hosts->folder(0) / "file", "from one");
  WriteFile(hosts->folder(1) / "file", "from the other");
  for (std::size_t i = 0; i < 2; ++i) {
    Await([&] { return hosts->Noticed(i, "file"); }, "an edit was not noticed");
  }
  Await([&] { return Clock::now() - cut > kCut; }, "time stands still");
  hosts->machine(1).SetLink(true);
  const auto start = Clock::now();
  for (std::size_t i = 0; i < 2; ++i) {
    Await([&] { return CountNames(hosts->folder(i)) == 2 && hosts->Complete(i); }, "never settled");
  }
  const double took = Seconds(Clock::now() - start);
  return {{"conflict settled after the link is back", "", "10 s", fmt::format("{:.2f} s", took),
           "both texts are on both; the cable was out for 12 s"}};
}

}  // namespace btfc::bench
