#include "fs/mount_point.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <spdlog/spdlog.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <sstream>
#include <string_view>

#include "fs/fusermount.h"

namespace btfc::fs {
namespace {

constexpr char kType[] = "fuse.btfc";
#ifndef MS_NOSYMFOLLOW
constexpr unsigned long MS_NOSYMFOLLOW = 256;  // of Linux 5.10; not in glibc's header
#endif

struct Flag {
  std::string_view name;
  unsigned long bit;
  bool on;
  bool helper;  // fusermount3 knows it
};

constexpr std::array kFlags = {
    Flag{"rw", MS_RDONLY, false, true},
    Flag{"ro", MS_RDONLY, true, true},
    Flag{"suid", MS_NOSUID, false, false},
    Flag{"nosuid", MS_NOSUID, true, true},
    Flag{"dev", MS_NODEV, false, false},
    Flag{"nodev", MS_NODEV, true, true},
    Flag{"exec", MS_NOEXEC, false, true},
    Flag{"noexec", MS_NOEXEC, true, true},
    Flag{"async", MS_SYNCHRONOUS, false, true},
    Flag{"sync", MS_SYNCHRONOUS, true, true},
    Flag{"dirsync", MS_DIRSYNC, true, true},
    Flag{"atime", MS_NOATIME, false, true},
    Flag{"noatime", MS_NOATIME, true, true},
    Flag{"diratime", MS_NODIRATIME, false, false},
    Flag{"nodiratime", MS_NODIRATIME, true, false},
    Flag{"relatime", MS_RELATIME, true, false},
    Flag{"norelatime", MS_RELATIME, false, false},
    Flag{"strictatime", MS_STRICTATIME, true, false},
    Flag{"nostrictatime", MS_STRICTATIME, false, false},
    Flag{"lazytime", MS_LAZYTIME, true, false},
    Flag{"nolazytime", MS_LAZYTIME, false, false},
    Flag{"nosymfollow", MS_NOSYMFOLLOW, true, false},
    Flag{"symfollow", MS_NOSYMFOLLOW, false, false},
    Flag{"iversion", MS_I_VERSION, true, false},
    Flag{"noiversion", MS_I_VERSION, false, false},
    Flag{"silent", MS_SILENT, true, false},
    Flag{"loud", MS_SILENT, false, false},
};

const Flag* FindFlag(std::string_view name) {
  for (const Flag& flag : kFlags) {
    if (flag.name == name) return &flag;
  }
  return nullptr;
}

void Append(std::string* list, std::string_view option) {
  if (!list->empty()) *list += ',';
  *list += option;
}

// The mount that `path` leads to now, without asking its filesystem; 0 if that cannot be told.
std::uint64_t MountId(const std::filesystem::path& path) {
  struct statx figures {};
  if (::statx(AT_FDCWD, path.c_str(), AT_STATX_DONT_SYNC | AT_NO_AUTOMOUNT, STATX_MNT_ID,
              &figures) != 0) {
    return 0;
  }
  return (figures.stx_mask & STATX_MNT_ID) != 0 ? figures.stx_mnt_id : 0;
}

// Undoes the octal escapes of /proc/self/mountinfo.
std::string Unescape(std::string_view text) {
  std::string plain;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\' && i + 3 < text.size()) {
      plain += static_cast<char>((text[i + 1] - '0') * 64 + (text[i + 2] - '0') * 8 +
                                 (text[i + 3] - '0'));
      i += 3;
    } else {
      plain += text[i];
    }
  }
  return plain;
}

// The type of the uppermost mount on this very path; empty if none is there.
std::string MountedType(const std::filesystem::path& path) {
  std::ifstream mounts("/proc/self/mountinfo");
  std::string type;
  for (std::string line; std::getline(mounts, line);) {
    std::istringstream words(line);
    std::string word;
    std::string target;
    for (int i = 0; i < 5 && words >> word; ++i) target = word;
    if (Unescape(target) != path.string()) continue;
    while (words >> word && word != "-") {
    }
    words >> type;
  }
  return type;
}

Result<struct stat> CheckFolder(const std::filesystem::path& path, std::string* why) {
  struct stat figures {};
  if (::stat(path.c_str(), &figures) != 0) {
    int problem = errno;
    if (problem == ENOTCONN) {
      const auto detached = DetachDead(path);
      if (!detached && detached.error() != Errno(ENOTCONN)) {
        *why = fmt::format("the dead mount on {} cannot be taken away: {}", path.string(),
                           detached.error().message());
        return detached.error();
      }
      if (detached && ::stat(path.c_str(), &figures) == 0) return figures;
      if (detached) problem = errno;
    }
    *why = problem == ENOENT ? fmt::format("the mount point {} does not exist", path.string())
                             : fmt::format("the mount point {} cannot be reached: {}",
                                           path.string(), std::strerror(problem));
    return Errno(problem);
  }
  if (!S_ISDIR(figures.st_mode)) {
    *why = fmt::format("the mount point {} is not a folder", path.string());
    return Errno(ENOTDIR);
  }
  return figures;
}

