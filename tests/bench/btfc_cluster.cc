// The project's own daemons.
#include <stdexcept>

#include "bench_cluster.h"

namespace btfc::bench {
namespace {

class BtfcCluster final : public BenchCluster {
 public:
  explicit BtfcCluster(int hosts) : lab_(hosts) {}

  std::size_t size() const override { return lab_.size(); }
  std::filesystem::path folder(std::size_t host) const override { return lab_[host].mount(); }
  const cluster::Host& machine(std::size_t host) const override { return lab_[host]; }

  void Start() override {
    if (!lab_.StartAll()) throw std::runtime_error("hosts do not start");
  }
  void Invite() override { lab_.ShareKey(lab_.Add()); }
  void StartLate() override {
    if (!lab_[lab_.size() - 1].Start()) throw std::runtime_error("the late host does not start");
  }
  bool Complete(std::size_t host) override { return lab_[host].Complete(); }
  bool Noticed(std::size_t host, const std::string&) override {
    const auto status = lab_[host].Status();
    return !status.empty() && status["writing"] == 0;
  }
  int rounds() const override { return 200; }

 private:
  mutable cluster::Lab lab_;
};

}  // namespace

std::unique_ptr<BenchCluster> MakeBtfc(int hosts) { return std::make_unique<BtfcCluster>(hosts); }

}  // namespace btfc::bench
