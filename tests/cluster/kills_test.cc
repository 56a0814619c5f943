// A daemon that is killed at each of its fault points and at random moments, while applications
// work in its mount and another host sends it files. The log of what the applications were told
// decides what must be there. BTFC_LONG: a thousand kills; BTFC_KILLS: another number.
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sqlite3.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "index/fault_point.h"
#include "lab.h"
#include "load.h"

namespace btfc::cluster {
namespace {

using std::chrono::milliseconds;

constexpr int kKilled = 128 + SIGKILL;
constexpr auto kPointPatience = std::chrono::seconds(15);
// A point that was reached before may be passed too seldom for a later pass: killed anyway then.
constexpr auto kPassPatience = std::chrono::seconds(2);

bool Long() { return std::getenv("BTFC_LONG") != nullptr; }

unsigned Kills() {
  if (const char* number = std::getenv("BTFC_KILLS")) {
    return static_cast<unsigned>(std::strtoul(number, nullptr, 10));
  }
  return Long() ? 1000 : 50;
}

struct Kill {
  std::string point;  // empty: at a moment
  unsigned pass = 1;
  milliseconds moment{0};
};

std::string IntegrityOf(const std::filesystem::path& index) {
  sqlite3* database = nullptr;
  std::string answer;
  if (sqlite3_open_v2(index.c_str(), &database, SQLITE_OPEN_READWRITE, nullptr) == SQLITE_OK) {
    sqlite3_exec(
        database, "PRAGMA integrity_check",
        [](void* to, int, char** values, char**) {
          *static_cast<std::string*>(to) += values[0];
          return 0;
        },
        &answer, nullptr);
  }
  sqlite3_close(database);
  return answer;
}

// Points that only an import passes have a test of their own.
bool OfImport(std::string_view point) { return point.starts_with("import."); }
// Those that another host's new file leads to.
bool OfArrival(std::string_view point) {
  return point == "index.apply" || point.starts_with("adopt.");
}

class KillsTest : public testing::Test {
 protected:
  void SetUpHosts() {
    lab_ = std::make_unique<Lab>(2);
    ASSERT_TRUE(lab_->StartAll());
    for (unsigned i = 0; i < 3; ++i) {
      ours_.push_back(
          std::make_unique<Application>(Victim().mount(), "ours" + std::to_string(i), 100 + i));
      ASSERT_TRUE(ours_.back()->Begin()) << ours_.back()->complaint();
    }
    theirs_ = std::make_unique<Application>((*lab_)[1].mount(), "theirs", 1);
    ASSERT_TRUE(theirs_->Begin()) << theirs_->complaint();
  }
  Host& Victim() { return (*lab_)[0]; }

  // What the call under way at the last kill came to is known before the next one is made.
  void CheckOurs() {
    ASSERT_TRUE(Victim().Start());
    for (const auto& ours : ours_) ASSERT_TRUE(ours->Check()) << ours->complaint();
  }

  // Ends the daemon with an operation in the journal that no transaction has.
  void DieWithAJournal() {
    ASSERT_NO_FATAL_FAILURE(CheckOurs());
    Victim().Kill();
    Victim().SetEnvironment("BTFC_FAULT_POINT=journal.kept:1");
    const bool started = Victim().Start();
    Victim().SetEnvironment("");
    if (started) Work({}, kPointPatience);
    ASSERT_EQ(kKilled, Victim().WaitForEnd(milliseconds(0)));
    Victim().Kill();
  }

