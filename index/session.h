// The working state of one write transaction: what merging touched, and so what has to be derived
// again, repaired, and told to the mount. The rules of replication are here, in five parts:
//   merge.cc    rows join into the tables
//   derive.cc   liveness, folders after merges, names shown, figures of inodes
//   repair.cc   ordinary rows that make a filesystem of it again
//   alone.cc    what all that comes to for a link that nothing else touches
//   publish.cc  a file's rows, kept back until its first content, get their dots
// On the thread that writes, inside its transaction.
#pragma once

#include <functional>
#include <initializer_list>
#include <map>
#include <set>
#include <unordered_set>
#include <vector>

#include "index/catalogue.h"
#include "index/tables.h"

namespace btfc::index {

struct SessionContext {
  DeviceId self;
  std::string host_name;
  std::int64_t now_ns = 0;
  std::function<std::array<std::uint8_t, 16>()> new_id;
  std::size_t kept_versions = 0;
  bool keeps_known = true;  // Finish stores what is known; else whoever commits does
};

class Session {
 public:
  Session(Tables& tables, const SessionContext& context, Summary known);
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  Tables& tables() { return tables_; }
  const Summary& known() const { return known_; }
  const DeviceId& self() const { return context_.self; }
  std::int64_t now_ns() const { return context_.now_ns; }
  bool wrote() const { return wrote_; }  // rows that peers do not have
  bool members_changed() const { return members_changed_; }
  bool heard_horizons() const { return heard_horizons_; }
  std::vector<Change> TakeChanges() { return std::move(changes_); }

  // --- rows of this host
  Dot NextDot();
  Stamp Now(std::initializer_list<Stamp> replaced = {});
  Stamp Now(const std::vector<Stamp>& replaced);
  template <class IdType>
  IdType NewId() {
    return {context_.new_id()};
  }
  void TakeIncarnation(const DeviceId& self);  // rows from here on are that device's
  // The device of before has used some of its numbers twice, for rows that others have and for
  // others that only this host has: all that are here get new ones, and nothing is known of it.
  void Disown(const DeviceId& before);

  // --- merge.cc: one join each. Rows of this host come the same way as everybody's.
  void Merge(const DeviceRow& row);
  void Merge(const InodeRow& row, bool pending = false);
  void Merge(const AttributesRow& row);
  void Merge(const RegisterRow& row);
  void Merge(const PlaceRow& row);
  void Merge(VersionRow row);
  void Merge(RemovalRow row);
  void Merge(const SeenRow& row);
  void JoinKnown(const Summary& until);

  // --- derive.cc
  // `moved`: its name or folder changed, even if nothing else will.
  void RefreshLink(LinkNo link, bool moved = false);
  void RefreshHead(Ino ino);
  Ino Follow(Ino folder);  // through merges of folders
  // Best first. `undeleted`: some version is not covered by a removal.
  std::vector<HeldVersion> Heads(Ino ino, bool* undeleted = nullptr);
  Known KnownOf(Ino ino, bool user);  // everything known of its versions, by a user's write
  std::vector<Stamp> VersionStamps(Ino ino);
  void NoteObject(const ContentId& id);
  void ChangedFolder(Ino folder, std::int64_t time_ns);
  void Touched(Ino ino, std::int64_t time_ns);  // ctime
  void Revive(Ino ino);
  void CountSubfolder(Ino folder, int difference);

  // --- history.cc
  // False if it is not there (any more).
  bool DropFromHistory(VersionNo version);
  // An inode without a name that somebody may still want back.
  bool IsKeptGone(Ino ino);
  void DropGone(Ino ino);

  // --- publish.cc
  // The link goes, by this host's user. For `waiting`, a file not published yet, that takes its
  // place, others hear of it when that one is published.
  // `alone`: no other link is at its name.
  void Unlink(const Link& link, const InodeBrief& inode, bool alone, Ino waiting = 0);
  void Publish(Ino file);
  // A published link takes this name: removals that waited there wait no longer.
  void PublishRemovalsAt(const Slot& spot);
  void PublishRemovalsIn(Ino folder);  // the folder is about to go
  void DropPending(Ino file);          // never published, no name left, nobody holds it

