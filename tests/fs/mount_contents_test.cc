// Reading and writing: as in an ordinary folder.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>
#include <string>

#include "native_twin.h"

namespace btfc::fs::test {
namespace {

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
    {"Holes",
     [](Script& s) {
       // Above what the index keeps, in steps of a page.
       const int fd = s.Open("f", O_RDWR | O_CREAT, 0600);
       s.Note("truncate", ::ftruncate(fd, 1 << 20));
       for (const off_t at : {65536, 69632, 524288}) {
         s.Note("write", ::pwrite(fd, std::string(4096, 'd').data(), 4096, at));
       }
       s.Note("punch", ::fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 65536, 4096));
       s.Note("fsync", ::fsync(fd));
       const auto show = [&s](int file) {
         struct stat st {};
         s.Note("blocks", ::fstat(file, &st) == 0 ? st.st_blocks : -1);
         off_t at = 0;
         for (int i = 0; i < 4 && at >= 0; ++i) {
           at = s.Note("data", ::lseek(file, at, SEEK_DATA));
           if (at >= 0) at = s.Note("hole", ::lseek(file, at, SEEK_HOLE));
         }
       };
       show(fd);
       s.Close(fd);
       const int again = s.Open("f", O_RDONLY);
       show(again);
       s.Close(again);
       s.Note("copy", std::system("cp --sparse=auto f g && sync g"));
       const int copy = s.Open("g", O_RDONLY);
       show(copy);
       s.Close(copy);
     }},
    {"AllZeros",
     [](Script& s) {
       const int fd = s.Open("f", O_RDWR | O_CREAT, 0600);
       s.Note("truncate", ::ftruncate(fd, 10 << 20));
       s.Close(fd);
       struct stat st {};
       s.Note("blocks", ::stat("f", &st) == 0 ? st.st_blocks : -1);
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

using MountContents = NativeTwin;

TEST_P(MountContents, AsRoot) { Compare(kFileCases, 0); }
TEST_P(MountContents, AsUser) { Compare(kFileCases, kUser); }

INSTANTIATE_TEST_SUITE_P(Mode, MountContents, kEveryWay, WayName);

}  // namespace
}  // namespace btfc::fs::test