  // Starts the daemon, which may die while it does, lets the applications work, kills.
  void Round(const Kill& kill) {
    ASSERT_TRUE(theirs_->Run(never_, 6)) << theirs_->complaint();
    if (OfArrival(kill.point)) {
      ASSERT_TRUE(theirs_->CreateOf(RandomBytes(100'000, ++arrivals_))) << theirs_->complaint();
    }
    if (kill.point == "journal.repeat") {
      ASSERT_NO_FATAL_FAILURE(DieWithAJournal());
    }
    if (!kill.point.empty()) {
      Victim().SetEnvironment("BTFC_FAULT_POINT=" + kill.point + ":" + std::to_string(kill.pass));
    }
    bool started = Victim().Start();
    Victim().SetEnvironment("");
    if (!started) {
      ASSERT_EQ(kKilled, Victim().WaitForEnd(milliseconds(0)));
      Reached(kill);
      Victim().Kill();
      ASSERT_TRUE(Victim().Start());
    }
    for (const auto& ours : ours_) {
      // What a start began, or a delta, may come to the point while they look.
      if (!ours->Check() && Victim().WaitForEnd(std::chrono::seconds(1)) == kKilled) {
        Reached(kill);
        Victim().Kill();
        ASSERT_TRUE(Victim().Start());
        ours->Forgive();
        (void)ours->Check();
      }
      ASSERT_EQ("", ours->complaint());
    }
    Work(kill, PatienceOf(kill));
    Victim().Kill();
  }

  void Reached(const Kill& kill) {
    reached_.insert(kill.point);
    if (!kill.point.empty()) ++at_points_;
  }
  milliseconds PatienceOf(const Kill& kill) const {
    if (kill.point.empty()) return kill.moment;
    if (!reached_.contains(kill.point)) return kPointPatience;
    return Long() ? kPassPatience : kill.moment;
  }

  // The applications work until the daemon dies at its point, or is killed after `patience`.
  void Work(const Kill& kill, milliseconds patience) {
    std::atomic<bool> stop = false;
    std::atomic<bool> by_itself = false;
    std::vector<std::thread> threads;
    for (const auto& ours : ours_) {
      threads.emplace_back([&] {
        (void)ours->Run(stop, 1'000'000);
        if (ours->gone()) by_itself = true;
      });
    }
    const auto ended = Victim().WaitForEnd(patience);
    if (ended == kKilled) Reached(kill);
    EXPECT_TRUE(ended == -1 || ended == kKilled) << "it ended by itself: " << ended;
    EXPECT_FALSE(ended == -1 && by_itself) << "a call failed though the daemon lived";
    if (ended == -1) {
      ::kill(Victim().pid(), SIGKILL);
      EXPECT_EQ(kKilled, Victim().WaitForEnd(std::chrono::seconds(30)));
    }
    stop = true;
    for (auto& thread : threads) thread.join();
    for (const auto& ours : ours_) ASSERT_EQ("", ours->complaint());
  }

  // Everybody has what the applications were told, and nothing else.
  void CheckAll() {
    ASSERT_NO_FATAL_FAILURE(CheckOurs());
    ASSERT_TRUE(theirs_->Check()) << theirs_->complaint();
    ASSERT_TRUE(lab_->EventuallyEqual());
    for (const auto& ours : ours_) {
      EXPECT_TRUE(ours->CheckOn((*lab_)[1].mount())) << ours->complaint();
    }
    EXPECT_TRUE(theirs_->CheckOn(Victim().mount())) << theirs_->complaint();
    EXPECT_EQ(0, Victim().Status()["conflicts"]);
    EXPECT_TRUE(std::filesystem::is_empty(Victim().cache() / "lost+found"));
    EXPECT_TRUE(Eventually([&] { return std::filesystem::is_empty(Victim().cache() / "work"); }))
        << "working files stay behind";
    for (std::size_t i = 0; i < lab_->size(); ++i) {
      EXPECT_EQ(0, (*lab_)[i].Stop());
      EXPECT_EQ("ok", IntegrityOf((*lab_)[i].cache() / "index.db"));
    }
  }

  std::unique_ptr<Lab> lab_;
  std::vector<std::unique_ptr<Application>> ours_;
  std::unique_ptr<Application> theirs_;
  std::set<std::string> reached_;
  unsigned at_points_ = 0;
  unsigned arrivals_ = 0;
  const std::atomic<bool> never_ = false;
};

TEST_F(KillsTest, NothingThatWasToldIsLost) {
  BTFC_NEEDS_LAB();
  ASSERT_NO_FATAL_FAILURE(SetUpHosts());
  Victim().Kill();
  std::mt19937 random(7);
  std::vector<std::string> points;
  for (const auto point : fault::kPoints) {
    if (!OfImport(point)) points.emplace_back(point);
  }
  const unsigned kills = Kills();
  for (unsigned i = 0; i < kills; ++i) {
    Kill kill;
    kill.moment = milliseconds(std::uniform_int_distribution(1, 200)(random));
    if (i < points.size() || (Long() && i % 2 == 0)) {
      kill.point = points[i % points.size()];
      kill.pass = i < points.size() ? 1 : std::uniform_int_distribution(1U, 30U)(random);
    }
    SCOPED_TRACE("kill " + std::to_string(i) + " " + kill.point + ":" + std::to_string(kill.pass));
    ASSERT_NO_FATAL_FAILURE(Round(kill));
    if (Long() && (i + 1) % 50 == 0) {
      std::cout << fmt::format("{} kills, {} at their points\n", i + 1, at_points_) << std::flush;
    }
  }
  ASSERT_NO_FATAL_FAILURE(CheckAll());
  if (points.size() > kills) points.resize(kills);  // fewer were asked for
  for (const auto& point : points) EXPECT_TRUE(reached_.contains(point)) << point;
  for (const auto& ours : ours_) EXPECT_GT(ours->done(), 100U);
}

// The folder below the mount point is taken in whole and once, however often that was interrupted.
TEST_F(KillsTest, AnImportGoesOnWhereItWasKilled) {
  BTFC_NEEDS_LAB();
  Lab lab(1);
  for (unsigned i = 0; i < 700; ++i) {
    const auto size = i % 100 == 7 ? 200'000 : 500;
    WriteFile(lab[0] / ("f" + std::to_string(i)), RandomBytes(size, i));
  }
  const auto before = Describe(lab[0].mount());
  for (const std::string point : {"import.staged", "import.linked", "import.done"}) {
    for (const std::string pass : {":1", ":3"}) {
      lab[0].SetEnvironment(fmt::format("BTFC_FAULT_POINT={}{}", point, pass));
      (void)lab[0].Start();
      // Later points are not passed any more once all of their kind is done.
      const auto ended = lab[0].WaitForEnd(milliseconds(pass == ":1" ? 30'000 : 5'000));
      if (pass == ":1") {
        EXPECT_EQ(kKilled, ended) << point;
      }
      lab[0].Kill();
    }
  }
  lab[0].SetEnvironment("");
  ASSERT_TRUE(lab[0].Start());
  EXPECT_TRUE(Eventually([&] { return Describe(lab[0].mount()) == before; }));
  EXPECT_EQ(0, lab[0].Stop());
  EXPECT_EQ("ok", IntegrityOf(lab[0].cache() / "index.db"));
}

}  // namespace
}  // namespace btfc::cluster
