// The cost of local operations: a btfc mount beside a plain folder on the same disk and libfuse's
// passthrough_hp example, in one run; and beside a mount that does nothing on a disk, which shows
// what the kernel's requests leave to be gained. The best of some rounds counts, as the others were
// disturbed.
#include <fmt/format.h>
#include <grp.h>
#include <sys/stat.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdlib>
#include <iostream>

#include "local/workloads.h"

namespace btfc::bench {
namespace {

struct Arguments {
  std::filesystem::path scratch = std::filesystem::temp_directory_path();
  std::string passthrough_hp;
  std::string mount_options;
  int rounds = 3;
  uid_t user = 0;
  Scale scale;
  std::vector<std::string> groups;
};

struct Row {
  std::string name;
  std::string unit;
  double units = 1;
  std::vector<double> seconds;  // the best of each side; 0: not measured
};

using Sides = std::vector<std::unique_ptr<Side>>;
enum Order : std::size_t { kNative, kBtfc, kHp, kMemory };  // the last two where they can be

// Speed of `side` relative to `other`; more is better.
std::string Ratio(const Row& row, std::size_t side, std::size_t other) {
  if (row.seconds.size() <= std::max(side, other)) return "-";
  if (row.seconds[side] <= 0 || row.seconds[other] <= 0) return "-";
  return fmt::format("{:.2f}", row.seconds[other] / row.seconds[side]);
}

void Print(const std::vector<Row>& rows) {
  for (const Row& row : rows) {
    const double rate = row.units / row.seconds[0];
    fmt::print("{:<32} {:>12.0f} {:<7} {:>9} {:>9} {:>9} {:>9}\n", row.name, rate, row.unit + "/s",
               Ratio(row, kBtfc, kNative), Ratio(row, kHp, kNative), Ratio(row, kBtfc, kHp),
               Ratio(row, kMemory, kHp));
  }
  std::fflush(stdout);
}

// It has no bytes to speak of, and takes part where names and attributes are what is asked for.
bool IsForMemory(const std::string& group) { return group == "small" || group == "tree"; }

std::vector<Row> Measure(Group group, std::size_t count, const Sides& sides,
                         const Arguments& arguments) {
  std::vector<Row> rows;
  for (int round = 0; round < arguments.rounds; ++round) {
    for (std::size_t i = 0; i < count; ++i) {
      std::vector<Figure> figures;
      try {
        figures = group(*sides[i], arguments.scale);
      } catch (const std::exception& problem) {
        if (i < kHp) throw;
        fmt::print(stderr, "{}: {}\n", sides[i]->name(), problem.what());
      }
      for (const Figure& figure : figures) {
        auto row = std::ranges::find(rows, figure.name, &Row::name);
        if (row == rows.end()) {
          rows.push_back({figure.name, figure.unit, figure.units, {}});
          row = rows.end() - 1;
        }
        row->seconds.resize(sides.size());
        double& best = row->seconds[i];
        best = best == 0 ? figure.seconds : std::min(best, figure.seconds);
      }
    }
  }
  return rows;
}

void RunAll(const Arguments& arguments, const std::filesystem::path& scratch) {
  Sides sides;
  sides.push_back(MakeNative(scratch));
  sides.push_back(MakeBtfc(scratch, arguments.mount_options));
  if (!arguments.passthrough_hp.empty()) {
    sides.push_back(MakePassthroughHp(scratch, arguments.passthrough_hp));
    if (arguments.scale.cold) sides.push_back(MakeMemory(scratch));
  }
  const bool hp = sides.size() > kHp;
  fmt::print("{:<32} {:>20} {:>9} {:>9} {:>9} {:>9}\n", "speed", "native", "of native",
             hp ? "hp/nat" : "hp:", hp ? "of hp" : "not given", hp ? "memory/hp" : "");
  for (const auto& [name, group] : Groups()) {
    const auto& wanted = arguments.groups;
    if (!wanted.empty() && std::ranges::find(wanted, name) == wanted.end()) continue;
    const auto count =
        IsForMemory(name) ? sides.size() : std::min<std::size_t>(sides.size(), kMemory);
    Print(Measure(group, count, sides, arguments));
  }
  const auto& wanted = arguments.groups;
  if (wanted.empty() || std::ranges::find(wanted, "memory") != wanted.end()) {
    const auto footprint = MeasureFootprint(*sides[1], arguments.scale);
    fmt::print("with {:.0f} files: {:.0f} MiB resident, {:.2f} % CPU when idle\n", footprint.files,
               footprint.resident_mib, footprint.idle_cpu_percent);
  }
}

int Main(int argc, char** argv) {
  Arguments arguments;
  if (const char* given = std::getenv("BTFC_PASSTHROUGH_HP")) arguments.passthrough_hp = given;
  CLI::App app("Times local operations in a btfc mount, beside a plain folder and passthrough_hp.");
  app.add_option("--scratch", arguments.scratch, "a folder on the disk to be used");
  app.add_option("--passthrough-hp", arguments.passthrough_hp,
                 "libfuse's example program; else $BTFC_PASSTHROUGH_HP");
  app.add_option("--options", arguments.mount_options, "further ones for mount.btfc -o");
  app.add_option("--rounds", arguments.rounds);
  app.add_option("--scale", arguments.scale.size, "of numbers and sizes, 1: as in the targets");
  app.add_option("--user", arguments.user, "work and mount as this user");
  app.add_option("group", arguments.groups, "bulk, random, small, tree, git, folder, memory");
  CLI11_PARSE(app, argc, argv);

  std::string pattern = (arguments.scratch / "btfc-bench-XXXXXX").native();
  if (::mkdtemp(pattern.data()) == nullptr) {
    std::perror(pattern.c_str());
    return 1;
  }
  if (arguments.user != 0) {
    const gid_t group = arguments.user;
    if (::chown(pattern.c_str(), arguments.user, group) != 0 || ::setgroups(0, nullptr) != 0 ||
        ::setgid(group) != 0 || ::setuid(arguments.user) != 0 ||
        ::setenv("HOME", pattern.c_str(), 1) != 0) {
      std::perror("--user");
      return 1;
    }
  }
  arguments.scale.cold = ::geteuid() == 0;
  int code = 0;
  try {
    RunAll(arguments, pattern);
  } catch (const std::exception& problem) {
    std::cerr << problem.what() << '\n';
    code = 1;
  }
  std::error_code ignored;
  if (code == 0) std::filesystem::remove_all(pattern, ignored);
  return code;
}

}  // namespace
}  // namespace btfc::bench

// A failure ends the benchmark.
// NOLINTNEXTLINE(bugprone-exception-escape)
int main(int argc, char** argv) { return btfc::bench::Main(argc, argv); }
