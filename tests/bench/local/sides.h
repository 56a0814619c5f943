// The places that are compared: a plain folder, a btfc mount, a passthrough_hp mount, all on one
// disk; and a mount that keeps all in memory. Used by one thread.
#pragma once

#include <sys/types.h>

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

namespace btfc::bench {

class Side {
 public:
  virtual ~Side() = default;
  virtual std::string name() const = 0;
  // Where the workloads work.
  virtual std::filesystem::path folder() const = 0;
  // Forgets which names and attributes the kernel has cached (a mount is made anew).
  virtual void Refresh() = 0;
  // Returns when nothing goes on any more that earlier work has caused.
  virtual void Settle() = 0;
  // Of the process that serves it; -1 if none does.
  virtual pid_t daemon() const = 0;
};

std::unique_ptr<Side> MakeNative(const std::filesystem::path& scratch);
// `options`: further ones for mount.btfc -o.
std::unique_ptr<Side> MakeBtfc(const std::filesystem::path& scratch, const std::string& options);
// libfuse's example program, built by whoever runs this.
std::unique_ptr<Side> MakePassthroughHp(const std::filesystem::path& scratch,
                                        const std::filesystem::path& program);
// What requests cost by themselves: memory_fs.cc. As root only.
std::unique_ptr<Side> MakeMemory(const std::filesystem::path& scratch);

// CPU time that a process has used, in seconds.
double CpuSeconds(pid_t process);
// Its resident memory, without pages of files, in MiB.
double ResidentMiB(pid_t process);

}  // namespace btfc::bench