Result<int> OpenDevice(std::string* why) {
  const int device = ::open("/dev/fuse", O_RDWR | O_CLOEXEC);
  if (device >= 0) return device;
  const int problem = errno;
  *why = problem == ENOENT || problem == ENODEV
             ? "there is no /dev/fuse: load the kernel module with \"modprobe fuse\""
             : fmt::format("/dev/fuse cannot be opened: {}", std::strerror(problem));
  return Errno(problem);
}

// Answers the device.
Result<int> MountDirectly(const std::filesystem::path& path, const MountRequest& request,
                          const KernelMountOptions& options, mode_t root_mode, std::string* why) {
  BTFC_TRY(device, OpenDevice(why));
  const std::string data = fmt::format("fd={},rootmode={:o},user_id={},group_id={},{}", device,
                                       root_mode & S_IFMT, ::getuid(), ::getgid(), options.data);
  if (::mount(request.source.c_str(), path.c_str(), kType, options.flags, data.c_str()) == 0) {
    return device;
  }
  const int problem = errno;
  ::close(device);
  *why = problem == EINVAL
             ? fmt::format("the kernel refuses the mount options \"{}\"", options.data)
             : fmt::format("mounting on {} failed: {}", path.string(), std::strerror(problem));
  return Errno(problem);
}

}  // namespace

Result<void> DetachDead(const std::filesystem::path& path) {
  if (MountedType(path) != kType) return Errno(ENOTCONN);
  spdlog::warn("detaching the dead mount that an earlier daemon left on {}", path.string());
  if (::umount2(path.c_str(), MNT_DETACH | UMOUNT_NOFOLLOW) == 0) return Ok();
  const int problem = errno;
  if (FusermountDetach(path, true)) return Ok();
  return Errno(problem);
}

KernelMountOptions ParseKernelOptions(const MountRequest& request) {
  KernelMountOptions result;
  result.flags = MS_NOSUID | MS_NODEV;
  result.data = "default_permissions";
  result.for_helper = "default_permissions";
  const auto apply = [&result](const std::string& option) {
    if (const Flag* flag = FindFlag(option)) {
      if (flag->on) {
        result.flags |= flag->bit;
      } else {
        result.flags &= ~flag->bit;
      }
      if (flag->helper) Append(&result.for_helper, option);
      return;
    }
    Append(&result.data, option);
    Append(&result.for_helper, option);
  };
  for (const std::string& option : request.options) apply(option);
  if (request.read_only) apply("ro");
  if (request.allow_other) apply("allow_other");
  return result;
}

Result<std::unique_ptr<MountPoint>> MountPoint::Attach(const MountRequest& request,
                                                       std::string* why) {
  std::error_code problem;
  // Later calls may come after a chdir of the daemon.
  std::filesystem::path path = std::filesystem::absolute(request.path, problem).lexically_normal();
  if (path.has_relative_path() && path.filename().empty()) path = path.parent_path();
  BTFC_TRY(folder, CheckFolder(path, why));
  path = std::filesystem::canonical(path, problem);
  if (problem) {
    *why = fmt::format("the mount point {} cannot be resolved: {}", request.path.string(),
                       problem.message());
    return problem;
  }
  const KernelMountOptions options = ParseKernelOptions(request);
  bool by_helper = ::geteuid() != 0;
  Result<int> device = Errno(EPERM);
  if (!by_helper) {
    device = MountDirectly(path, request, options, folder.st_mode, why);
    by_helper = !device && device.error() == Errno(EPERM);
  }
  if (by_helper && (options.flags & MS_NOSYMFOLLOW) != 0) {
    *why = "nosymfollow is for root's mounts: fusermount3 does not know it";
    return Errno(EPERM);
  }
  if (by_helper) {
    device = FusermountAttach(
        path,
        fmt::format("fsname={},subtype=btfc,{}", EscapeOption(request.source), options.for_helper),
        why);
  }
  if (!device) return device.error();
  return std::unique_ptr<MountPoint>(new MountPoint(path, device.value(), by_helper));
}

MountPoint::MountPoint(std::filesystem::path path, int device, bool by_helper)
    : path_(std::move(path)), device_(device), by_helper_(by_helper), mount_id_(MountId(path_)) {}

MountPoint::~MountPoint() { ::close(device_); }

bool MountPoint::attached() const { return mount_id_ != 0 && MountId(path_) == mount_id_; }

MountPoint::Detached MountPoint::Detach() {
  if (!attached()) return Detached::kNot;
  if (!by_helper_ && ::umount2(path_.c_str(), UMOUNT_NOFOLLOW) == 0) return Detached::kWhole;
  if (by_helper_ && FusermountDetach(path_, false)) return Detached::kWhole;
  if (::umount2(path_.c_str(), MNT_DETACH | UMOUNT_NOFOLLOW) == 0) return Detached::kLazily;
  if (FusermountDetach(path_, true)) return Detached::kLazily;
  spdlog::error("{} cannot be unmounted: {}", path_.string(), std::strerror(errno));
  return Detached::kNot;
}

void MountPoint::Disconnect() { LeadNowhere(device_); }

void LeadNowhere(int descriptor) {
  const int nowhere = ::open("/dev/null", O_RDWR | O_CLOEXEC);
  if (nowhere < 0) return;
  ::dup3(nowhere, descriptor, O_CLOEXEC);
  ::close(nowhere);
}

}  // namespace btfc::fs
