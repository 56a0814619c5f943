// Which objects are here, which are needed, which are not.
#include "index/catalogue_impl.h"

namespace btfc::index {
namespace {

ContentId ReadContent(const Statement& row) {
  return {row.Fixed<std::array<std::uint8_t, 32>>(0), row.Unsigned(1)};
}

// What `query` finds, which goes on after a name and is limited, in the order of the names.
Result<std::vector<ContentId>> ObjectsAfter(Database& db, Sql query,
                                            const std::optional<ContentId>& after,
                                            std::size_t limit) {
  const ContentId from = after.value_or(ContentId{});
  auto find = db.Prepare(query);
  find << from.root << from.size << static_cast<std::uint64_t>(limit);
  std::vector<ContentId> ids;
  while (find.Step()) ids.push_back(ReadContent(find));
  return ids;
}

}  // namespace

Result<void> Catalogue::SetPresent(const ContentId& id, bool present) {
  const auto set = [&](Session& session) -> Result<void> {
    auto put = session.tables().db().Prepare(
        "INSERT INTO object (root, size, present) VALUES (?1, ?2, ?3) "
        "ON CONFLICT (root, size) DO UPDATE SET present = ?3");
    put << id.root << id.size << present;
    put.Run();
    session.NoteObject(id);
    return Ok();
  };
  return present ? impl_->Write(set) : impl_->WriteToFree({}, set);
}

Result<std::vector<ContentId>> Catalogue::Missing(const std::optional<ContentId>& after,
                                                  std::size_t limit) {
  return impl_->Read([&](Reader& reader) {
    return ObjectsAfter(reader.db(),
                        "SELECT root, size FROM object WHERE needed = 1 AND present = 0 "
                        "AND (root, size) > (?, ?) ORDER BY root, size LIMIT ?",
                        after, limit);
  });
}

Result<std::vector<ContentId>> Catalogue::Present(const std::optional<ContentId>& after,
                                                  std::size_t limit) {
  return impl_->Read([&](Reader& reader) {
    return ObjectsAfter(reader.db(),
                        "SELECT root, size FROM object WHERE present = 1 "
                        "AND (root, size) > (?, ?) ORDER BY root, size LIMIT ?",
                        after, limit);
  });
}

Result<bool> Catalogue::IsPresent(const ContentId& id) {
  return impl_->Read([&](Reader& reader) -> Result<bool> {
    auto find = reader.db().Prepare("SELECT present FROM object WHERE root = ? AND size = ?");
    find << id.root << id.size;
    return find.Step() && find.Int(0) != 0;
  });
}

Result<std::vector<Ino>> Catalogue::FilesOf(const ContentId& id, std::size_t limit) {
  return impl_->Read([&](Reader& reader) -> Result<std::vector<Ino>> {
    auto find = reader.db().Prepare(
        "SELECT v.ino FROM version v JOIN inode i ON i.ino = v.ino AND i.head = v.version "
        "WHERE v.root = ? AND v.size = ? AND v.size > 16384 AND i.nlink > 0 "
        "ORDER BY v.ino LIMIT ?");
    find << id.root << id.size << static_cast<std::uint64_t>(limit);
    std::vector<Ino> files;
    while (find.Step()) files.push_back(find.Unsigned(0));
    return files;
  });
}

Result<std::vector<ContentId>> Catalogue::OtherVersions(const ContentId& id, std::size_t limit) {
  return impl_->Read([&](Reader& reader) -> Result<std::vector<ContentId>> {
    auto find = reader.db().Prepare(
        "WITH file AS ("
        "SELECT v.ino FROM version v JOIN inode i ON i.ino = v.ino AND i.head = v.version "
        "WHERE v.root = ?1 AND v.size = ?2 AND v.size > 16384 "
        "UNION SELECT ino FROM history WHERE root = ?1 AND size = ?2 AND size > 16384), "
        "other AS ("
        "SELECT v.root, v.size, 1 AS current, v.time FROM file JOIN inode i ON i.ino = file.ino "
        "JOIN version v ON v.version = i.head "
        "UNION ALL SELECT h.root, h.size, 0, h.time FROM file JOIN history h ON h.ino = file.ino) "
        "SELECT o.root, o.size FROM other o "
        "JOIN object b ON b.root = o.root AND b.size = o.size AND b.present = 1 "
        "WHERE o.size > 16384 AND (o.root, o.size) <> (?1, ?2) "
        "GROUP BY o.root, o.size ORDER BY max(o.current) DESC, max(o.time) DESC LIMIT ?3");
    find << id.root << id.size << limit;
    std::vector<ContentId> others;
    while (find.Step()) others.push_back(ReadContent(find));
    return others;
  });
}

Result<std::uint64_t> Catalogue::Users(const ContentId& id, std::optional<Ino> except) {
  return impl_->Read([&](Reader& reader) -> Result<std::uint64_t> {
    auto find = reader.db().Prepare(
        "SELECT count(*) FROM ("
        "SELECT v.ino FROM version v JOIN inode i ON i.ino = v.ino "
        "WHERE v.root = ?1 AND v.size = ?2 AND v.size > 16384 "
        "AND (i.live_links > 0 OR i.nlink > 0 OR i.gone > 0) "
        "UNION SELECT ino FROM history WHERE root = ?1 AND size = ?2 AND size > 16384) "
        "WHERE ino <> ?3");
    find << id.root << id.size << except.value_or(0);
    find.Step();
    return find.Unsigned(0);
  });
}

Result<std::uint64_t> Catalogue::Holders(const ContentId& id, Ino except) {
  return impl_->Read([&](Reader& reader) -> Result<std::uint64_t> {
    auto find = reader.db().Prepare(
        "SELECT count(DISTINCT v.ino) FROM version v JOIN inode i ON i.ino = v.ino "
        "WHERE v.root = ?1 AND v.size = ?2 AND v.size > 16384 "
        "AND (i.live_links > 0 OR i.nlink > 0) AND v.ino <> ?3");
    find << id.root << id.size << except;
    find.Step();
    return find.Unsigned(0);
  });
}

Result<std::vector<ContentId>> Catalogue::Unused(std::size_t limit) {
  return impl_->Read([&](Reader& reader) -> Result<std::vector<ContentId>> {
    auto find = reader.db().Prepare(
        "SELECT root, size FROM object WHERE present = 1 AND needed = 0 AND kept = 0 "
        "ORDER BY root, size LIMIT ?");
    find << static_cast<std::uint64_t>(limit);
    std::vector<ContentId> ids;
    while (find.Step()) ids.push_back(ReadContent(find));
    return ids;
  });
}

}  // namespace btfc::index
