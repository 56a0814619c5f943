// The cost of the catalogue alone: CPU time for each local operation, and what a catalogue of many
// files costs to open. CPU time, as it hardly depends on what else the machine does.
#include <fmt/format.h>
#include <malloc.h>
#include <sys/resource.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iostream>
#include <stdexcept>
#include <vector>

#include "index/catalogue.h"
#include "index/merkle.h"

namespace btfc::bench {
namespace {

using index::Catalogue;

double CpuSeconds() {
  rusage used{};
  ::getrusage(RUSAGE_SELF, &used);
  const auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
  };
  return seconds(used.ru_utime) + seconds(used.ru_stime);
}

double ResidentMiB() {
  std::ifstream file("/proc/self/status");
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with("RssAnon:")) return std::stod(line.substr(8)) / 1024;
  }
  return 0;
}

template <class T>
T Must(Result<T> result, const char* what) {
  if (!result) throw std::runtime_error(std::string(what) + ": " + result.error().message());
  if constexpr (!std::is_void_v<T>) return std::move(result.value());
}

void Measure(const std::string& name, int count, const std::function<void(int)>& step) {
  const double cpu = CpuSeconds();
  const auto start = std::chrono::steady_clock::now();
  for (int i = 0; i < count; ++i) step(i);
  const double took =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  fmt::print("{:<24} {:8.1f} us CPU {:8.1f} us\n", name, (CpuSeconds() - cpu) / count * 1e6,
             took / count * 1e6);
  std::fflush(stdout);
}

std::unique_ptr<Catalogue> Open(const std::filesystem::path& folder) {
  index::CatalogueOptions options;
  options.path = folder / "index.db";
  options.host_name = "bench";
  return Must(Catalogue::Open(options), "open");
}

index::NewNode File() {
  index::NewNode node;
  node.mode = 0644;
  node.owner.user = "somebody";
  return node;
}

index::NewNode Folder() {
  auto node = File();
  node.kind = index::Kind::kFolder;
  node.mode = 0755;
  return node;
}

index::NewVersion Version(int number) {
  index::NewVersion version;
  version.inline_bytes = std::string(4096, static_cast<char>(number));
  version.inline_bytes.replace(0, sizeof number, reinterpret_cast<const char*>(&number),
                               sizeof number);
  version.id = index::ContentIdOf(version.inline_bytes);
  version.mtime_ns = 1;
  return version;
}

void Operations(Catalogue& catalogue, int count) {
  const auto folder = Must(catalogue.Make(index::kRootIno, "ops", Folder()), "mkdir").ino;
  std::vector<index::Ino> inos;
  inos.reserve(static_cast<std::size_t>(count));
  const auto name = [](char kind, int i) { return kind + std::to_string(i); };
  std::vector<index::NewVersion> versions;
  versions.reserve(static_cast<std::size_t>(count));
  for (int i = 0; i < count; ++i) versions.push_back(Version(i));
  Measure("make + commit", count, [&](int i) {
    inos.push_back(Must(catalogue.Make(folder, name('f', i), File()), "make").ino);
    Must(catalogue.Commit(inos.back(), versions[static_cast<std::size_t>(i)], false), "commit");
  });
  Measure("lookup", count, [&](int i) { Must(catalogue.Lookup(folder, name('f', i)), "lookup"); });
  Measure("lookup of nothing", count, [&](int i) {
    if (catalogue.Lookup(folder, name('g', i))) throw std::runtime_error("found");
  });
  Measure("chmod", count, [&](int i) {
    index::AttributeChange change;
    change.mode = 0600;
    Must(catalogue.SetAttributes(inos[static_cast<std::size_t>(i)], change), "chmod");
  });
  Measure("begin + commit", count, [&](int i) {
    const auto ino = inos[static_cast<std::size_t>(i)];
    Must(catalogue.BeginWrite(ino, false), "begin");
    Must(catalogue.Commit(ino, versions[static_cast<std::size_t>((i + 1) % count)], false),
         "commit");
  });
  Measure("rename", count, [&](int i) {
    Must(catalogue.Rename(folder, name('f', i), folder, name('g', i), 0), "rename");
  });
  Measure("unlink + forget", count, [&](int i) {
    Must(catalogue.Unlink(folder, name('g', i)), "unlink");
    Must(catalogue.Forget(inos[static_cast<std::size_t>(i)]), "forget");
  });
}

// A thousand files in each folder, `count` in all, and 100,000 in one more.
void Fill(Catalogue& catalogue, int count) {
  constexpr int kInFolder = 1000;
  const auto version = Version(1);
  const auto file = [&](index::Ino folder, int i) {
    const auto ino = Must(catalogue.Make(folder, fmt::format("file{:07}", i), File()), "make").ino;
    auto one = version;
    one.inline_bytes = fmt::format("{:0100}", i);
    one.id = index::ContentIdOf(one.inline_bytes);
    Must(catalogue.Commit(ino, one, false), "commit");
  };
  for (int done = 0; done < count;) {
    Catalogue::Batch batch(catalogue);
    const auto folder =
        Must(catalogue.Make(index::kRootIno, fmt::format("d{}", done), Folder()), "mkdir").ino;
    for (int i = 0; i < kInFolder && done < count; ++i, ++done) file(folder, done);
    Must(batch.Finish(), "batch");
  }
}

int Main(int argc, char** argv) {
  std::filesystem::path folder;
  int files = 0;
  int operations = 5000;
  CLI::App app("Costs of the catalogue.");
  app.add_option("--folder", folder, "where the catalogue is, or is to be")->required();
  app.add_option("--files", files, "makes so many first");
  app.add_option("--operations", operations, "of each kind");
  CLI11_PARSE(app, argc, argv);
  try {
    std::filesystem::create_directories(folder);
    if (files > 0) {
      const auto start = std::chrono::steady_clock::now();
      auto catalogue = Open(folder);
      Fill(*catalogue, files);
      fmt::print("{} files made in {:.1f} s\n", files,
                 std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
    }
    ::malloc_trim(0);
    const double before = ResidentMiB();
    const auto start = std::chrono::steady_clock::now();
    auto catalogue = Open(folder);
    fmt::print("opened in {:.3f} s\n",
               std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
    if (operations > 0) Operations(*catalogue, operations);
    const auto counts = Must(catalogue->Count(), "count");
    fmt::print("{} files; {:.0f} MiB of memory for the catalogue\n", counts.files,
               ResidentMiB() - before);
  } catch (const std::exception& problem) {
    std::cerr << problem.what() << '\n';
    return 1;
  }
  return 0;
}

}  // namespace
}  // namespace btfc::bench

// A failure ends the benchmark.
// NOLINTNEXTLINE(bugprone-exception-escape)
int main(int argc, char** argv) { return btfc::bench::Main(argc, argv); }
