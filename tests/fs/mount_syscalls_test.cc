// Each script runs in the mount and in an ordinary folder beside it: results, errno and what
// stat shows afterwards must be the same.
#include <fcntl.h>
#include <linux/fs.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string>
#include <vector>

#include "mounted.h"
#include "script.h"

namespace btfc::fs::test {
namespace {

constexpr unsigned kUser = 61234;  // an ordinary user without a name

struct Case {
  const char* name;
  Steps steps;
};

long Rename(const char* from, const char* to, unsigned flags) {
  return ::syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, flags);
}

const std::string kLongName(255, 'n');
const std::string kTooLongName(256, 'n');

const Case kNameCases[] = {
    {"CreateAndRemove",
     [](Script& s) {
       s.Put("a", "hello");
       s.Note("mkdir d", ::mkdir("d", 0755));
       s.Put("d/b", "there");
       s.Note("symlink", ::symlink("d/b", "l"));
       s.Note("mkfifo", ::mkfifo("p", 0640));
       s.Tree();
       s.Note("unlink a", ::unlink("a"));
       s.Note("unlink a again", ::unlink("a"));
       s.Note("unlink d", ::unlink("d"));
       s.Note("rmdir d", ::rmdir("d"));
       s.Note("rmdir l", ::rmdir("l"));
       s.Note("unlink d/b", ::unlink("d/b"));
       s.Note("rmdir d", ::rmdir("d"));
       s.Stat("d");
       s.Tree();
     }},
    {"ErrorsOfNames",
     [](Script& s) {
       s.Put("f", "x");
       s.Note("mkdir", ::mkdir("d", 0755));
       s.Note("mkdir over f", ::mkdir("f", 0755));
       s.Note("mkdir over d", ::mkdir("d", 0755));
       s.Open("missing", O_RDONLY);
       s.Open("f/x", O_RDONLY);
       s.Open("d", O_WRONLY);
       s.Open("f", O_RDONLY | O_DIRECTORY);
       s.Open("f", O_CREAT | O_EXCL | O_WRONLY);
       s.Open("missing/x", O_CREAT | O_WRONLY);
       s.Note("symlink over f", ::symlink("t", "f"));
       s.Note("mkfifo over f", ::mkfifo("f", 0600));
       s.Note("link over", ::link("f", "d"));
       s.Note("link a folder", ::link("d", "e"));
       s.Note("link missing", ::link("missing", "e"));
       s.Note("rmdir dot", ::rmdir("."));
       s.Note("rmdir d/..", ::rmdir("d/.."));
       s.Note("rmdir f", ::rmdir("f"));
       s.Put(kLongName, "long");
       s.Put(kTooLongName, "longer");
       s.Note("mkdir", ::mkdir(kTooLongName.c_str(), 0755));
       s.Note("rename", ::rename("f", kTooLongName.c_str()));
       s.Note("lstat", ::access(kTooLongName.c_str(), F_OK));
       s.Tree();
     }},
    {"HardLinks",
     [](Script& s) {
       s.Put("a", "one");
       s.Note("link", ::link("a", "b"));
       s.Note("link", ::link("b", "c"));
       s.Tree();
       s.Put("b", "two, longer");
       s.Content("a");
       s.Note("unlink a", ::unlink("a"));
       s.Tree();
       s.Note("rename b c", ::rename("b", "c"));
       s.Tree();
       s.Note("symlink", ::symlink("nowhere", "l"));
       s.Note("link to symlink", ::link("l", "m"));
       s.Tree();
     }},
    {"Rename",
     [](Script& s) {
       s.Put("a", "a");
       s.Put("b", "b");
       s.Note("mkdir", ::mkdir("d", 0755));
       s.Note("mkdir", ::mkdir("d/e", 0755));
       s.Note("mkdir", ::mkdir("empty", 0755));
       s.Note("a to b", ::rename("a", "b"));
       s.Note("b to d", ::rename("b", "d"));
       s.Note("d to b", ::rename("d", "b"));
       s.Note("d to d/e/f", ::rename("d", "d/e/f"));
       s.Note("empty to d", ::rename("empty", "d"));
       s.Note("d to empty", ::rename("d", "empty"));
       s.Note("missing", ::rename("missing", "x"));
       s.Note("b to itself", ::rename("b", "b"));
       s.Note("b to empty/b", ::rename("b", "empty/b"));
       s.Note("b to missing/b", ::rename("empty/b", "missing/b"));
       s.Note("root", ::rename(".", "x"));
       s.Tree();
     }},
    {"RenameFlags",
     [](Script& s) {
       s.Put("a", "a");
       s.Put("b", "bb");
       s.Note("mkdir", ::mkdir("d", 0755));
       s.Put("d/x", "x");
       s.Note("noreplace over", Rename("a", "b", RENAME_NOREPLACE));
       s.Note("noreplace", Rename("a", "c", RENAME_NOREPLACE));
       s.Note("exchange files", Rename("c", "b", RENAME_EXCHANGE));
       s.Tree();
       s.Note("exchange file and folder", Rename("c", "d", RENAME_EXCHANGE));
       s.Note("exchange missing", Rename("b", "missing", RENAME_EXCHANGE));
       s.Note("exchange into itself", Rename("c", "c/x", RENAME_EXCHANGE));
       s.Note("contradiction", Rename("b", "c", RENAME_EXCHANGE | RENAME_NOREPLACE));
       s.Note("unknown", Rename("b", "q", 1U << 7U));
       s.Note("exchange across", Rename("b", "c/x", RENAME_EXCHANGE));
       s.Tree();
     }},
    {"WhiteoutOfRoot",
     [](Script& s) {
       s.Put("a", "a");
       s.Put("b", "b");
       s.Note("whiteout", Rename("a", "b", RENAME_WHITEOUT));
       s.Tree();
     }},
    {"FoldersCount",
     [](Script& s) {
       s.Note("mkdir", ::mkdir("d", 0755));
       for (const char* name : {"d/1", "d/2", "d/3"}) s.Note("mkdir", ::mkdir(name, 0700));
       s.Put("d/f", "");
       s.Stat("d");
       s.Note("rename out", ::rename("d/1", "e"));
       s.Note("rmdir", ::rmdir("d/2"));
       s.Stat("d");
       s.Note("rename over", ::rename("d/3", "e"));
       s.Tree();
     }},
    {"Symlinks",
     [](Script& s) {
       s.Note("symlink", ::symlink("target", "l"));
       s.Note("empty", ::symlink("", "m"));
       s.Note("long", ::symlink(std::string(4000, 't').c_str(), "long"));
       s.Open("l", O_RDONLY);
       s.Open("l", O_RDONLY | O_NOFOLLOW);
       s.Put("target", "through");
       s.Content("l");
       s.Note("loop", ::symlink("loop", "loop"));
       s.Open("loop", O_RDONLY);
       char buffer[4];
       s.Note("readlink cut", ::readlink("l", buffer, sizeof(buffer)));
       s.Note("readlink file", ::readlink("target", buffer, sizeof(buffer)));
       s.Note("chown symlink", ::lchown("l", ::getuid(), ::getgid()));
       s.Tree();
     }},
    {"SpecialFiles",
     [](Script& s) {
       s.Note("mknod file", ::mknod("f", S_IFREG | 0640, 0));
       s.Note("mknod socket", ::mknod("s", S_IFSOCK | 0600, 0));
       s.Note("mknod fifo", ::mknod("p", S_IFIFO | 0666, 0));
       s.Note("mknod char", ::mknod("c", S_IFCHR | 0666, makedev(1, 3)));
       s.Note("mknod block", ::mknod("b", S_IFBLK | 0660, makedev(7, 0)));
       s.Put("f", "now with content");
       s.Note("mknod again", ::mknod("f", S_IFREG | 0640, 0));
       s.Stat("f");
       s.Stat("s");
       s.Stat("p");
       s.Stat("c");
       s.Stat("b");
       s.Content("f");
     }},
    {"UmaskAndSetGroupId",
     [](Script& s) {
       for (const mode_t mask : {0, 022, 077, 0777}) {
         ::umask(mask);
         const std::string n = std::to_string(mask);
         s.Put("f" + n, "x", 0666);
         s.Note("mkdir", ::mkdir(("d" + n).c_str(), 0777));
         s.Note("mknod", ::mknod(("p" + n).c_str(), S_IFIFO | 0666, 0));
       }
       ::umask(022);
       s.Note("mkdir", ::mkdir("g", 0755));
       s.Note("chmod", ::chmod("g", 02775));
       s.Put("g/f", "x");
       s.Put("g/s", "x", 02755);
       s.Note("mkdir", ::mkdir("g/d", 0755));
       s.Note("mkdir", ::mkdir("g/d/e", 0755));
       for (const char* path : {"g", "g/f", "g/s", "g/d", "g/d/e"}) s.Stat(path);
       ::umask(0);
       s.Put("sticky", "x", 07777);
       s.Stat("sticky");
       for (const mode_t mask : {0, 022, 077, 0777}) {
         for (const char* kind : {"f", "d", "p"}) s.Stat(kind + std::to_string(mask));
       }
     }},
};

const Case kAttributeCases[] = {
    {"ChmodChown",
     [](Script& s) {
       s.Put("f", "x");
       s.Note("mkdir", ::mkdir("d", 0755));
       for (const mode_t mode : {0000, 0644, 0755, 01777, 02755, 04755, 06777, 07777}) {
         s.Note("chmod f", ::chmod("f", mode));
         s.Note("chmod d", ::chmod("d", mode));
         s.Stat("f");
         s.Stat("d");
       }
       s.Note("chown -1", ::chown("f", -1, -1));
       s.Stat("f");
       s.Note("chown self", ::chown("f", ::getuid(), -1));
       s.Stat("f");
       s.Note("chown other", ::chown("f", 54321, 54322));
       s.Note("chown d", ::chown("d", 54321, 54322));
       s.Stat("f");
       s.Stat("d");
       s.Note("chown back", ::chown("f", ::getuid(), ::getgid()));
       s.Note("chmod missing", ::chmod("missing", 0600));
     }},
    {"ChownTakesSetIdAway",
     [](Script& s) {
       for (const mode_t mode : {04755, 02755, 02745, 06755, 06644}) {
         s.Put("f", "x");
         s.Note("chmod", ::chmod("f", mode));
         s.Note("chown", ::chown("f", ::getuid(), ::getgid()));
         s.Stat("f");
       }
       s.Note("mkdir", ::mkdir("d", 0755));
       s.Note("chmod d", ::chmod("d", 06755));
       s.Note("chown d", ::chown("d", ::getuid(), ::getgid()));
       s.Stat("d");
     }},
    {"WriteTakesSetIdAway",
     [](Script& s) {
       for (const mode_t mode : {04755, 02755, 02745, 06755, 06777}) {
         s.Put("f", "x");
         const int fd = s.Open("f", O_RDWR);
         s.Note("fchmod", ::fchmod(fd, mode));
         s.Note("write", ::write(fd, "y", 1));
         s.Stat("f");
         s.Note("fchmod", ::fchmod(fd, mode));
         s.Note("ftruncate", ::ftruncate(fd, 0));
         s.Stat("f");
         s.Note("fchmod", ::fchmod(fd, mode));
         s.Close(fd);
         s.Note("truncate", ::truncate("f", 5));
         s.Stat("f");
         s.Note("chmod", ::chmod("f", mode));
         s.Close(s.Open("f", O_WRONLY | O_TRUNC));
         s.Stat("f");
         s.Note("unlink", ::unlink("f"));
       }
     }},
    {"Times",
     [](Script& s) {
       s.Put("f", "x");
       s.Note("mkdir", ::mkdir("d", 0755));
       s.Note("symlink", ::symlink("f", "l"));
       const timespec times[2] = {{1000000000, 123456789}, {1100000000, 987654321}};
       const timespec omit[2] = {{0, UTIME_OMIT}, {1200000000, 1}};
       const auto show = [&s](const char* path) {
         struct stat st {};
         s.Note("lstat", ::lstat(path, &st));
         s.Say(std::to_string(st.st_atim.tv_sec) + "." + std::to_string(st.st_atim.tv_nsec) + " " +
               std::to_string(st.st_mtim.tv_sec) + "." + std::to_string(st.st_mtim.tv_nsec));
       };
       for (const char* path : {"f", "d", "l"}) {
         s.Note("utimensat", ::utimensat(AT_FDCWD, path, times, AT_SYMLINK_NOFOLLOW));
         show(path);
         s.Note("utimensat", ::utimensat(AT_FDCWD, path, omit, AT_SYMLINK_NOFOLLOW));
         show(path);
       }
       const int fd = s.Open("f", O_RDWR);
       s.Note("write", ::write(fd, "abc", 3));
       s.Note("futimens", ::futimens(fd, times));
       show("f");
       s.Close(fd);
       show("f");
       const timespec early[2] = {{-5, 500000000}, {-1, 999999999}};
       s.Note("before 1970", ::utimensat(AT_FDCWD, "f", early, 0));
       show("f");
     }},
    {"TimesMove",
     [](Script& s) {
       // Which operations change which time; not the times themselves.
       const auto mark = [](const char* path) {
         const timespec old[2] = {{1000, 0}, {2000, 0}};
         ::utimensat(AT_FDCWD, path, old, AT_SYMLINK_NOFOLLOW);
       };
       const auto moved = [&s](const char* path) {
         struct stat st {};
         s.Note(std::string("lstat ") + path, ::lstat(path, &st));
         s.Say(st.st_mtim.tv_sec == 2000 ? "mtime stands" : "mtime moved");
       };
       s.Note("mkdir", ::mkdir("d", 0755));
       s.Put("d/f", "x");
       for (const char* path : {"d", "d/f"}) mark(path);
       s.Note("chmod", ::chmod("d/f", 0600));
       moved("d/f");
       moved("d");
       s.Note("truncate to the same", ::truncate("d/f", 1));
       moved("d/f");
       mark("d/f");
       s.Put("d/f", "y");
       moved("d/f");
       moved("d");
       mark("d/f");
       const int reader = s.Open("d/f", O_RDONLY);
       char byte = 0;
       s.Note("read", ::read(reader, &byte, 1));
       s.Close(reader);
       moved("d/f");
       s.Note("rename", ::rename("d/f", "d/g"));
       moved("d");
       mark("d");
       moved("d/g");
       s.Note("link", ::link("d/g", "d/h"));
       moved("d");
       mark("d");
       s.Note("unlink", ::unlink("d/h"));
       moved("d");
       mark("d");
       s.Note("mkdir", ::mkdir("d/e", 0755));
       moved("d");
       mark("d");
       s.Put("d/e/x", "");
       moved("d");
     }},
    {"Xattrs",
     [](Script& s) {
       s.Put("f", "x");
       s.Note("mkdir", ::mkdir("d", 0755));
       s.Note("symlink", ::symlink("f", "l"));
       s.Note("set", ::setxattr("f", "user.one", "1", 1, 0));
       s.Note("create again", ::setxattr("f", "user.one", "2", 1, XATTR_CREATE));
       s.Note("replace", ::setxattr("f", "user.one", "33", 2, XATTR_REPLACE));
       s.Note("replace missing", ::setxattr("f", "user.two", "2", 1, XATTR_REPLACE));
       s.Note("empty", ::setxattr("f", "user.empty", "", 0, 0));
       s.Note("zero bytes", ::setxattr("f", "user.zero", "\0\1\0", 3, 0));
       s.Note("folder", ::setxattr("d", "user.d", "d", 1, 0));
       s.Note("symlink", ::lsetxattr("l", "user.l", "l", 1, 0));
       s.Note("no prefix", ::setxattr("f", "one", "1", 1, 0));
       s.Note("bad flags", ::setxattr("f", "user.one", "1", 1, 77));
       s.Note("long name", ::setxattr("f", ("user." + std::string(250, 'x')).c_str(), "1", 1, 0));
       s.Note("longer", ::setxattr("f", ("user." + std::string(251, 'x')).c_str(), "1", 1, 0));
       s.Note("trusted", ::setxattr("f", "trusted.t", "t", 1, 0));
       s.Note("security", ::setxattr("f", "security.s", "s", 1, 0));
       s.Note("too large", ::setxattr("f", "user.huge", std::string(65537, 'h').c_str(), 65537, 0));
       char small[1];
       s.Note("size", ::getxattr("f", "user.one", nullptr, 0));
       s.Note("does not fit", ::getxattr("f", "user.one", small, 1));
       s.Note("list does not fit", ::listxattr("f", small, 1));
       s.Xattr("f", "user.missing");
       s.Tree();
       s.Note("remove", ::removexattr("f", "user.one"));
       s.Note("remove again", ::removexattr("f", "user.one"));
       s.Note("rename", ::rename("f", "g"));
       s.Note("link", ::link("g", "h"));
       s.Tree();
     }},
    {"Capabilities",
     [](Script& s) {
       // security.capability in its version 2: cap_net_raw+ep
       const std::string value("\x01\0\0\x02\0\x20\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 20);
       const auto give = [&] {
         s.Note("give", ::setxattr("f", "security.capability", value.data(), value.size(), 0));
       };
       s.Put("f", "x", 0755);
       give();
       s.Xattr("f", "security.capability");
       const int fd = s.Open("f", O_RDWR);
       s.Note("write", ::write(fd, "y", 1));
       s.Xattr("f", "security.capability");
       give();
       s.Note("write", ::write(fd, "y", 1));
       s.Xattr("f", "security.capability");
       give();
       s.Note("ftruncate", ::ftruncate(fd, 1));
       s.Xattr("f", "security.capability");
       s.Close(fd);
       give();
       s.Note("chown", ::chown("f", ::getuid(), ::getgid()));
       s.Xattr("f", "security.capability");
       give();
       s.Note("chmod keeps", ::chmod("f", 0711));
       s.Xattr("f", "security.capability");
     }},
    {"AccessByMode",
     [](Script& s) {
       s.Note("mkdir", ::mkdir("d", 0755));
       s.Put("d/f", "x");
       for (const mode_t mode : {0000, 0100, 0200, 0300, 0400, 0500, 0700}) {
         s.Note("chmod", ::chmod("d/f", mode));
         s.Close(s.Open("d/f", O_RDONLY));
         s.Close(s.Open("d/f", O_WRONLY));
         s.Note("access x", ::access("d/f", X_OK));
       }
       for (const mode_t mode : {0000, 0100, 0200, 0300, 0400, 0500, 0700}) {
         s.Note("chmod", ::chmod("d", mode));
         s.Note("lookup", ::access("d/f", F_OK));
         s.Put("d/g", "y");
         s.Note("unlink", ::unlink("d/g"));
       }
       s.Note("chmod", ::chmod("d", 0755));
       s.Put("readonly", "made so", 0400);
       s.Stat("readonly");
     }},
};

// ACLs in the form of the system.posix_acl_* attributes: (tag, permissions, id) after version 2.
struct AclEntry {
  std::uint16_t tag;
  std::uint16_t permissions;
  std::uint32_t id;
};
constexpr std::uint32_t kNoId = 0xffffffffU;

std::string MakeAcl(const std::vector<AclEntry>& entries) {
  std::string value("\x02\0\0\0", 4);
  for (const AclEntry& entry : entries) {
    value.append(reinterpret_cast<const char*>(&entry.tag), 2);          // NOLINT
    value.append(reinterpret_cast<const char*>(&entry.permissions), 2);  // NOLINT
    value.append(reinterpret_cast<const char*>(&entry.id), 4);           // NOLINT
  }
  return value;
}

const std::string kPlainAcl = MakeAcl({{1, 6, kNoId}, {4, 4, kNoId}, {32, 0, kNoId}});
const std::string kNamedAcl = MakeAcl(
    {{1, 7, kNoId}, {2, 7, kUser}, {4, 5, kNoId}, {8, 6, 4711}, {16, 7, kNoId}, {32, 1, kNoId}});
const std::string kNoMaskAcl =
    MakeAcl({{1, 7, kNoId}, {2, 7, kUser}, {4, 5, kNoId}, {32, 1, kNoId}});

const Case kAclCases[] = {
    {"AclAndMode",
     [](Script& s) {
       const auto set = [&s](const char* path, const char* kind, const std::string& acl) {
         const std::string name = std::string("system.posix_acl_") + kind;
         s.Note("set " + name, ::setxattr(path, name.c_str(), acl.data(), acl.size(), 0));
         s.Stat(path);
         s.Xattr(path, name);
       };
       s.Put("f", "x", 0640);
       s.Note("mkdir", ::mkdir("d", 0750));
       set("f", "access", kPlainAcl);
       set("f", "access", kNamedAcl);
       s.Note("chmod", ::chmod("f", 0604));
       s.Stat("f");
       s.Xattr("f", "system.posix_acl_access");
       s.Note("chmod", ::chmod("f", 06777));
       s.Stat("f");
       s.Xattr("f", "system.posix_acl_access");
       set("f", "access", kNoMaskAcl);
       set("f", "access", "garbage");
       set("f", "access", std::string("\x01\0\0\0", 4));
       set("f", "default", kNamedAcl);
       set("d", "default", kNamedAcl);
       set("d", "access", kNamedAcl);
       s.Tree();
       s.Note("remove", ::removexattr("f", "system.posix_acl_access"));
       s.Note("remove again", ::removexattr("f", "system.posix_acl_access"));
       s.Note("remove default of file", ::removexattr("f", "system.posix_acl_default"));
       s.Note("remove default", ::removexattr("d", "system.posix_acl_default"));
       s.Note("remove default again", ::removexattr("d", "system.posix_acl_default"));
       s.Tree();
     }},
    {"DefaultAcl",
     [](Script& s) {
       s.Note("mkdir", ::mkdir("d", 0755));
       s.Note("set",
              ::setxattr("d", "system.posix_acl_default", kNamedAcl.data(), kNamedAcl.size(), 0));
       for (const mode_t mask : {0, 022, 077}) {
         ::umask(mask);
         const std::string n = std::to_string(mask);
         s.Put("d/f" + n, "x", 0666);
         s.Put("d/x" + n, "x", 0777);
         s.Put("d/p" + n, "x", 0600);
         s.Note("mkdir", ::mkdir(("d/d" + n).c_str(), 0777));
         s.Note("mkdir", ::mkdir(("d/d" + n + "/e").c_str(), 0700));
         s.Note("mkfifo", ::mkfifo(("d/q" + n).c_str(), 0666));
         s.Note("symlink", ::symlink("x", ("d/l" + n).c_str()));
       }
       s.Note("set",
              ::setxattr("d", "system.posix_acl_default", kPlainAcl.data(), kPlainAcl.size(), 0));
       s.Put("d/plain", "x", 0666);
       s.Note("mkdir", ::mkdir("d/plain-folder", 0777));
       s.Note("remove", ::removexattr("d", "system.posix_acl_default"));
       s.Put("d/none", "x", 0666);
       s.Tree();
     }},
    {"SetGroupIdAndAcl",
     [](Script& s) {
       s.Note("mkdir", ::mkdir("d", 0755));
       s.Note("chown", ::chown("d", -1, 54321));
       s.Note("chmod", ::chmod("d", 02770));
       s.Stat("d");
       s.Note("set",
              ::setxattr("d", "system.posix_acl_access", kNamedAcl.data(), kNamedAcl.size(), 0));
       s.Stat("d");
       s.Note("set",
              ::setxattr("d", "system.posix_acl_default", kNamedAcl.data(), kNamedAcl.size(), 0));
       s.Put("d/f", "x", 02775);
       s.Note("mkdir", ::mkdir("d/e", 0777));
       s.Tree();
     }},
};

const Case kFileCases[] = {
    {"ReadWriteSeek",
     [](Script& s) {
       const int fd = s.Open("f", O_RDWR | O_CREAT, 0600);
       s.Note("write", ::write(fd, "hello world", 11));
       s.Note("pwrite behind the end", ::pwrite(fd, "far", 3, 100000));
       s.Note("end", ::lseek(fd, 0, SEEK_END));
       s.Note("hole", ::lseek(fd, 0, SEEK_HOLE) >= 11 ? 1 : 0);
       s.Note("data", ::lseek(fd, 99999, SEEK_DATA) >= 90000 ? 1 : 0);
       s.Note("data behind", ::lseek(fd, 200000, SEEK_DATA));
       s.Note("hole behind", ::lseek(fd, 200000, SEEK_HOLE));
       s.Note("negative", ::lseek(fd, -1, SEEK_SET));
       char buffer[64];
       s.Note("pread", ::pread(fd, buffer, sizeof(buffer), 5));
       s.Note("pread at the end", ::pread(fd, buffer, sizeof(buffer), 100001));
       s.Note("pread behind", ::pread(fd, buffer, sizeof(buffer), 100003));
       s.Note("ftruncate", ::ftruncate(fd, 50));
       s.Note("ftruncate", ::ftruncate(fd, 5000));
       s.Note("negative", ::ftruncate(fd, -1));
       s.Close(fd);
       s.Tree();
       const int reader = s.Open("f", O_RDONLY);
       s.Note("write", ::write(reader, "x", 1));
       s.Note("ftruncate", ::ftruncate(reader, 1));
       s.Close(reader);
       const int writer = s.Open("f", O_WRONLY);
       s.Note("read", ::read(writer, buffer, 1));
       s.Close(writer);
     }},
    {"OpenFlags",
     [](Script& s) {
       s.Put("f", "content");
       s.Close(s.Open("f", O_RDONLY | O_TRUNC));
       s.Stat("f");
       s.Put("f", "content");
       s.Close(s.Open("f", O_WRONLY | O_TRUNC));
       s.Stat("f");
       s.Put("f", "content");
       const int fd = s.Open("f", O_WRONLY | O_APPEND);
       s.Note("write", ::write(fd, " and more", 9));
       s.Note("pwrite appends", ::pwrite(fd, "!", 1, 0));
       s.Close(fd);
       s.Content("f");
       const int both = s.Open("new", O_RDWR | O_CREAT | O_EXCL, 0640);
       s.Note("write", ::write(both, "abc", 3));
       char buffer[8];
       s.Note("pread", ::pread(both, buffer, 8, 0));
       s.Close(both);
       s.Close(s.Open("new", O_RDONLY | O_NOATIME));
       s.Close(s.Open("new", O_PATH));
       s.Close(s.Open("new", O_RDWR | O_SYNC));
       s.Tree();
     }},
    {"Truncate",
     [](Script& s) {
       s.Put("f", std::string(20000, 'a'));
       s.Note("truncate", ::truncate("f", 100));
       s.Stat("f");
       s.Note("truncate", ::truncate("f", 30000));
       s.Content("f");
       s.Note("truncate", ::truncate("f", 0));
       s.Stat("f");
       s.Note("missing", ::truncate("missing", 0));
       s.Note("mkdir", ::mkdir("d", 0755));
       s.Note("folder", ::truncate("d", 0));
       s.Put("big", std::string(300000, 'b'));
       s.Note("truncate", ::truncate("big", 299999));
       s.Content("big");
     }},
    {"Allocate",
     [](Script& s) {
       const int fd = s.Open("f", O_RDWR | O_CREAT, 0600);
       s.Note("write", ::write(fd, std::string(40000, 'a').data(), 40000));
       s.Note("extend", ::fallocate(fd, 0, 0, 100000));
       s.Stat("f");
       s.Note("keep size", ::fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, 200000));
       s.Stat("f");
       s.Note("punch", ::fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 4096, 8192));
       s.Note("zero", ::fallocate(fd, FALLOC_FL_ZERO_RANGE, 20000, 1000));
       s.Note("nothing", ::fallocate(fd, 0, 0, 0));
       s.Close(fd);
       s.Content("f");
     }},
    {"CopyRange",
     [](Script& s) {
       s.Put("a", std::string(50000, 'a') + std::string(50000, 'b'));
       const int in = s.Open("a", O_RDONLY);
       const int out = s.Open("b", O_RDWR | O_CREAT, 0600);
       off_t from = 40000;
       off_t to = 10;
       s.Note("copy", ::copy_file_range(in, &from, out, &to, 20000, 0));
       from = 99990;
       s.Note("copy at the end", ::copy_file_range(in, &from, out, &to, 20000, 0));
       s.Note("copy behind it", ::copy_file_range(in, &from, out, &to, 20000, 0));
       s.Note("flags", ::copy_file_range(in, &from, out, &to, 1, 1));
       s.Note("to a reader", ::copy_file_range(out, nullptr, in, nullptr, 1, 0));
       s.Close(in);
       s.Close(out);
       s.Content("b");
     }},
    {"UnlinkedButOpen",
     [](Script& s) {
       const int fd = s.Open("f", O_RDWR | O_CREAT, 0600);
       s.Note("write", ::write(fd, "still", 5));
       s.Note("unlink", ::unlink("f"));
       struct stat st {};
       s.Note("fstat", ::fstat(fd, &st));
       s.Say("links " + std::to_string(st.st_nlink) + " size " + std::to_string(st.st_size));
       s.Note("write", ::write(fd, " here", 5));
       char buffer[32] = {};
       s.Note("pread", ::pread(fd, buffer, 32, 0));
       s.Say(buffer);
       s.Note("fchmod", ::fchmod(fd, 0644));
       s.Note("ftruncate", ::ftruncate(fd, 3));
       s.Note("fstat", ::fstat(fd, &st));
       s.Say("size " + std::to_string(st.st_size));
       s.Put("f", "another");
       s.Note("pread", ::pread(fd, buffer, 32, 0));
       s.Close(fd);
       s.Tree();
       s.Put("g", "old content of g");
       const int reader = s.Open("g", O_RDONLY);
       s.Put("h", "new");
       s.Note("rename over", ::rename("h", "g"));
       s.Note("pread", ::pread(reader, buffer, 32, 0));
       s.Say(buffer);
       s.Close(reader);
       s.Content("g");
       s.Note("mkdir", ::mkdir("d", 0755));
       const int folder = s.Open("d", O_RDONLY | O_DIRECTORY);
       s.Note("rmdir", ::rmdir("d"));
       s.Note("fstat", ::fstat(folder, &st));
       s.Note("create in it", ::openat(folder, "x", O_CREAT | O_WRONLY, 0600));
       s.Close(folder);
     }},
    {"Mmap",
     [](Script& s) {
       s.Put("f", std::string(10000, 'm'));
       const int fd = s.Open("f", O_RDWR);
       auto* map =
           static_cast<char*>(::mmap(nullptr, 10000, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
       s.Note("mmap", map == MAP_FAILED ? -1 : 0);
       if (map == MAP_FAILED) return;
       s.Close(fd);
       std::memcpy(map + 5000, "written through the mapping", 27);
       s.Note("msync", ::msync(map, 10000, MS_SYNC));
       s.Content("f");
       map[0] = 'X';
       s.Note("munmap", ::munmap(map, 10000));
       s.Content("f");
       const int reader = s.Open("f", O_RDONLY);
       auto* view =
           static_cast<const char*>(::mmap(nullptr, 10000, PROT_READ, MAP_PRIVATE, reader, 0));
       s.Note("mmap", view == MAP_FAILED ? -1 : 0);
       if (view != MAP_FAILED) s.Say(std::string(view, 3));
       s.Close(reader);
     }},
    {"OtherOperations",
     [](Script& s) {
       const int fd = s.Open("f", O_RDWR | O_CREAT, 0600);
       s.Note("fsync", ::fsync(fd));
       s.Note("fdatasync", ::fdatasync(fd));
       s.Note("sync_file_range", ::sync_file_range(fd, 0, 10, SYNC_FILE_RANGE_WRITE));
       s.Note("fadvise", ::posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED));
       struct flock lock {};
       lock.l_type = F_WRLCK;
       s.Note("lock", ::fcntl(fd, F_SETLK, &lock));
       s.Note("flock", ::lockf(fd, F_TLOCK, 10));
       s.Close(fd);
       const int folder = s.Open(".", O_RDONLY | O_DIRECTORY);
       s.Note("fsync folder", ::fsync(folder));
       s.Close(folder);
       s.Note("pathconf", ::pathconf(".", _PC_NAME_MAX));
     }},
};

// What a user without rights may do in a folder of somebody else.
const Case kStrangerCases[] = {
    {"Stranger",
     [](Script& s) {
       s.Open("f", O_RDONLY);
       s.Open("secret", O_RDONLY);
       s.Open("f", O_WRONLY);
       s.Open("new", O_CREAT | O_WRONLY);
       s.Note("chmod", ::chmod("f", 0777));
       s.Note("chown", ::chown("f", ::getuid(), -1));
       s.Note("truncate", ::truncate("f", 0));
       s.Note("utimes", ::utimensat(AT_FDCWD, "f", nullptr, 0));
       s.Note("xattr", ::setxattr("f", "user.x", "1", 1, 0));
       s.Note("unlink", ::unlink("f"));
       s.Note("rename", ::rename("f", "g"));
       s.Note("mkdir", ::mkdir("d", 0755));
       s.Note("link", ::link("secret", "s"));
       s.Open("sticky/mine", O_CREAT | O_WRONLY, 0666);
       s.Note("unlink in sticky", ::unlink("sticky/theirs"));
       s.Note("rename in sticky", ::rename("sticky/theirs", "sticky/x"));
       s.Note("unlink own", ::unlink("sticky/mine"));
       s.Put("wide", "written by a stranger");
       s.Stat("wide");
       s.Put("setid", "y");
       s.Stat("setid");
       s.Stat("f");
     }},
};

void Prepare(const std::filesystem::path& folder) {
  const auto path = [&folder](const char* name) { return (folder / name).string(); };
  WriteWhole(folder / "f", "f");
  ::chmod(path("f").c_str(), 0644);
  WriteWhole(folder / "secret", "s");
  ::chmod(path("secret").c_str(), 0600);
  WriteWhole(folder / "wide", "w");
  ::chmod(path("wide").c_str(), 0666);
  WriteWhole(folder / "setid", "x");
  ::chmod(path("setid").c_str(), 06777);
  ::mkdir(path("sticky").c_str(), 0755);
  ::chmod(path("sticky").c_str(), 01777);
  WriteWhole(folder / "sticky" / "theirs", "t");
  const auto grant = [&](const char* name, const std::string& acl) {
    ::setxattr(path(name).c_str(), "system.posix_acl_access", acl.data(), acl.size(), 0);
  };
  WriteWhole(folder / "granted", "g");
  grant("granted", kNamedAcl);
  WriteWhole(folder / "masked", "m");
  grant("masked", kNamedAcl);
  ::chmod(path("masked").c_str(), 0640);
  ::mkdir(path("open-folder").c_str(), 0700);
  grant("open-folder", kNamedAcl);
}

// What an ACL grants beyond the mode: set by root, used by a stranger.
const Case kGrantedCases[] = {
    {"Granted",
     [](Script& s) {
       s.Close(s.Open("granted", O_RDWR));
       s.Close(s.Open("masked", O_RDWR));
       s.Close(s.Open("masked", O_RDONLY));
       s.Close(s.Open("secret", O_RDONLY));
       s.Put("open-folder/made", "x");
       s.Stat("open-folder/made");
     }},
};

class MountSyscalls : public testing::TestWithParam<bool> {
 protected:
  template <std::size_t N>
  void Compare(const Case (&cases)[N], unsigned uid, bool prepared) {
    BTFC_NEED_MOUNT();
    MountedOptions options;
    options.passthrough = GetParam();
    Mounted mounted("syscalls", options);
    ASSERT_EQ(mounted.mount().passthrough(), GetParam());
    TempFolder native("native");
    for (const Case& one : cases) {
      SCOPED_TRACE(one.name);
      for (const auto& side : {mounted.root(), native.path()}) {
        std::filesystem::create_directory(side / one.name);
        if (prepared) {
          Prepare(side / one.name);
        } else {
          ASSERT_EQ(::chown((side / one.name).c_str(), uid, uid), 0);
        }
      }
      EXPECT_EQ(RunScript(mounted / one.name, one.steps, uid),
                RunScript(native / one.name, one.steps, uid));
    }
  }
};

TEST_P(MountSyscalls, NamesAsRoot) { Compare(kNameCases, 0, false); }
TEST_P(MountSyscalls, NamesAsUser) { Compare(kNameCases, kUser, false); }
TEST_P(MountSyscalls, AttributesAsRoot) { Compare(kAttributeCases, 0, false); }
TEST_P(MountSyscalls, AttributesAsUser) { Compare(kAttributeCases, kUser, false); }
TEST_P(MountSyscalls, AclsAsRoot) { Compare(kAclCases, 0, false); }
TEST_P(MountSyscalls, AclsAsUser) { Compare(kAclCases, kUser, false); }
TEST_P(MountSyscalls, FilesAsRoot) { Compare(kFileCases, 0, false); }
TEST_P(MountSyscalls, FilesAsUser) { Compare(kFileCases, kUser, false); }
TEST_P(MountSyscalls, InSomebodyElsesFolder) { Compare(kStrangerCases, kUser, true); }

TEST_P(MountSyscalls, GrantedByAcl) { Compare(kGrantedCases, kUser, true); }

INSTANTIATE_TEST_SUITE_P(Mode, MountSyscalls, testing::Bool(),
                         [](const auto& suite) { return suite.param ? "Passthrough" : "Cached"; });

}  // namespace
}  // namespace btfc::fs::test
