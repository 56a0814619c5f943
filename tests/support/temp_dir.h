// A folder of a test's own, removed with all its content at its end.
#pragma once

#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <string>
#include <system_error>

namespace btfc::test {

class TempDir {
 public:
  // `mode`: 0755 lets other users of the machine look in.
  explicit TempDir(const std::string& name = "test", mode_t mode = 0700) {
    std::string path = testing::TempDir() + "btfc-" + name + "-XXXXXX";
    if (::mkdtemp(path.data()) == nullptr) {
      ADD_FAILURE() << "cannot make " << path << ": " << std::strerror(errno);
    }
    ::chmod(path.c_str(), mode);
    path_ = path;
  }
  ~TempDir() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;

  const std::filesystem::path& path() const { return path_; }
  std::filesystem::path operator/(const std::string& name) const { return path_ / name; }

 private:
  std::filesystem::path path_;
};

}  // namespace btfc::test
