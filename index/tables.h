// The rows as they stand in SQLite, one function for each question or write. No rules in here.
#pragma once

#include <optional>
#include <string_view>
#include <vector>

#include "index/devices.h"
#include "index/rows.h"
#include "index/sqlite.h"

namespace btfc::index {

// On the connection that writes; inside its transaction, on its thread.
class Tables {
 public:
  Tables(Database& database, DeviceTable& devices) : db_(database), devices_(devices) {}
  Database& db() { return db_; }
  DeviceTable& devices() { return devices_; }
  // After a transaction was rolled back: numbers that it gave are free again.
  void Reload();

  // --- names to numbers; a number is given if there is none
  Ino InoOf(const InodeId& id);
  Ino NextIno();
  Ino next_ino() const { return next_ino_; }  // 0: to be asked for
  void SetNextIno(Ino next);                  // as it was once, to do the same again
  LinkNo LinkOf(const LinkId& id);
  std::optional<Ino> FindInode(const InodeId& id);
  std::optional<LinkNo> FindLink(const LinkId& id);
  InodeId IdOfInode(Ino ino);
  LinkId IdOfLink(LinkNo link);

  // --- whole new things, of ids that nobody has
  void InsertInode(const InodeRow& row, const AttributesRow& attributes, bool pending);
  void InsertLink(const Link& link, bool conflict);

  // --- inodes
  InodeBrief Brief(Ino ino);
  std::optional<InodeBrief> FindBrief(Ino ino);  // nothing if there is no such inode
  std::optional<InodeRow> GetInode(Ino ino);
  void PutInode(const InodeRow& row, bool pending);
  std::optional<AttributesRow> GetAttributes(Ino ino);
  void PutAttributes(const AttributesRow& row);
  std::optional<RegisterRow> GetRegister(Ino ino, std::string_view name);
  std::optional<RegisterRow> GetRegister(std::int64_t number);
  std::vector<RegisterRow> GetRegisters(Ino ino);
  void PutRegister(const RegisterRow& row);
  Summary RemovedContext(Ino ino);
  void PutRemovedContext(Ino ino, const Summary& removed);
  // Its last name went, with all of its versions.
  void PutGone(Ino ino, const Summary& removed, std::int64_t time_ns, std::int64_t now_ns);
  // The inode and its attributes get their dots, and so many links are live now.
  void PutPublished(Ino ino, const Dot& inode, const Dot& attributes, int live_links);

  // --- links
  std::optional<Link> GetLink(LinkNo link);  // nothing while only its removal has come
  std::vector<LinkNo> LinksOf(Ino ino);
  std::vector<LinkNo> LinksIn(Ino up);
  std::vector<Link> LinksAt(const Slot& spot);  // spot.folder: after merges
  std::optional<Link> FolderLink(Ino folder);
  void PutPlace(const PlaceRow& row);                 // its mark as a conflict goes
  void PutMoved(const PlaceRow& row, bool conflict);  // of the same inode
  void PutHidden(const Link& link);                   // the state of one that is not shown
  void PutPublished(const Link& link);                // dot and state
  void PutDot(LinkNo link, const Dot& dot);
  void PutDerived(const Link& link, bool conflict);
  void DropPlace(LinkNo link);

  std::optional<Removal> GetRemoval(LinkNo link);
  void PutRemoval(const RemovalRow& row);

  // --- versions
  std::vector<HeldVersion> Versions(Ino ino);               // without inline bytes
  std::optional<VersionRow> GetVersion(VersionNo version);  // without inline bytes
  std::string InlineOf(VersionNo version);
  VersionNo InsertVersion(const VersionRow& row);
  void UpdateVersion(VersionNo version, const VersionRow& row);  // context, stamp, dot, extra
  void DropVersion(VersionNo version);

  // --- devices
  std::optional<DeviceRow> GetDevice(const DeviceId& device);
  void PutDevice(const DeviceRow& row);
  void PutKnown(const Summary& known, const Summary& stored);  // what is more than `stored`
  std::optional<SeenRow> GetSeen(const DeviceId& device);
  void PutSeen(const SeenRow& row);
  Summary MetaSummary(const char* key);  // empty if there is none
  void PutMetaSummary(const char* key, const Summary& summary);
  Summary Known();

  // --- rows of kinds that this version does not know
  void PutOther(const Dot& dot, std::string_view row);
  std::string GetOther(const Dot& dot);

  // --- owners
  std::int64_t OwnerNumber(const Owner& owner);
  Owner GetOwner(std::int64_t number);

  // --- columns in groups
  void Bind(Statement& statement, const Stamp& stamp);  // time, dev, life, sub
  void Bind(Statement& statement, const Dot& dot);      // dot_dev, dot_n
  void BindHead(Statement& statement, const RowHead& row);
  Stamp ReadStamp(const Statement& statement, int column) const;
  Dot ReadDot(const Statement& statement, int column) const;
  void ReadHead(const Statement& statement, int column, RowHead& row) const;

 private:
  Link ReadLink(const Statement& statement) const;
  HeldVersion ReadVersion(const Statement& statement) const;
  std::int64_t StoredOwner(const Owner& owner);

  Database& db_;
  DeviceTable& devices_;
  Ino next_ino_ = 0, reserved_ino_ = 0;
  std::vector<std::pair<std::int64_t, Owner>> owners_;  // the latest ones, by number
};

}  // namespace btfc::index