  // --- alone.cc
  // A later place in the same folder, at a name that no link of this host's users has; or none.
  // False: to be merged as other rows are.
  bool MoveAlone(const Link& link, PlaceRow row);
  // The first version of a file, with the first rows of it that others get.
  void WriteFirst(const VersionRow& row, std::int64_t ctime_ns);

  // --- ends
  // From here on, what changes is told. Finish begins with it for a local operation, whose own
  // rows were asked for by the one who waits for it; a remote delta is told from the start.
  void WatchChanges();
  // A name that is about to be given without a merge.
  void WatchName(const Slot& spot) { TouchSpot(spot); }
  // Repairs, then settles what is shown. Call once, before the commit.
  void Finish();
  // Before, where it matters what the repairs make of it.
  void Repair();

 private:
  friend class Repairer;

  // merge.cc
  void MergeIntoVersions(VersionRow row, const std::vector<HeldVersion>& versions);
  void TouchedCopy(Ino ino);
  void JoinEarlyRemoval(LinkNo link, Ino ino);
  void Widen(const HeldVersion& held, const Known& known);
  void ToHistory(const HeldVersion& held);

  // alone.cc
  bool RemoveAlone(const Link& link, const InodeBrief& inode,
                   const std::vector<HeldVersion>& versions, const RemovalRow& row);
  bool TakeAlone(const Link& link, const InodeBrief& inode, std::int64_t time_ns);
  bool PublishAlone(const Link& link);

  // history.cc
  void Archive(const VersionRow& row, const std::string& inline_bytes);
  void ThinOut(Ino ino);

  // derive.cc
  Known KnownOf(Ino ino, std::vector<HeldVersion> versions, bool user);
  std::vector<HeldVersion> HeadsAmong(Ino ino, std::vector<HeldVersion> versions, bool* undeleted);
  bool Usable(Ino folder);
  bool AliveAfter(const std::optional<Stamp>& seen, const Link& link, const InodeBrief& inode);
  bool TakenByPending(const Link& link, const InodeBrief& inode);
  void RefreshLinksOf(Ino ino);
  void RefreshRemovedLinksOf(Ino ino);
  void RefreshLinksIn(Ino folder);
  void Count(const Link& was, const Link& is, const InodeBrief& inode);
  void RefreshMtime(const InodeBrief& inode, const HeldVersion* head);
  void NoteObjectsOf(Ino ino);
  void RefreshObjects();
  void TouchSpot(const Slot& spot);
  void SettleSpots();
  void ShowOne(const Slot& spot, std::vector<Link>& links);
  void MakeWay(const Link& pending);

  // publish.cc
  void PublishRemoval(LinkNo link);
  bool RemoveTaken(const RemovalRow& row);
  void PublishRemovalsOf(Ino waiting);
  void PublishFound(Statement& find);  // links of pending_removal

  // change feed
  void NoteBefore(Ino ino, const InodeBrief& brief);
  void NoteAttributes(Ino ino);
  void CollectChanges();
  Ino ShownAt(const Slot& spot);
  std::optional<ContentId> ContentOf(Ino ino);

  Tables& tables_;
  SessionContext context_;
  Summary known_;
  Summary known_before_;
  bool wrote_ = false;
  bool members_changed_ = false;  // a host was removed
  bool heard_horizons_ = false;   // rows "seen" came
  bool watching_ = false;
  Ino first_new_ = ~Ino{0};  // inodes from here on are new with this transaction: nobody shows them

  // What the repairs look at; each repair takes its own set.
  std::set<Ino> versions_touched_;            // heads or links of these changed
  std::unordered_set<Ino> folders_to_check_;  // have they live entries and are dead themselves?
  std::set<LinkNo> dangling_;                 // in a folder whose rows have not come
  std::unordered_set<Ino> moved_folders_;     // may be in a cycle now
  std::set<Slot> collisions_;                 // names to be checked for several links
  std::set<Slot> spots_;                      // names whose shown link is settled at the end

  std::set<ContentId> objects_;
  std::map<Slot, Ino> shown_before_;
  std::map<Ino, std::optional<ContentId>> content_before_;
  std::set<Ino> attributes_changed_;
  std::set<Slot> uncovered_;  // a link came to light that a file not yet published had hidden
  std::vector<Change> changes_;
};

}  // namespace btfc::index
