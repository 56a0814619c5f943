// Modes, owners, times, extended attributes: as in an ordinary folder.
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <string>

#include "native_twin.h"

namespace btfc::fs::test {
namespace {

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
       s.Note("no name", ::setxattr("f", "user.", "1", 1, 0));
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

using MountAttributes = NativeTwin;

TEST_P(MountAttributes, AsRoot) { Compare(kAttributeCases, 0); }
TEST_P(MountAttributes, AsUser) { Compare(kAttributeCases, kUser); }

INSTANTIATE_TEST_SUITE_P(Mode, MountAttributes, kEveryWay, WayName);

}  // namespace
}  // namespace btfc::fs::test
