// Local operations on attributes.
#include <sys/xattr.h>

#include "index/catalogue_impl.h"
#include "index/operations.h"

namespace btfc::index {
namespace {

std::string BigEndian(std::int64_t value) {
  std::string bytes;
  for (int shift = 56; shift >= 0; shift -= 8) {
    bytes += static_cast<char>(static_cast<std::uint64_t>(value) >> shift);
  }
  return bytes;
}

// The main register with the change in it; nothing if the change leaves it alone.
std::optional<AttributesRow> Changed(Session& session, const Node& node,
                                     const AttributeChange& change) {
  if (!change.mode && !change.owner && !change.acl_access && !change.acl_default) {
    return std::nullopt;
  }
  auto held = session.tables().GetAttributes(node.ino);
  AttributesRow row;
  if (held) {
    row = *held;
    row.stamp = session.Now({held->stamp});
  } else {
    row.ino = node.ino;
    row.mode = node.mode;
    row.owner = node.owner;
    row.stamp = session.Now();
  }
  row.extra.clear();
  if (change.mode) row.mode = *change.mode;
  if (change.owner) row.owner = *change.owner;
  if (change.acl_access) row.acl_access = *change.acl_access;
  if (change.acl_default) row.acl_default = *change.acl_default;
  return row;
}

void WriteRegister(Session& session, Ino ino, std::string_view name,
                   std::optional<std::string> value) {
  const auto held = session.tables().GetRegister(ino, name);
  RegisterRow row;
  row.ino = ino;
  row.name = name;
  row.value = std::move(value);
  row.stamp = held ? session.Now({held->stamp}) : session.Now();
  row.dot = DotFor(session, session.tables().Brief(ino));
  session.Merge(std::move(row));
}

}  // namespace

// A time that somebody sets counts from then on, so it has to be later than what it overrides.
void WriteMtime(Session& session, Ino ino, std::int64_t mtime_ns) {
  std::vector<Stamp> replaced = session.VersionStamps(ino);
  if (const auto held = session.tables().GetRegister(ino, kMtimeRegister)) {
    replaced.push_back(held->stamp);
  }
  auto changed = session.tables().db().Prepare("SELECT changed FROM inode WHERE ino = ?");
  changed << ino;
  if (changed.Step()) replaced.push_back({changed.Int(0) - 1, session.self(), 0, 0});
  RegisterRow row;
  row.ino = ino;
  row.name = kMtimeRegister;
  row.value = BigEndian(mtime_ns);
  row.stamp = session.Now(replaced);
  row.dot = DotFor(session, session.tables().Brief(ino));
  session.Merge(std::move(row));
}

Result<Node> Catalogue::SetAttributes(Ino ino, const AttributeChange& change) {
  return impl_->Write(Record(Operation::kSetAttributes, ino, change),
                      [&](Session& session) -> Result<Node> {
                        BOOST_OUTCOME_TRYA(node, NodeOf(session, ino));
                        auto row = Changed(session, node, change);
                        if (row) {
                          BOOST_OUTCOME_TRYV(CheckAttributes(*row));
                          row->dot = DotFor(session, session.tables().Brief(ino));
                          session.Merge(std::move(*row));
                        }
                        if (change.mtime_ns) WriteMtime(session, ino, *change.mtime_ns);
                        if (change.atime_ns) {
                          auto update = session.tables().db().Prepare(
                              "UPDATE inode SET atime = ?, ctime = max(ctime, ?) WHERE ino = ?");
                          update << *change.atime_ns << session.Now().time_ns << ino;
                          update.Run();
                        }
                        return NodeOf(session, ino);
                      });
}

Result<void> Catalogue::SetXattr(Ino ino, std::string_view name, std::string_view value,
                                 int flags) {
  const auto record = Record(Operation::kSetXattr, ino, name, value, flags);
  return impl_->Write(record, [&](Session& session) -> Result<void> {
    if (name.empty() || name.size() > kNameMax || name.find('\0') != name.npos) {
      return Errno(ERANGE);
    }
    if (value.size() > kXattrValueMax) return Errno(E2BIG);
    BOOST_OUTCOME_TRYV(NodeOf(session, ino));
    const std::string key = kXattrRegister + std::string(name);
    const auto held = session.tables().GetRegister(ino, key);
    const bool exists = held && held->value;
    if (exists && (flags & XATTR_CREATE) != 0) return Errno(EEXIST);
    if (!exists && (flags & XATTR_REPLACE) != 0) return Errno(ENODATA);
    WriteRegister(session, ino, key, std::string(value));
    return Ok();
  });
}

Result<void> Catalogue::RemoveXattr(Ino ino, std::string_view name) {
  return impl_->Write(Record(Operation::kRemoveXattr, ino, name),
                      [&](Session& session) -> Result<void> {
                        const std::string key = kXattrRegister + std::string(name);
                        const auto held = session.tables().GetRegister(ino, key);
                        if (!held || !held->value) return Errno(ENODATA);
                        WriteRegister(session, ino, key, std::nullopt);
                        return Ok();
                      });
}

}  // namespace btfc::index
