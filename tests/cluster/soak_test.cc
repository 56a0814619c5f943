// Constant changes on four hosts for a long time: what the daemons hold of the machine stays what
// it was. An hour in the long mode (BTFC_SOAK_MINUTES: another time); in the ordinary run some
// seconds, after which descriptors and threads are looked at only.
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <iostream>
#include <mutex>
#include <thread>

#include "lab.h"
#include "load.h"
#include "resources.h"

namespace btfc::cluster {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr std::size_t kHosts = 4;
constexpr milliseconds kBetweenOperations{40};
constexpr int kSamples = 120;
constexpr seconds kShort{15};
constexpr auto kSettling = seconds(120);  // idle torrents are closed, idle threads end

// Earlier versions, and what was deleted, reach their room within minutes; from then on as much
// goes as comes.
constexpr auto kOptions = "versions=1h:30M";

std::chrono::milliseconds Duration() {
  if (const char* minutes = std::getenv("BTFC_SOAK_MINUTES")) {
    return std::chrono::minutes(std::atoi(minutes));
  }
  return std::getenv("BTFC_LONG") != nullptr ? milliseconds(std::chrono::hours(1)) : kShort;
}

struct Sample {
  double resident = 0;  // MiB, as all sizes
  double descriptors = 0;
  double threads = 0;
  double index = 0;
  double log = 0;  // SQLite's, and the journal
  double store = 0;
};

// What the files below `path` take on the disk.
double TakenBy(const std::filesystem::path& path) {
  std::uint64_t blocks = 0;
  const auto add = [&](const std::filesystem::path& file) {
    struct stat status {};
    if (lstat(file.c_str(), &status) == 0) blocks += static_cast<std::uint64_t>(status.st_blocks);
  };
  add(path);
  std::error_code error;  // files come and go
  std::filesystem::recursive_directory_iterator entry(path, error);
  for (const std::filesystem::recursive_directory_iterator end; !error && entry != end;
       entry.increment(error)) {
    add(entry->path());
  }
  return static_cast<double>(blocks) / 2048;
}

Sample Take(const Host& host) {
  const auto resources = ResourcesOf(host.pid());
  Sample sample;
  sample.resident = static_cast<double>(resources.resident_bytes) / (1 << 20);
  sample.descriptors = static_cast<double>(resources.descriptors.size());
  sample.threads = resources.threads;
  sample.index = TakenBy(host.cache() / "index.db");
  sample.log = TakenBy(host.cache() / "index.db-wal") + TakenBy(host.cache() / "index.db.ops");
  for (const auto* folder : {"objects", "work", "partial", "lost+found", "swarm"}) {
    sample.store += TakenBy(host.cache() / folder);
  }
  return sample;
}

// One host's samples.
class Course {
 public:
  void Add(const Sample& sample) { samples_.push_back(sample); }

  void Print() const {
    const auto& last = samples_.back();
    std::cout << fmt::format(
                     "{:3}: resident {:.1f}, descriptors {}, threads {}, index {:.1f} + {:.1f}, "
                     "store {:.1f}",
                     samples_.size(), last.resident, last.descriptors, last.threads, last.index,
                     last.log, last.store)
              << std::endl;
  }

  // The median of the last third is not above that of the first by more than `part` of it and
  // `plus`. The first sixth of all is not counted: caches fill, earlier versions reach their room.
  void ExpectFlat(const char* what, double Sample::*value, double part, double plus) const {
    const auto begin = samples_.size() / 6;
    const auto third = (samples_.size() - begin) / 3;
    const double first = Median(begin, begin + third, value);
    const double last = Median(samples_.size() - third, samples_.size(), value);
    std::cout << fmt::format("  {:12} {:8.1f} -> {:8.1f}\n", what, first, last);
    EXPECT_LE(last, first * (1 + part) + plus) << what;
  }

 private:
  double Median(std::size_t from, std::size_t to, double Sample::*value) const {
    std::vector<double> values;
    for (auto i = from; i < to; ++i) values.push_back(samples_[i].*value);
    if (values.empty()) return 0;
    std::nth_element(values.begin(), values.begin() + std::ssize(values) / 2, values.end());
    return values[values.size() / 2];
  }

  std::vector<Sample> samples_;
};

class SoakTest : public testing::Test {
 protected:
  void Begin() {
    lab_ = std::make_unique<Lab>(kHosts);
    ASSERT_TRUE(lab_->StartAll(kOptions));
    for (unsigned i = 0; i < kHosts; ++i) {
      applications_.push_back(
          std::make_unique<Application>((*lab_)[i].mount(), fmt::format("host{}", i), 300 + i));
      ASSERT_TRUE(applications_.back()->Begin()) << applications_.back()->complaint();
      before_.push_back(Take((*lab_)[i]));
    }
  }

