#include "fs/import_content.h"

#include <fcntl.h>
#include <unistd.h>

#include <string>

#include "fs/clone.h"
#include "index/merkle.h"

namespace btfc::fs {
namespace {

Result<void> CopyTo(const std::filesystem::path& path, const FoundFile& found,
                    const std::function<bool()>& cancelled) {
  BOOST_OUTCOME_TRYA(fd, OpenFile(path, O_CREAT | O_EXCL | O_RDWR, 0600));
  const auto size = static_cast<std::uint64_t>(found.stat.st_size);
  return CloneFile(found.fd.get(), fd.get(), size, cancelled);
}

Result<void> LinkTo(const std::filesystem::path& path, const FoundFile& found) {
  const auto source = "/proc/self/fd/" + std::to_string(found.fd.get());
  if (::linkat(AT_FDCWD, source.c_str(), AT_FDCWD, path.c_str(), AT_SYMLINK_FOLLOW) != 0) {
    return LastError();
  }
  return Ok();
}

Result<index::ContentId> HashOf(const std::filesystem::path& path, const FoundFile& found,
                                const std::function<bool()>& cancelled) {
  BOOST_OUTCOME_TRYA(fd, OpenFile(path, O_RDONLY));
  BOOST_OUTCOME_TRYA(hashed, index::HashFile(fd.get(), cancelled));
  BOOST_OUTCOME_TRYA(now, StatOf(found.fd.get()));
  if (now.st_size != found.stat.st_size || ToNs(now.st_mtim) != ToNs(found.stat.st_mtim)) {
    return Errno(EAGAIN);
  }
  return hashed.id;
}

}  // namespace

Result<ReadFileContent> ReadContent(const FoundFile& found, const ObjectStore& store,
                                    ImportMode mode, std::uint64_t number,
                                    const std::function<bool()>& cancelled) {
  ReadFileContent content;
  content.version.mtime_ns = ToNs(found.stat.st_mtim);
  if (static_cast<std::uint64_t>(found.stat.st_size) <= index::kInlineMax) {
    BOOST_OUTCOME_TRYA(bytes, ReadUpTo(found.fd.get(), 0, index::kInlineMax));
    if (bytes.size() != static_cast<std::size_t>(found.stat.st_size)) return Errno(EAGAIN);
    content.version.id = index::ContentIdOf(bytes);
    content.version.inline_bytes = std::move(bytes);
    return content;
  }
  // Into a file of our own first: what is hashed is then what is kept, whoever writes meanwhile.
  content.file = store.ImportPath(number);
  ::unlink(content.file.c_str());
  auto made = mode == ImportMode::kLink ? LinkTo(content.file, found)
                                        : CopyTo(content.file, found, cancelled);
  // Another filesystem, or a file that may not be linked to.
  if (!made && mode == ImportMode::kLink) made = CopyTo(content.file, found, cancelled);
  auto id = made ? HashOf(content.file, found, cancelled) : Result<index::ContentId>(made.error());
  if (!id) {
    ::unlink(content.file.c_str());
    return id.error();
  }
  content.version.id = id.value();
  return content;
}

}  // namespace btfc::fs
