// Names, links, folders, special files: as in an ordinary folder.
#include <fcntl.h>
#include <linux/fs.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <string>

#include "native_twin.h"

namespace btfc::fs::test {
namespace {

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

using MountNames = NativeTwin;

TEST_P(MountNames, AsRoot) { Compare(kNameCases, 0); }
TEST_P(MountNames, AsUser) { Compare(kNameCases, kUser); }

INSTANTIATE_TEST_SUITE_P(Mode, MountNames, kEveryWay, WayName);

}  // namespace
}  // namespace btfc::fs::test
