// Reads of what no host delivers: they wait, and whoever waits can be stopped.
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <functional>
#include <memory>
#include <vector>

#include "mounted.h"

namespace btfc::fs::test {
namespace {

// A file whose bytes no host delivers.
class MountAbsent : public testing::Test {
 protected:
  void SetUp() override {
    BTFC_NEED_MOUNT();
    mounted_ = std::make_unique<Mounted>("absent");
    Peer peer("peer");
    index::NewNode file;
    file.mode = 0644;
    const auto made = peer.catalogue().Make(index::kRootIno, "big", file);
    ASSERT_TRUE(made) << made.error().message();
    ASSERT_TRUE(peer.catalogue().BeginWrite(made.value().ino, false));
    index::NewVersion version;
    version.id.size = 1 << 20U;
    version.id.root.fill(9);
    version.mtime_ns = 1;
    ASSERT_TRUE(peer.catalogue().Commit(made.value().ino, version, false));
    peer.Send(mounted_->catalogue());
  }
  // `prepare`: system calls only, as everything in the child of a process with threads.
  pid_t StartReader(const std::function<void()>& prepare) {
    const auto big = *mounted_ / "big";
    const pid_t child = ::fork();
    if (child != 0) return child;
    prepare();
    const int fd = ::open(big.c_str(), O_RDONLY);
    char byte = 0;
    if (fd < 0) ::_exit(90);
    const ssize_t got = ::read(fd, &byte, 1);
    ::_exit(got < 0 ? errno : 91);
  }
  int Wait(pid_t child) {
    int status = 0;
    EXPECT_EQ(::waitpid(child, &status, 0), child);
    return status;
  }

  std::unique_ptr<Mounted> mounted_;
};

TEST_F(MountAbsent, SizeIsThereAtOnce) {
  struct stat st {};
  ASSERT_EQ(::stat((*mounted_ / "big").c_str(), &st), 0);
  EXPECT_EQ(st.st_size, 1 << 20);
}

TEST_F(MountAbsent, AReaderThatWaitsCanBeKilled) {
  const pid_t child = StartReader([] {});
  ASSERT_TRUE(Eventually([&] { return mounted_->source().waiting() > 0; }));
  ASSERT_EQ(::kill(child, SIGKILL), 0);
  const int status = Wait(child);
  EXPECT_TRUE(WIFSIGNALED(status));
  EXPECT_TRUE(Eventually([&] { return mounted_->source().waiting() == 0; }))
      << "the request was taken back";
}

TEST_F(MountAbsent, ASignalHandlerInterruptsTheRead) {
  const pid_t child = StartReader([] {
    struct sigaction action {};
    action.sa_handler = [](int) {};
    ::sigaction(SIGINT, &action, nullptr);  // no SA_RESTART
  });
  ASSERT_TRUE(Eventually([&] { return mounted_->source().waiting() > 0; }));
  ASSERT_EQ(::kill(child, SIGINT), 0);
  const int status = Wait(child);
  ASSERT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), EINTR);
}

TEST_F(MountAbsent, AnOpenForWritingWaitsForTheBytesAndCanBeInterrupted) {
  const auto big = *mounted_ / "big";
  const pid_t child = ::fork();
  if (child == 0) {
    struct sigaction action {};
    action.sa_handler = [](int) {};
    ::sigaction(SIGINT, &action, nullptr);  // no SA_RESTART
    ::_exit(::open(big.c_str(), O_WRONLY) < 0 ? errno : 91);
  }
  ASSERT_TRUE(Eventually([&] { return mounted_->files().GetStatus().waiting > 0; }));
  ASSERT_EQ(::kill(child, SIGINT), 0);
  const int status = Wait(child);
  ASSERT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), EINTR);
  // Whoever wants none of the old bytes need not wait for them.
  WriteWhole(big, "new");
  EXPECT_EQ(ReadWhole(big), "new");
}

TEST_F(MountAbsent, WaitingReadersTakeNoWorkerAway) {
  std::vector<pid_t> children;
  for (int i = 0; i < 12; ++i) children.push_back(StartReader([] {}));
  EXPECT_TRUE(Eventually([&] { return mounted_->files().GetStatus().waiting == 12; }));
  WriteWhole(*mounted_ / "other", "goes on");
  EXPECT_EQ(ReadWhole(*mounted_ / "other"), "goes on");
  for (const pid_t child : children) ::kill(child, SIGKILL);
  for (const pid_t child : children) Wait(child);
}

}  // namespace
}  // namespace btfc::fs::test
