// A cluster of real catalogues on a simulated network, driven by one seed: the same seed gives the
// same trace. Anything that must not be throws std::runtime_error.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <unordered_set>
#include <vector>

#include "simulation_cache.h"
#include "simulation_host.h"
#include "simulation_random.h"

namespace btfc::index {

// What users of the simulation call their files.
inline const std::vector<std::string> kNames = {"a.txt", ".b", "c"};

// One test thread.
class Simulation {
 public:
  // Catalogues live below `folder`, which is empty. `collecting`: hosts that all know each other
  // let go of the rows of what was deleted; none leaves, comes later, or goes back to a backup.
  Simulation(std::uint64_t seed, std::filesystem::path folder, bool collecting = false);

  // Random operations, then full exchange and every check.
  void Run();

  // What happened, a line a step.
  const std::vector<std::string>& trace() const { return trace_; }

 private:
  // A file that some process of a host holds open for writing. A host's processes share one.
  struct OpenFile {
    std::set<std::string> had;  // contents that its next version replaces, knowing them
    bool first = false;         // there is no version yet
  };
  struct Host : SimulatedHost {
    using SimulatedHost::SimulatedHost;
    std::map<Ino, OpenFile> open;
    std::int64_t skew_ns = 0;
    unsigned group = 0;          // hosts of other groups are cut off
    std::vector<Summary> asked;  // summaries that peers may still cut deltas for
    KernelCache kernel{kNames};
    std::shared_ptr<std::vector<Change>> told = std::make_shared<std::vector<Change>>();
    Cache backup;  // of its cache, when no file was open for writing
  };
  struct Message {
    std::size_t to = 0;
    Summary since;
    Parcel parcel;
  };
  // Of one local operation: what it sees, and the tree it must leave behind.
  struct Moment {
    Host& host;
    const Tree before;
    Tree want;
    bool exact = true;      // compare with want
    std::set<Ino> touched;  // by it, besides what differs between before and want
    std::vector<std::string> files, folders, all;
  };

  void Say(std::string line) { trace_.push_back(std::move(line)); }

  // simulation.cc: the network and what goes wrong with hosts
  void Step();
  void Tick();
  void NetworkStep();
  void Send(std::size_t from, std::size_t to);
  void Deliver(std::size_t to, const Message& message);
  void Open(Host& host);
  void CheckKernel(Host& host, const KernelCache::Own& own);
  void Restart(Host& host);
  void CheckAfterRestart(Host& host, const Tree& before, const Summary& known,
                         const DeviceId& self);
  void BackUp(Host& host);
  void Restore(Host& host);
  void Join();
  void Leave(std::size_t at);
  void CollectStep(Host& host);
  void CollectAll();
  void Settle();
  void ExchangeAll();
  void CheckNothingLost();

  // simulation_operations.cc: what users do
  void LocalStep(Host& host);
  void Check(Moment& moment);
  Tree WithoutReturned(Tree got, const Moment& moment);
  static KernelCache::Own OwnOf(const Moment& moment, const Walk& before, const Walk& after);
  std::string SomeSpot(Moment& moment);
  std::string NewContent();
  void Replaced(const TreeEntry& entry);
  void Dropped(Host& host, const std::optional<Ino>& gone);
  void CommitOpen(Host& host, Ino ino, bool still_open);

  void Create(Moment& moment);
  void CreateMany(Moment& moment);
  void CreateLate(Moment& moment);
  void Write(Moment& moment);
  void OpenForWriting(Moment& moment);
  void CommitSome(Moment& moment);
  void CloseUnchanged(Moment& moment);
  void Save(Moment& moment);
  void MakeFolder(Moment& moment);
  void MakeFolderAndMove(Moment& moment);
  void Unlink(Moment& moment);
  void RemoveFolder(Moment& moment);
  void RemoveTree(Moment& moment);
  void Move(Moment& moment);
  void MoveFolder(Moment& moment);
  void Swap(Moment& moment);
  void Link(Moment& moment);
  void Symlink(Moment& moment);
  void Chmod(Moment& moment);
  void Xattr(Moment& moment);

  // simulation_versions.cc: what users do with what was
  std::string SomePath(Moment& moment);
  void Undelete(Moment& moment);
  void RestoreVersion(Moment& moment);
  void Prune(Moment& moment);

  const std::uint64_t seed_;
  const std::filesystem::path folder_;
  const bool collecting_;
  Random random_;
  std::vector<Host> hosts_;
  bool skewed_ = false;
  char next_name_ = 'A';
  std::vector<Message> messages_;
  std::vector<std::string> trace_;
  std::int64_t wall_ns_ = 1'700'000'000'000'000'000;
  bool equal_contents_ = false;
  std::uint64_t contents_ = 0;
  std::set<std::string> written_;   // contents of acknowledged versions
  std::set<std::string> replaced_;  // those that somebody who had them overwrote or deleted
};

}  // namespace btfc::index
