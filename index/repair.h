// Repairs: ordinary rows, functions of the rows they repair, that make a filesystem of what merging
// left: one head a file, live parents, no cycles, one link a name. Two hosts that repair the same
// write the same. The executable specification is tests/model/replication.py (Host.repair).
#pragma once

#include "index/session.h"

namespace btfc::index {

// Looks only at what the session touched. On the thread that writes, inside its transaction.
class Repairer {
 public:
  explicit Repairer(Session& session) : s_(session), tables_(session.tables()) {}
  // Runs the repairs in their order until none has anything to do. Throws Error::kCorrupt if that
  // does not end, which only rows made to harm could bring about.
  void Run();

 private:
  // Each answers true if it wrote anything.
  bool Bury();
  bool ReviveEdited();
  bool SettleHeads();
  bool WithdrawCopies();
  bool RepairParents();
  bool RescueDangling();
  bool BreakCycle();
  bool RepairNames();

  void TakeTouched();
  void Sort(Ino ino);
  std::vector<InodeBrief> Take(std::set<Ino>& todo);
  bool IsSurplus(const InodeBrief& inode);
  bool WasOverwritten(Ino ino, const Dot& commit);
  void SettleHeadsOf(Ino ino);
  void WriteCopy(Ino inode, const HeldVersion& head);
  void ReviveLink(const Link& link);
  void MoveLink(const Link& link, const Slot& to);
  void RemoveLink(const Link& link, Ino merged_into);
  void WithdrawLink(const Link& link);
  void UndoMove(const std::vector<Ino>& cycle);
  void RepairName(std::vector<Link> links);
  std::string HostName(const DeviceId& device);

  // The folders from this one up to the root, or once round a cycle; and where that ended.
  struct Way {
    std::vector<Ino> folders;
    Ino end = 0;
  };
  Way Above(Ino folder);
  std::optional<Ino> ParentOf(Ino folder);  // nothing: its place has not come
  std::optional<std::vector<Ino>> CycleAbove(Ino folder, std::unordered_set<Ino>& good);

  struct Lateness {
    Stamp stamp;
    LinkId link;
    auto operator<=>(const Lateness&) const = default;
  };
  Lateness LatenessOf(const Link& link);

  Session& s_;
  Tables& tables_;
  // Files that each of the repairs has still to look at.
  std::set<Ino> to_bury_, to_revive_, to_settle_, to_withdraw_;
};

}  // namespace btfc::index
