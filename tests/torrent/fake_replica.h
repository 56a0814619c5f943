// A replica in memory whose rows are strings: deltas with the rules of the real one.
#pragma once

#include <condition_variable>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "index/replica.h"

namespace btfc::torrent {

class FakeReplica final : public index::Replica {
 public:
  // The device belongs to this key, and begins with the number, so that tests know who is lower.
  FakeReplica(const index::NodeKey& node_key, std::uint8_t number);

  // A row of this device's own.
  void Write(const std::string& text);
  // Waits until `text` is among the rows; false after a minute.
  bool WaitFor(const std::string& text);
  bool Has(const std::string& text) const;
  std::size_t count() const;
  // How many rows came in from others that were here already.
  std::size_t repeated() const;
  // The next deltas fail to finish with this code, `times` times.
  void FailNext(std::error_code code, int times);
  std::size_t cuts() const;
  // From now on the host with this key is no member.
  void Remove(const index::NodeKey& node_key);

  index::DeviceId self() const override { return self_; }
  std::uint64_t incarnation() const override { return incarnation_; }
  index::Summary Known() const override;
  Result<std::unique_ptr<index::DeltaReader>> Cut(const index::Summary& since) override;
  std::unique_ptr<index::DeltaWriter> Receive() override;
  bool IsRemoved(const index::NodeKey& node_key) const override;

 private:
  friend class FakeWriter;
  using Rows = std::map<index::Dot, std::string>;
  Result<void> Apply(const index::Summary& since, const index::Summary& until, const Rows& rows);

  const std::uint64_t incarnation_;
  const index::DeviceId self_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  index::Summary known_;
  Rows rows_;
  std::size_t repeated_ = 0;
  std::size_t cuts_ = 0;
  std::set<index::NodeKey> removed_;
  std::error_code failure_;
  int failures_ = 0;
};

}  // namespace btfc::torrent
