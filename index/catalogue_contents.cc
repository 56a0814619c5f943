// Local operations on contents: the note that a file is being written, and its versions.
#include <algorithm>

#include "index/catalogue_impl.h"
#include "index/merkle.h"
#include "index/operations.h"
#include "index/summaries.h"

namespace btfc::index {
namespace {

struct Note {
  Known known;
  bool orphan = false;
};

std::optional<Note> GetNote(Session& session, Ino ino) {
  auto find = session.tables().db().Prepare("SELECT known, orphan FROM dirty WHERE ino = ?");
  find << ino;
  if (!find.Step()) return std::nullopt;
  return Note{session.tables().devices().DecodeKnown(find.Bytes(0)), find.Int(1) != 0};
}

// What a user who opens the file now has before him.
Known KnownNow(Session& session, Ino ino) {
  Known known = session.KnownOf(ino, true);
  JoinInto(known.context, session.known());
  return known;
}

void PutNote(Session& session, Ino ino, bool orphan) {
  Tables& tables = session.tables();
  auto put =
      tables.db().Prepare("INSERT OR IGNORE INTO dirty (ino, known, orphan) VALUES (?, ?, ?)");
  put << ino << tables.devices().EncodeKnown(tables.db(), KnownNow(session, ino)) << orphan;
  put.Run();
}

void DropNote(Session& session, Ino ino) {
  auto drop = session.tables().db().Prepare("DELETE FROM dirty WHERE ino = ?");
  drop << ino;
  drop.Run();
}

std::int64_t CtimeOf(Session& session, Ino ino) {
  auto find = session.tables().db().Prepare("SELECT ctime FROM inode WHERE ino = ?");
  find << ino;
  return find.Step() ? find.Int(0) : 0;
}

void SetCtime(Session& session, Ino ino, std::int64_t ctime_ns) {
  auto update = session.tables().db().Prepare("UPDATE inode SET ctime = ?2 WHERE ino = ?1");
  update << ino << ctime_ns;
  update.Run();
}

Result<void> CheckVersion(const NewVersion& version) {
  const bool is_inline = version.id.size <= kInlineMax;
  if (version.inline_bytes.size() != (is_inline ? version.id.size : 0)) return Errno(EINVAL);
  if (is_inline && ContentIdOf(version.inline_bytes) != version.id) return Errno(EINVAL);
  if (version.id.size > static_cast<std::uint64_t>(INT64_MAX)) return Errno(EFBIG);
  return Ok();
}

void MarkPresent(Session& session, const ContentId& id) {
  auto put = session.tables().db().Prepare(
      "INSERT INTO object (root, size, present) VALUES (?, ?, 1) "
      "ON CONFLICT (root, size) DO UPDATE SET present = 1");
  put << id.root << id.size;
  put.Run();
}

}  // namespace

bool IsBeingWritten(Session& session, Ino ino) {
  auto find = session.tables().db().Prepare("SELECT 1 FROM dirty WHERE ino = ?");
  find << ino;
  return find.Step() || session.tables().Brief(ino).pending;
}

Result<void> Catalogue::BeginWrite(Ino ino, bool durable) {
  // A file that waits for its first content is dirty as it is, and its first version has nothing
  // to cover.
  const auto waits = impl_->Read([&](Reader& reader) -> Result<bool> {
    auto find = reader.db().Prepare("SELECT pending FROM inode WHERE ino = ?");
    find << ino;
    return find.Step() && find.Int(0) != 0;
  });
  if (waits && waits.value()) return durable ? impl_->Sync() : Ok();
  const auto noted =
      impl_->Write(Record(Operation::kBeginWrite, ino), [&](Session& session) -> Result<void> {
        BOOST_OUTCOME_TRYA(node, NodeOf(session, ino));
        if (node.kind == Kind::kFolder) return Errno(EISDIR);
        if (node.kind != Kind::kFile) return Errno(EINVAL);
        PutNote(session, ino, node.nlink == 0);
        return Ok();
      });
  if (!noted || !durable) return noted;
  return impl_->Sync();
}

Result<Node> Catalogue::Commit(Ino ino, const NewVersion& version, bool still_open) {
  const auto record = Record(Operation::kCommit, ino, version, still_open);
  return impl_->Write(record, [&](Session& session) -> Result<Node> {
    BOOST_OUTCOME_TRYV(CheckVersion(version));
    // A file that was never published is gone with its last name.
    const auto found = session.tables().FindBrief(ino);
    if (!found) return Errno(ESTALE);
    const InodeBrief& inode = *found;
    if (inode.kind != Kind::kFile) return Errno(EINVAL);
    const auto note = GetNote(session, ino);
    const bool removed_here = note ? note->orphan : inode.nlink == 0;
    if (removed_here || (inode.pending && inode.nlink == 0)) return Errno(ESTALE);

    VersionRow row;
    row.ino = ino;
    if (inode.pending) {
      session.Publish(ino);
    } else {
      row.known = note ? note->known : KnownNow(session, ino);
      const auto own = session.known().find(session.self());
      if (own != session.known().end())
        JoinInto(row.known.context, Dot{session.self(), own->second});
    }
    if (version.id.size > kInlineMax) MarkPresent(session, version.id);
    row.content = version.id;
    row.mtime_ns = version.mtime_ns;
    row.inline_bytes = version.inline_bytes;
    auto replaced = inode.head == 0 ? std::vector<Stamp>() : session.VersionStamps(ino);
    if (inode.set_time != 0) {
      replaced.push_back(session.tables().GetRegister(ino, kMtimeRegister)->stamp);
    }
    row.stamp = session.Now(replaced);
    row.dot = row.commit = session.NextDot();
    if (inode.pending && inode.head == 0) {
      session.WriteFirst(row, version.ctime_ns != 0 ? version.ctime_ns : row.stamp.time_ns);
    } else {
      session.Merge(std::move(row));
      if (version.ctime_ns != 0) SetCtime(session, ino, std::max(inode.ctime_ns, version.ctime_ns));
    }
    if (!still_open) {
      DropNote(session, ino);
    } else if (inode.pending) {
      PutNote(session, ino, false);
    }
    return NodeOf(session, ino);
  });
}

Result<void> Catalogue::CommitTimes(Ino ino, std::int64_t mtime_ns, std::int64_t ctime_ns) {
  return impl_->Write([&](Session& session) -> Result<void> {
    BOOST_OUTCOME_TRYV(NodeOf(session, ino));
    const std::int64_t shown_ns = CtimeOf(session, ino);
    WriteMtime(session, ino, mtime_ns);
    SetCtime(session, ino, std::max(shown_ns, ctime_ns));
    DropNote(session, ino);
    return Ok();
  });
}

Result<void> Catalogue::AbandonWrite(Ino ino) {
  return impl_->WriteToFree(Record(Operation::kAbandonWrite, ino),
                            [&](Session& session) -> Result<void> {
                              DropNote(session, ino);
                              return Ok();
                            });
}

Result<std::vector<DirtyFile>> Catalogue::DirtyFiles() {
  return impl_->Read([&](Reader& reader) -> Result<std::vector<DirtyFile>> {
    // A file never published needs its first content, whether or not anybody has opened it.
    auto find = reader.db().Prepare(
        "SELECT d.ino, d.orphan OR (i.pending AND i.nlink = 0) FROM dirty d "
        "JOIN inode i ON i.ino = d.ino "
        "UNION SELECT ino, nlink = 0 FROM inode WHERE pending = 1 "
        "AND ino NOT IN (SELECT ino FROM dirty)");
    std::vector<DirtyFile> files;
    while (find.Step()) files.push_back({.ino = find.Unsigned(0), .orphan = find.Int(1) != 0});
    return files;
  });
}

}  // namespace btfc::index
