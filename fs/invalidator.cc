#include "fs/invalidator.h"

#include <linux/fuse.h>
#include <pthread.h>
#include <sys/uio.h>

#include <algorithm>
#include <array>
#include <iterator>
#include <utility>

namespace btfc::fs {
namespace {

constexpr std::chrono::seconds kAgain{1};

// Offsets of FUSE_NOTIFY_INVAL_INODE.
constexpr std::int64_t kAttributesOnly = -1;
constexpr std::int64_t kAll = 0;

// A notice is a reply to no request. libfuse has functions for them, of which one changed its
// arguments between 3.14 and 3.17. The result does not matter: ENOENT is what the kernel says of
// something that it does not cache.
void Notify(int device, int code, iovec* parts, int count) {
  fuse_out_header header{};
  header.error = code;
  header.len = sizeof(header);
  for (int i = 1; i < count; ++i) header.len += static_cast<std::uint32_t>(parts[i].iov_len);
  parts[0] = {&header, sizeof(header)};
  [[maybe_unused]] const ssize_t ignored = ::writev(device, parts, count);
}

void ExpireEntry(int device, NodeId folder, const std::string& name) {
  fuse_notify_inval_entry_out body{};
  body.parent = folder;
  body.namelen = static_cast<std::uint32_t>(name.size());
  body.flags = FUSE_EXPIRE_ONLY;
  std::array<iovec, 3> parts{};
  parts[1] = {&body, sizeof(body)};
  parts[2] = {const_cast<char*>(name.c_str()), name.size() + 1};  // NOLINT
  Notify(device, FUSE_NOTIFY_INVAL_ENTRY, parts.data(), parts.size());
}

void InvalidateInode(int device, NodeId node, std::int64_t offset) {
  fuse_notify_inval_inode_out body{};
  body.ino = node;
  body.off = offset;
  std::array<iovec, 2> parts{};
  parts[1] = {&body, sizeof(body)};
  Notify(device, FUSE_NOTIFY_INVAL_INODE, parts.data(), parts.size());
}

}  // namespace

void Invalidator::Queue(std::vector<Notice> notices, Repeat repeat) {
  if (notices.empty()) return;
  const std::lock_guard lock(mutex_);
  if (stopping_) return;
  for (Notice& notice : notices) {
    notice.repeated = repeat == Repeat::kYes;
    if (notice.what == Notice::What::kContent) ++waiting_[notice.node].notices;
  }
  to_send_ += notices.size();
  if (queue_.empty()) {
    queue_ = std::move(notices);
  } else {
    std::ranges::move(notices, std::back_inserter(queue_));
  }
  changed_.notify_one();
}

bool Invalidator::WhenSent(NodeId node, std::function<void()> then) {
  const std::lock_guard lock(mutex_);
  const auto found = waiting_.find(node);
  if (found == waiting_.end()) return false;
  found->second.then.push_back(std::move(then));
  return true;
}

void Invalidator::WaitSent() {
  std::unique_lock lock(mutex_);
  const std::uint64_t all = to_send_;
  sent_.wait(lock, [&] { return has_sent_ >= all || !started_ || stopping_; });
}

void Invalidator::Start(int device) {
  device_ = device;
  {
    const std::lock_guard lock(mutex_);
    started_ = true;
  }
  thread_ = std::thread([this] {
    ::pthread_setname_np(::pthread_self(), "fuse-notify");
    Work();
  });
}

void Invalidator::Stop() {
  std::vector<std::function<void()>> left;
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  sent_.notify_all();
  if (thread_.joinable()) thread_.join();
  {
    const std::lock_guard lock(mutex_);
    for (auto& [node, waiting] : waiting_)
      std::ranges::move(waiting.then, std::back_inserter(left));
    waiting_.clear();
    queue_.clear();
  }
  for (const auto& then : left) then();
}

void Invalidator::Work() {
  std::unique_lock lock(mutex_);
  while (!stopping_) {
    if (!queue_.empty()) {
      std::vector<Notice> notices = std::exchange(queue_, {});
      lock.unlock();
      Send(notices, false);
      Sent(notices);
      std::erase_if(notices, [](const Notice& notice) { return !notice.repeated; });
      lock.lock();
      if (!notices.empty()) again_.push_back({Clock::now() + kAgain, std::move(notices)});
    } else if (!again_.empty() && again_.front().due <= Clock::now()) {
      const std::vector<Notice> notices = std::move(again_.front().notices);
      again_.pop_front();
      lock.unlock();
      Send(notices, true);
      lock.lock();
    } else if (!again_.empty()) {
      changed_.wait_until(lock, again_.front().due);
    } else {
      changed_.wait(lock);
    }
  }
}

void Invalidator::Send(const std::vector<Notice>& notices, bool again) const {
  for (const Notice& notice : notices) {
    switch (notice.what) {
      case Notice::What::kEntry:
        // Expired, not invalidated: the kernel asks again at the next use and keeps the inode if
        // the answer is the same. That does for files, folders and missing names alike.
        ExpireEntry(device_, notice.node, notice.name);
        break;
      case Notice::What::kAttributes:
        InvalidateInode(device_, notice.node, kAttributesOnly);
        break;
      case Notice::What::kFolder:
        InvalidateInode(device_, notice.node, kAll);
        break;
      case Notice::What::kContent:
        // No read was under way when the content changed: only attributes can have come late.
        InvalidateInode(device_, notice.node, again ? kAttributesOnly : kAll);
        break;
    }
  }
}

void Invalidator::Sent(const std::vector<Notice>& notices) {
  std::vector<std::function<void()>> ready;
  {
    const std::lock_guard lock(mutex_);
    has_sent_ += notices.size();
    for (const Notice& notice : notices) {
      if (notice.what != Notice::What::kContent) continue;
      const auto found = waiting_.find(notice.node);
      if (found == waiting_.end() || --found->second.notices > 0) continue;
      std::ranges::move(found->second.then, std::back_inserter(ready));
      waiting_.erase(found);
    }
  }
  sent_.notify_all();
  for (const auto& then : ready) then();
}

}  // namespace btfc::fs