  // All applications work at their pace; samples are taken meanwhile.
  void Work(milliseconds duration) {
    std::mutex mutex;
    std::condition_variable changed;
    bool ended = false;
    const std::atomic<bool> never = false;
    const auto pause = [&](milliseconds length) {  // false: that was it
      std::unique_lock lock(mutex);
      return !changed.wait_for(lock, length, [&] { return ended; });
    };
    std::vector<std::thread> threads;
    for (const auto& application : applications_) {
      threads.emplace_back([&, application = application.get()] {
        while (application->Run(never, 1) && pause(kBetweenOperations)) {
        }
      });
    }
    for (int i = 0; i < kSamples; ++i) {
      (void)pause(duration / kSamples);
      for (unsigned host = 0; host < kHosts; ++host) courses_[host].Add(Take((*lab_)[host]));
      if (duration > kShort) courses_[0].Print();
    }
    {
      const std::lock_guard lock(mutex);
      ended = true;
    }
    changed.notify_all();
    for (auto& thread : threads) thread.join();
  }

  // Nothing was lost, and everybody has it.
  void CheckContents() {
    for (const auto& application : applications_) {
      ASSERT_TRUE(application->Check()) << application->complaint();
    }
    const auto begin = std::chrono::steady_clock::now();
    ASSERT_TRUE(lab_->EventuallyEqual(seconds(300)));
    const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - begin;
    std::cout << fmt::format("equal after {:.1f} s\n", taken.count());
    for (const auto& application : applications_) {
      for (std::size_t i = 0; i < kHosts; ++i) {
        EXPECT_TRUE(application->CheckOn((*lab_)[i].mount())) << application->complaint();
      }
    }
  }

  // A quiet moment after the work.
  void CheckWhatCameBack() {
    for (std::size_t i = 0; i < kHosts; ++i) {
      Sample now;
      const auto back = [&] {
        now = Take((*lab_)[i]);
        return now.descriptors <= before_[i].descriptors + kMoreDescriptors &&
               now.threads <= before_[i].threads + kMoreThreads;
      };
      EXPECT_TRUE(Eventually(back, kSettling))
          << fmt::format("host {}: descriptors {} -> {}, threads {} -> {}", i + 1,
                         before_[i].descriptors, now.descriptors, before_[i].threads, now.threads);
      std::cout << fmt::format(
          "host {} quiet: resident {:.1f} -> {:.1f}, descriptors {} -> {}, threads {} -> {}, "
          "index {:.1f} + {:.1f}, store {:.1f}\n",
          i + 1, before_[i].resident, now.resident, before_[i].descriptors, now.descriptors,
          before_[i].threads, now.threads, now.index, now.log, now.store);
    }
  }

  // Started when first needed, and kept.
  static constexpr double kMoreDescriptors = 6;
  static constexpr double kMoreThreads = 10;

  std::unique_ptr<Lab> lab_;
  std::vector<std::unique_ptr<Application>> applications_;
  std::vector<Sample> before_;
  std::vector<Course> courses_{kHosts};
};

TEST_F(SoakTest, WhatDaemonsHoldStaysFlat) {
  BTFC_NEEDS_LAB();
  ASSERT_NO_FATAL_FAILURE(Begin());
  const auto duration = Duration();
  Work(duration);
  unsigned done = 0;
  for (const auto& application : applications_) {
    EXPECT_EQ("", application->complaint());
    done += application->done();
  }
  std::cout << fmt::format("{} operations\n", done);
  ASSERT_NO_FATAL_FAILURE(CheckContents());
  CheckWhatCameBack();
  if (duration > kShort) {
    for (unsigned host = 0; host < kHosts; ++host) {
      std::cout << fmt::format("host {} (MiB)\n", host + 1);
      SCOPED_TRACE(host + 1);
      courses_[host].ExpectFlat("resident", &Sample::resident, 0.10, 4);
      courses_[host].ExpectFlat("descriptors", &Sample::descriptors, 0, 6);
      courses_[host].ExpectFlat("threads", &Sample::threads, 0, 2);
      courses_[host].ExpectFlat("index", &Sample::index, 0.10, 4);
      courses_[host].ExpectFlat("log", &Sample::log, 0.10, 4);
      // What nobody needs any more goes once a minute.
      courses_[host].ExpectFlat("store", &Sample::store, 0.50, 16);
    }
  }
  for (std::size_t i = 0; i < kHosts; ++i) EXPECT_EQ(0, (*lab_)[i].Stop());
}

}  // namespace
}  // namespace btfc::cluster
