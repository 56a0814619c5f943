// A filesystem that keeps everything in memory and does no more than it must: what the kernel's
// requests cost by themselves. The benchmark's measure of what is left to be gained.
//   usage: memory_fs MOUNTPOINT
// One thread, so that nothing is locked and nobody is woken but for a request.
#define FUSE_USE_VERSION 35
#include <fuse_lowlevel.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <ctime>
#include <map>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

namespace {

constexpr double kForEver = 1e6;  // seconds; nothing changes but by requests

struct Node {
  struct stat status {};
  std::string bytes;
  std::map<std::string, fuse_ino_t, std::less<>> entries;
  std::uint64_t lookups = 0;
};

std::unordered_map<fuse_ino_t, Node> nodes;
fuse_ino_t next_ino = FUSE_ROOT_ID;
// Of the folders that are open, as they were when they were opened.
std::unordered_map<std::uint64_t, std::vector<std::pair<std::string, fuse_ino_t>>> listings;
std::uint64_t next_listing = 1;

fuse_ino_t MakeNode(mode_t mode) {
  const fuse_ino_t ino = next_ino++;
  auto& status = nodes[ino].status;
  status.st_ino = ino;
  status.st_mode = mode;
  status.st_nlink = S_ISDIR(mode) ? 2 : 1;
  status.st_blksize = 4096;
  ::clock_gettime(CLOCK_REALTIME, &status.st_mtim);
  status.st_ctim = status.st_atim = status.st_mtim;
  return ino;
}

void DropIfGone(fuse_ino_t ino) {
  const auto found = nodes.find(ino);
  if (found->second.lookups == 0 && found->second.status.st_nlink == 0) nodes.erase(found);
}

fuse_ino_t Find(fuse_ino_t parent, const char* name) {
  const auto& entries = nodes[parent].entries;
  const auto found = entries.find(std::string_view(name));
  return found == entries.end() ? 0 : found->second;
}

fuse_entry_param Entry(fuse_ino_t ino) {
  fuse_entry_param entry{};
  entry.ino = ino;
  entry.attr = nodes[ino].status;
  entry.attr_timeout = entry.entry_timeout = kForEver;
  ++nodes[ino].lookups;
  return entry;
}

void Lookup(fuse_req_t request, fuse_ino_t parent, const char* name) {
  const fuse_ino_t ino = Find(parent, name);
  if (ino == 0) {
    fuse_entry_param none{};
    none.entry_timeout = kForEver;
    fuse_reply_entry(request, &none);
    return;
  }
  const auto entry = Entry(ino);
  fuse_reply_entry(request, &entry);
}

void Forget(fuse_req_t request, fuse_ino_t ino, std::uint64_t lookups) {
  nodes[ino].lookups -= lookups;
  DropIfGone(ino);
  fuse_reply_none(request);
}

void GetAttributes(fuse_req_t request, fuse_ino_t ino, fuse_file_info* /*file*/) {
  fuse_reply_attr(request, &nodes[ino].status, kForEver);
}

void SetAttributes(fuse_req_t request, fuse_ino_t ino, struct stat* to, int which,
                   fuse_file_info* /*file*/) {
  Node& node = nodes[ino];
  if ((which & FUSE_SET_ATTR_MODE) != 0) node.status.st_mode = to->st_mode;
  if ((which & FUSE_SET_ATTR_UID) != 0) node.status.st_uid = to->st_uid;
  if ((which & FUSE_SET_ATTR_GID) != 0) node.status.st_gid = to->st_gid;
  if ((which & FUSE_SET_ATTR_MTIME) != 0) node.status.st_mtim = to->st_mtim;
  if ((which & FUSE_SET_ATTR_SIZE) != 0) {
    node.bytes.resize(static_cast<std::size_t>(to->st_size));
    node.status.st_size = to->st_size;
  }
  fuse_reply_attr(request, &node.status, kForEver);
}

fuse_entry_param Make(fuse_ino_t parent, const char* name, mode_t mode) {
  const fuse_ino_t ino = MakeNode(mode);
  nodes[parent].entries[name] = ino;
  return Entry(ino);
}

void MakeFolder(fuse_req_t request, fuse_ino_t parent, const char* name, mode_t mode) {
  const auto entry = Make(parent, name, S_IFDIR | mode);
  fuse_reply_entry(request, &entry);
}

void Create(fuse_req_t request, fuse_ino_t parent, const char* name, mode_t mode,
            fuse_file_info* file) {
  const auto entry = Make(parent, name, S_IFREG | mode);
  file->keep_cache = 1;
  fuse_reply_create(request, &entry, file);
}

void Remove(fuse_req_t request, fuse_ino_t parent, const char* name) {
  const fuse_ino_t ino = Find(parent, name);
  if (ino == 0) {
    fuse_reply_err(request, ENOENT);
    return;
  }
  if (!nodes[ino].entries.empty()) {
    fuse_reply_err(request, ENOTEMPTY);
    return;
  }
  nodes[parent].entries.erase(name);
  nodes[ino].status.st_nlink = 0;
  DropIfGone(ino);
  fuse_reply_err(request, 0);
}

void Rename(fuse_req_t request, fuse_ino_t parent, const char* name, fuse_ino_t new_parent,
            const char* new_name, unsigned flags) {
  const fuse_ino_t ino = Find(parent, name);
  if (ino == 0 || flags != 0) {
    fuse_reply_err(request, ino == 0 ? ENOENT : EINVAL);
    return;
  }
  if (const fuse_ino_t over = Find(new_parent, new_name); over != 0) {
    nodes[over].status.st_nlink = 0;
    DropIfGone(over);
  }
  nodes[parent].entries.erase(name);
  nodes[new_parent].entries[new_name] = ino;
  fuse_reply_err(request, 0);
}

void Open(fuse_req_t request, fuse_ino_t /*ino*/, fuse_file_info* file) {
  file->keep_cache = 1;
  fuse_reply_open(request, file);
}

void Read(fuse_req_t request, fuse_ino_t ino, std::size_t size, off_t offset,
          fuse_file_info* /*file*/) {
  const std::string& bytes = nodes[ino].bytes;
  const auto begin = std::min(bytes.size(), static_cast<std::size_t>(offset));
  fuse_reply_buf(request, bytes.data() + begin, std::min(size, bytes.size() - begin));
}

void Write(fuse_req_t request, fuse_ino_t ino, const char* from, std::size_t size, off_t offset,
           fuse_file_info* /*file*/) {
  Node& node = nodes[ino];
  const auto begin = static_cast<std::size_t>(offset);
  if (node.bytes.size() < begin + size) node.bytes.resize(begin + size);
  std::memcpy(node.bytes.data() + begin, from, size);
  node.status.st_size = static_cast<off_t>(node.bytes.size());
  fuse_reply_write(request, size);
}

void OpenFolder(fuse_req_t request, fuse_ino_t ino, fuse_file_info* file) {
  file->fh = next_listing++;
  listings[file->fh].assign(nodes[ino].entries.begin(), nodes[ino].entries.end());
  fuse_reply_open(request, file);
}

void ReadFolder(fuse_req_t request, fuse_ino_t /*ino*/, std::size_t size, off_t offset,
                fuse_file_info* file) {
  const auto& entries = listings[file->fh];
  std::string answer(size, '\0');
  std::size_t used = 0;
  for (auto i = static_cast<std::size_t>(offset); i < entries.size(); ++i) {
    const auto& [name, ino] = entries[i];
    fuse_entry_param entry{};
    if (nodes.contains(ino)) entry = Entry(ino);
    const auto needs = fuse_add_direntry_plus(request, answer.data() + used, size - used,
                                              name.c_str(), &entry, static_cast<off_t>(i + 1));
    if (needs > size - used) {
      if (entry.ino != 0) --nodes[ino].lookups;
      break;
    }
    used += needs;
  }
  fuse_reply_buf(request, answer.data(), used);
}

void CloseFolder(fuse_req_t request, fuse_ino_t /*ino*/, fuse_file_info* file) {
  listings.erase(file->fh);
  fuse_reply_err(request, 0);
}

fuse_lowlevel_ops Operations() {
  fuse_lowlevel_ops operations{};
  operations.lookup = Lookup;
  operations.forget = Forget;
  operations.getattr = GetAttributes;
  operations.setattr = SetAttributes;
  operations.mkdir = MakeFolder;
  operations.create = Create;
  operations.unlink = Remove;
  operations.rmdir = Remove;
  operations.rename = Rename;
  operations.open = Open;
  operations.read = Read;
  operations.write = Write;
  operations.opendir = OpenFolder;
  operations.readdirplus = ReadFolder;
  operations.releasedir = CloseFolder;
  return operations;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  char options[] = "-odefault_permissions";
  char* arguments[] = {argv[0], options, nullptr};
  fuse_args args = FUSE_ARGS_INIT(2, arguments);
  const auto operations = Operations();
  fuse_session* session = fuse_session_new(&args, &operations, sizeof operations, nullptr);
  if (session == nullptr || fuse_session_mount(session, argv[1]) != 0) return 1;
  MakeNode(S_IFDIR | 0755);
  nodes[FUSE_ROOT_ID].lookups = 1;
  const int code = fuse_session_loop(session);
  fuse_session_unmount(session);
  fuse_session_destroy(session);
  return code == 0 ? 0 : 1;
}
