// One host of the laboratory, on which a test calls the programs as a person does.
#pragma once

#include <gtest/gtest.h>
#include <sys/mount.h>

#include <cerrno>
#include <cstring>
#include <memory>
#include <string>

#include "lab.h"

namespace btfc::cluster {

class OneHostTest : public testing::Test {
 protected:
  void SetUp() override {
    BTFC_NEEDS_LAB();
    lab_ = std::make_unique<Lab>(1);
  }
  void TearDown() override {
    if (!lab_) return;
    umount2(Point().c_str(), MNT_DETACH);
  }

  bool HasLab() const { return lab_ != nullptr; }
  Lab& lab() { return *lab_; }
  Host& host() { return (*lab_)[0]; }
  std::filesystem::path Point() { return host().mount(); }
  std::string Cache() { return "-o cache=" + host().cache().native(); }
  // mount.btfc, in the host's network.
  Finished Mount(const std::string& arguments) {
    return Shell(BTFC_MOUNT_PROGRAM " " + arguments, host().net());
  }
  Finished Btfc(const std::string& arguments) { return Shell(BTFC_PROGRAM " " + arguments); }
  bool Mounted() {
    return Shell("grep -q ' " + Point().native() + " fuse.btfc' /proc/self/mounts").ok();
  }
  pid_t DaemonPid() {
    const auto status = host().Status();
    return status.contains("pid") ? status["pid"].get<pid_t>() : -1;
  }
  // umount, and the daemon has ended.
  void Unmount() {
    const pid_t daemon = DaemonPid();
    ASSERT_GT(daemon, 0);
    ASSERT_EQ(0, umount2(Point().c_str(), 0)) << std::strerror(errno);
    ASSERT_TRUE(Eventually([&] { return HasEnded(daemon); }));
  }

 private:
  std::unique_ptr<Lab> lab_;
};

}  // namespace btfc::cluster
