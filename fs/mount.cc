#include "fs/mount.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <atomic>

#include "fs/filesystem.h"
#include "fs/kernel_backing.h"
#include "fs/mount_point.h"
#include "fs/session.h"

namespace btfc::fs {
namespace {

constexpr unsigned kWorkersMax = 4;
// How long Unmount lets programs that still have files open go on.
constexpr std::chrono::seconds kGrace{3};

}  // namespace

class Mount::Impl {
 public:
  Impl(const MountOptions& options, index::Catalogue& catalogue, Files& files)
      : options_(options), files_(files), filesystem_(catalogue, files, options) {}
  ~Impl();

  Result<void> Attach(std::string* why);
  void Run(const std::function<void()>& ready);
  void Unmount() { session_->Stop(kGrace); }
  void Changed(const std::vector<index::Change>& changes) { filesystem_.Changed(changes); }
  void WaitTold() { filesystem_.WaitNotified(); }
  bool passthrough() const { return passthrough_; }

 private:
  void ProbePassthrough();

  const MountOptions options_;
  Files& files_;
  Filesystem filesystem_;
  std::unique_ptr<MountPoint> mount_point_;
  std::unique_ptr<KernelBacking> backing_;
  std::unique_ptr<Session> session_;
  bool passthrough_ = false;  // constant after Attach
};

Mount::Impl::~Impl() {
  if (mount_point_ && mount_point_->attached()) {
    // Nobody answers any more; disconnected first, or the kernel would wait for us.
    mount_point_->Disconnect();
    session_.reset();
    mount_point_->Detach();
  }
  filesystem_.StopNotifying();
}

Result<void> Mount::Impl::Attach(std::string* why) {
  MountRequest request;
  request.path = options_.mount_point;
  request.source = options_.source;
  request.options = options_.kernel_options;
  request.read_only = options_.read_only;
  request.allow_other = options_.allow_other;
  BTFC_TRY(mounted, MountPoint::Attach(request, why));
  mount_point_ = std::move(mounted);
  BTFC_TRY(session, Session::Make(*mount_point_, Operations(), &filesystem_, why));
  session_ = std::move(session);
  BOOST_OUTCOME_TRYV(session_->Handshake(why));
  ProbePassthrough();
  files_.SetBacking(passthrough_ ? backing_.get() : nullptr);
  filesystem_.Agreed(session_->shim(), mount_point_->device(), passthrough_);
  return Ok();
}

void Mount::Impl::ProbePassthrough() {
  if ((session_->shim().flags() & kInitPassthrough) == 0) {
    spdlog::info("this kernel has no FUSE passthrough: file contents go through the daemon");
    return;
  }
  backing_ = std::make_unique<KernelBacking>(
      mount_point_->device(), [this](index::Ino ino) { filesystem_.TimesMoved(ino); });
  const auto probed = backing_->Probe(options_.cache);
  passthrough_ = probed.has_value();
  if (passthrough_) {
    spdlog::info("files are read and written by kernel passthrough");
  } else {
    spdlog::info("no kernel passthrough ({}): file contents go through the daemon",
                 probed.error().message());
  }
}

void Mount::Impl::Run(const std::function<void()>& ready) {
  session_->Run(std::clamp(options_.workers, 1U, kWorkersMax), ready);
  filesystem_.StopNotifying();
  filesystem_.Unmounted();
}

Mount::Mount(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Mount::~Mount() = default;

Result<std::unique_ptr<Mount>> Mount::Make(const MountOptions& options, index::Catalogue& catalogue,
                                           Files& files, std::string* why) {
  auto impl = std::make_unique<Impl>(options, catalogue, files);
  BOOST_OUTCOME_TRYV(impl->Attach(why));
  return std::unique_ptr<Mount>(new Mount(std::move(impl)));
}

void Mount::Run(const std::function<void()>& ready) { impl_->Run(ready); }
void Mount::Unmount() { impl_->Unmount(); }
bool Mount::passthrough() const { return impl_->passthrough(); }
void Mount::Changed(const std::vector<index::Change>& changes) { impl_->Changed(changes); }
void Mount::WaitTold() { impl_->WaitTold(); }

}  // namespace btfc::fs
