// ACLs, and what strangers may do: as in an ordinary folder.
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <string>
#include <vector>

#include "native_twin.h"

namespace btfc::fs::test {
namespace {

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
       for (const char* name : {"setid", "setid-no-exec"}) {
         const int fd = s.Open(name, O_RDWR);
         s.Note("write", ::write(fd, "y", 1));
         s.Stat(name);
         s.Close(fd);
       }
       s.Note("truncate", ::truncate("setid-cut", 0));
       s.Stat("setid-cut");
       s.Put("setid-put", "y");
       s.Stat("setid-put");
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
  for (const char* name : {"setid-no-exec", "setid-cut", "setid-put"}) {
    WriteWhole(folder / name, "x");
    ::chmod(path(name).c_str(), 06767);
  }
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

using MountAccess = NativeTwin;

TEST_P(MountAccess, AclsAsRoot) { Compare(kAclCases, 0); }
TEST_P(MountAccess, AclsAsUser) { Compare(kAclCases, kUser); }
TEST_P(MountAccess, InSomebodyElsesFolder) { Compare(kStrangerCases, kUser, Prepare); }
TEST_P(MountAccess, GrantedByAcl) { Compare(kGrantedCases, kUser, Prepare); }

INSTANTIATE_TEST_SUITE_P(Mode, MountAccess, kEveryWay, WayName);

}  // namespace
}  // namespace btfc::fs::test
