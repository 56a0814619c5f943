#include "simulation.h"

#include <fmt/format.h>

#include <algorithm>

namespace btfc::index {
namespace {

constexpr std::int64_t kSecond = 1'000'000'000;
constexpr std::int64_t kSkews[] = {
    0, 0, 0, 7, -kSecond, 90 * kSecond, -86'400 * kSecond, 40 * 86'400 * kSecond};
constexpr std::size_t kExchangeRoundsMax = 8;
constexpr std::size_t kHostsMin = 2;
constexpr std::size_t kJoinsMax = 4;

bool Covers(const Summary& summary, const Summary& other) {
  return std::all_of(other.begin(), other.end(), [&](const auto& entry) {
    const auto found = summary.find(entry.first);
    return found != summary.end() && found->second >= entry.second;
  });
}

void Require(bool condition, const std::string& what) {
  if (!condition) throw std::runtime_error(what);
}

}  // namespace

Simulation::Simulation(std::uint64_t seed, std::filesystem::path folder, bool collecting)
    : seed_(seed), folder_(std::move(folder)), collecting_(collecting), random_(seed) {
  const std::size_t count = 3 + random_.Below(6);
  equal_contents_ = random_.Percent(25);
  skewed_ = random_.Percent(70);
  hosts_.reserve(count + kJoinsMax);
  for (std::size_t i = 0; i < count; ++i) Join();
}

// Empty, or with what its users make before it meets anybody.
void Simulation::Join() {
  if (hosts_.size() == hosts_.capacity()) return;
  const std::string name(1, next_name_++);
  Host& host = hosts_.emplace_back(folder_ / (name + ".db"), name);
  host.SeedIds(random_.Next());
  if (skewed_) host.skew_ns = random_.Pick(kSkews);
  host.SetClock(wall_ns_ + host.skew_ns);
  Open(host);
  Say(name + " joins");
}

// For good. What it did not tell anybody is lost with it, so it tells one.
void Simulation::Leave(std::size_t at) {
  if (hosts_.size() <= kHostsMin || !hosts_[at].open.empty()) return;
  const std::size_t to = (at + 1 + random_.Below(hosts_.size() - 1)) % hosts_.size();
  const Summary since = hosts_[to].catalogue().Known();
  Deliver(to, {to, since, hosts_[at].Cut(since)});
  Say(fmt::format("{} leaves, {} has it all", hosts_[at].name(), hosts_[to].name()));
  std::erase_if(messages_, [at](const Message& message) { return message.to == at; });
  for (Message& message : messages_) {
    if (message.to > at) --message.to;
  }
  hosts_[at].Close();
  hosts_.erase(hosts_.begin() + static_cast<std::ptrdiff_t>(at));
}

// A mount that begins: its kernel keeps nothing yet.
void Simulation::Open(Host& host) {
  host.Open();
  host.catalogue().OnChange([told = host.told](const std::vector<Change>& changes) {
    told->insert(told->end(), changes.begin(), changes.end());
  });
  host.told->clear();
  host.kernel = KernelCache(kNames);
  host.kernel.Check(host.kernel.Read(host.catalogue()), {}, {});
}

void Simulation::CheckKernel(Host& host, const KernelCache::Own& own) {
  host.kernel.Check(host.kernel.Read(host.catalogue()), std::exchange(*host.told, {}), own);
}

void Simulation::Run() {
  const std::size_t steps = 40 + random_.Below(160);
  if (collecting_) ExchangeAll();
  for (std::size_t i = 0; i < steps; ++i) Step();
  Settle();
  ExchangeAll();
  CheckNothingLost();
  if (collecting_) CollectAll();
}

void Simulation::Tick() {
  // Often the same nanosecond or a second, now and then a day.
  constexpr std::int64_t kTicks[] = {0, 1, 1, kSecond, kSecond, 60 * kSecond, 86'400 * kSecond};
  wall_ns_ += random_.Pick(kTicks);
  for (Host& host : hosts_) host.SetClock(wall_ns_ + host.skew_ns);
}

void Simulation::Step() {
  Tick();
  const std::size_t dice = random_.Below(100);
  Host& host = hosts_[random_.Below(hosts_.size())];
  if (collecting_ && (random_.Percent(15) || (dice >= 37 && dice < 40))) {
    CollectStep(host);
  } else if (dice < 35) {
    NetworkStep();
  } else if (dice < 37) {
    Restart(host);
  } else if (dice < 38) {
    BackUp(host);
  } else if (dice < 39) {
    const auto found = std::find_if(hosts_.begin(), hosts_.end(), [](const Host& candidate) {
      return !candidate.backup.empty();
    });
    if (found != hosts_.end()) Restore(*found);
  } else if (dice < 40 && random_.Percent(30)) {
    random_.Percent(60) ? Join() : Leave(random_.Below(hosts_.size()));
  } else if (dice < 40) {
    host.skew_ns = random_.Pick(kSkews);
    Say(fmt::format("{} clock off by {}", host.name(), host.skew_ns));
  } else {
    LocalStep(host);
  }
}

void Simulation::NetworkStep() {
  if (random_.Percent(6)) {
    const bool healed = random_.Percent(40);
    for (Host& host : hosts_) host.group = healed ? 0 : static_cast<unsigned>(random_.Below(3));
    Say(healed ? "network whole" : "network parted");
  }
  const std::size_t to = random_.Below(hosts_.size());
  const std::size_t from = (to + 1 + random_.Below(hosts_.size() - 1)) % hosts_.size();
  const std::size_t dice = random_.Below(100);
  if (dice < 75) Send(from, to);
  if (messages_.empty() || (dice >= 60 && dice < 75)) return;
  // The one just sent, or any earlier one; it may come again later, or be lost.
  const std::size_t at = dice < 60 ? messages_.size() - 1 : random_.Below(messages_.size());
  if (!random_.Percent(8)) {
    Deliver(random_.Percent(4) ? random_.Below(hosts_.size()) : messages_[at].to, messages_[at]);
  }
  if (random_.Percent(80)) messages_.erase(messages_.begin() + static_cast<std::ptrdiff_t>(at));
}

void Simulation::Send(std::size_t from, std::size_t to) {
  if (hosts_[from].group != hosts_[to].group) return;
  Host& receiver = hosts_[to];
  receiver.asked.push_back(receiver.catalogue().Known());
  Summary since;
  if (!random_.Percent(10)) {
    since = random_.Percent(70) ? receiver.asked.back() : random_.Pick(receiver.asked);
  }
  messages_.push_back({to, since, hosts_[from].Cut(since)});
  Say(fmt::format("cut {} for {}: {} parts", hosts_[from].name(), receiver.name(),
                  messages_.back().parcel.size()));
}

void Simulation::Deliver(std::size_t to, const Message& message) {
  Host& host = hosts_[to];
  const bool covered = message.parcel.empty() || Covers(host.catalogue().Known(), message.since);
  const auto taken = host.Give(message.parcel);
  const bool not_yet = collecting_ && covered && !taken && taken.error() == Errno(EAGAIN);
  Say(fmt::format("give {}: {}", host.name(),
                  not_yet   ? "not yet"
                  : covered ? "taken"
                            : "not covered"));
  if (not_yet) return;
  if (covered) {
    Must(taken, "a delta for " + host.name());
  } else {
    Require(!taken && taken.error() == Error::kNotCovered,
            "a delta that starts after what " + host.name() + " knows was taken");
  }
  Must(host.catalogue().CheckIntegrity(), "integrity of " + host.name());
  CheckKernel(host, {});
}

// After an unmount or a kill -9.
void Simulation::Restart(Host& host) {
  const Tree before = host.ReadTree();
  const Summary known = host.catalogue().Known();
  const DeviceId self = host.catalogue().self();
  const bool killed = random_.Percent(50);
  const Cache cache = host.ReadCache();
  host.Close();
  if (killed) host.WriteCache(cache, true);
  Open(host);
  Say(host.name() + (killed ? " killed" : " restarted"));
  CheckAfterRestart(host, before, known, self);
}

void Simulation::CheckAfterRestart(Host& host, const Tree& before, const Summary& known,
                                   const DeviceId& self) {
  Require(host.ReadTree() == before, host.name() + " has another tree after a restart");
  Require(host.catalogue().Known() == known && host.catalogue().self() == self,
          host.name() + " is not itself after a restart");
  std::set<Ino> dirty;
  for (const DirtyFile& file : Must(host.catalogue().DirtyFiles(), "dirty files")) {
    if (!file.orphan) dirty.insert(file.ino);
  }
  for (const auto& [ino, open] : host.open) {
    Require(dirty.count(ino) == 1, host.name() + " forgot that a file was open for writing");
  }
  Require(dirty.size() == host.open.size(), host.name() + " takes a closed file for open");
}

void Simulation::BackUp(Host& host) {
  if (!host.open.empty()) return;
  host.Close();
  host.backup = host.ReadCache();
  Open(host);
  Say(host.name() + " backed up");
}

// An older state of the cache comes back (what had reached the disk before a power cut, too), while
// others have all that this host had told. It must never again number rows as the device that it
// was.
void Simulation::Restore(Host& host) {
  if (host.backup.empty()) return;
  const std::size_t from = random_.Below(hosts_.size() - 1);
  Host& other = hosts_[&hosts_[from] == &host ? hosts_.size() - 1 : from];
  Deliver(static_cast<std::size_t>(&other - hosts_.data()),
          {0, other.catalogue().Known(), host.Cut(other.catalogue().Known())});
  const Summary known = host.catalogue().Known();
  const DeviceId self = host.catalogue().self();
  const bool power_cut = random_.Percent(30);
  const bool in_place = power_cut || random_.Percent(50);
  host.Close();
  host.WriteCache(host.backup, in_place);
  if (power_cut) host.ForgetBoot();
  host.open.clear();
  Open(host);
  Say(host.name() + (power_cut ? " lost power" : in_place ? " rolled back" : " restored"));
  const bool lost = host.catalogue().Known() != known;
  // In place nothing shows it but a peer that knows more of this device than it does itself.
  const Summary since = host.catalogue().Known();
  auto given = host.Give(other.Cut(since));
  if (!given && given.error() == make_error_code(Error::kNotCovered)) {
    // It became another device, which knows nothing of what it was before: it asks again.
    given = host.Give(other.Cut(host.catalogue().Known()));
  }
  Must(given, "a delta after a restore");
  CheckKernel(host, {});
  const auto wrote = [&](const Summary& summary) {
    const auto found = summary.find(self);
    return found == summary.end() ? 0 : found->second;
  };
  if (power_cut || !in_place || (lost && wrote(since) < wrote(known))) {
    Require(host.catalogue().self() != self, host.name() + " goes on as the device that it was");
  }
  Require(Covers(host.catalogue().Known(), known),
          host.name() + " did not learn again what it knew");
  Must(host.catalogue().CheckIntegrity(), "integrity of " + host.name());
}

void Simulation::CollectStep(Host& host) {
  const Tree before = host.ReadTree();
  VersionLimits limits;
  limits.age_ns = random_.Percent(80) ? 0 : 2 * 86'400 * kSecond;
  std::unordered_set<Ino> open;
  for (const auto& [ino, file] : host.open) open.insert(ino);
  Must(host.catalogue().PruneVersions(limits), "prune");
  const auto gone = Must(host.catalogue().Collect(limits, open), "collect");
  Say(fmt::format("{} lets {} go", host.name(), gone));
  Require(host.ReadTree() == before, "letting go changed the tree of " + host.name());
  Must(host.catalogue().CheckIntegrity(), "integrity of " + host.name());
  CheckKernel(host, {});
}

// With nobody at work, all of what was deleted goes.
void Simulation::CollectAll() {
  const Tree before = hosts_[0].ReadTree();
  VersionLimits limits;
  limits.age_ns = -400 * 86'400 * kSecond;  // whatever their clocks say
  for (int round = 0; round < 5; ++round) {
    for (Host& host : hosts_) {
      Must(host.catalogue().PruneVersions(limits), "prune");
      Must(host.catalogue().Collect(limits), "collect");
    }
    ExchangeAll();
  }
  for (Host& host : hosts_) {
    Require(host.ReadTree() == before, "letting go changed the tree of " + host.name());
  }
}

// Every file is closed, late messages arrive, the network is whole.
void Simulation::Settle() {
  for (Host& host : hosts_) {
    host.group = 0;
    while (!host.open.empty()) {
      const auto& [ino, open] = *host.open.begin();
      if (open.first || random_.Percent(50)) {
        const Ino committed = ino;
        CommitOpen(host, committed, false);
        CheckKernel(host, {.names = {}, .gone = {}, .nodes = {committed}});
      } else {
        Must(host.catalogue().AbandonWrite(ino), "close");
        host.open.erase(host.open.begin());
      }
    }
  }
  random_.Shuffle(messages_);
  for (const Message& message : messages_) Deliver(message.to, message);
}

void Simulation::ExchangeAll() {
  Say("full exchange");
  for (std::size_t round = 1;; ++round) {
    Require(round <= kExchangeRoundsMax, "the hosts go on writing rows to each other");
    std::vector<Summary> before;
    for (Host& host : hosts_) before.push_back(host.catalogue().Known());
    std::vector<std::pair<std::size_t, std::size_t>> pairs;
    for (std::size_t from = 0; from < hosts_.size(); ++from) {
      for (std::size_t to = 0; to < hosts_.size(); ++to) {
        if (from != to) pairs.emplace_back(from, to);
      }
    }
    random_.Shuffle(pairs);
    for (const auto& [from, to] : pairs) {
      const Summary since = hosts_[to].catalogue().Known();
      Deliver(to, {to, since, hosts_[from].Cut(since)});
    }
    const bool quiet = std::equal(
        before.begin(), before.end(), hosts_.begin(),
        [](const Summary& known, Host& host) { return known == host.catalogue().Known(); });
    if (quiet) break;
  }
  const Tree tree = hosts_[0].ReadTree();
  Say(ToString(tree));
  const Parcel rows = hosts_[0].AllRows();
  for (Host& host : hosts_) {
    const Tree other = host.ReadTree();
    Require(other == tree,
            fmt::format("{} has\n{}A has\n{}", host.name(), ToString(other), ToString(tree)));
    Require(collecting_ || host.AllRows() == rows, host.name() + " has other rows than A");
    Must(host.catalogue().CheckIntegrity(), "integrity of " + host.name());
  }
}

void Simulation::CheckNothingLost() {
  std::set<std::string> shown;
  for (const auto& [path, entry] : hosts_[0].ReadTree()) shown.insert(entry.content);
  for (const std::string& content : written_) {
    Require(shown.count(content) == 1 || replaced_.count(content) == 1, "lost: " + content);
  }
}

}  // namespace btfc::index
