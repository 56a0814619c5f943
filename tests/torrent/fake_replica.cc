#include "fake_replica.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <deque>
#include <optional>
#include <utility>

#include "index/derived_ids.h"

namespace btfc::torrent {
namespace {

using index::DeviceId;
using index::Dot;
using index::Summary;

constexpr std::chrono::seconds kPatience{60};

// A part: kind byte, then fields. 'S' the summaries, 'R' one row; the last part ends with 'E'.
void Put(std::string& out, const DeviceId& device, std::uint64_t n) {
  out.append(reinterpret_cast<const char*>(device.bytes.data()), device.bytes.size());
  out.append(reinterpret_cast<const char*>(&n), sizeof(n));
}

void PutSummary(std::string& out, const Summary& summary) {
  const std::uint64_t count = summary.size();
  out.append(reinterpret_cast<const char*>(&count), sizeof(count));
  for (const auto& [device, n] : summary) Put(out, device, n);
}

class Cursor {
 public:
  explicit Cursor(std::string_view bytes) : bytes_(bytes) {}
  bool Raw(void* out, std::size_t size) {
    if (bytes_.size() < size) return false;
    std::memcpy(out, bytes_.data(), size);
    bytes_.remove_prefix(size);
    return true;
  }
  bool Number(std::uint64_t& n) { return Raw(&n, sizeof(n)); }
  bool Device(DeviceId& device) { return Raw(device.bytes.data(), device.bytes.size()); }
  bool Text(std::string& text) {
    std::uint64_t size = 0;
    if (!Number(size) || bytes_.size() < size) return false;
    text = std::string(bytes_.substr(0, size));
    bytes_.remove_prefix(size);
    return true;
  }
  bool ReadSummary(Summary& summary) {
    std::uint64_t count = 0;
    if (!Number(count)) return false;
    for (; count > 0; --count) {
      DeviceId device;
      std::uint64_t n = 0;
      if (!Device(device) || !Number(n)) return false;
      summary[device] = n;
    }
    return true;
  }
  bool empty() const { return bytes_.empty(); }

 private:
  std::string_view bytes_;
};

class FakeReader final : public index::DeltaReader {
 public:
  FakeReader(Summary since, Summary until, const std::map<Dot, std::string>& rows)
      : since_(std::move(since)), until_(std::move(until)) {
    std::string part = "S";
    PutSummary(part, since_);
    PutSummary(part, until_);
    for (const auto& [dot, text] : rows) {
      if (part.size() + text.size() + 64 > index::kDeltaPartMax) {
        parts_.push_back(std::exchange(part, {}));
      }
      part += 'R';
      Put(part, dot.device, dot.n);
      const std::uint64_t size = text.size();
      part.append(reinterpret_cast<const char*>(&size), sizeof(size));
      part += text;
    }
    parts_.push_back(part + "E");
  }
  const Summary& since() const override { return since_; }
  const Summary& until() const override { return until_; }
  Result<std::optional<std::string>> Next() override {
    if (parts_.empty()) return std::optional<std::string>();
    std::optional<std::string> part = std::move(parts_.front());
    parts_.pop_front();
    return part;
  }

 private:
  const Summary since_;
  const Summary until_;
  std::deque<std::string> parts_;
};

}  // namespace

class FakeWriter final : public index::DeltaWriter {
 public:
  explicit FakeWriter(FakeReplica& replica) : replica_(replica) {}
  Result<bool> Add(std::string_view part) override {
    Cursor cursor(part);
    char kind = 0;
    while (cursor.Raw(&kind, 1)) {
      if (kind == 'E') return cursor.empty() ? Result<bool>(true) : Result<bool>(Error::kCorrupt);
      if (kind == 'S') {
        if (!cursor.ReadSummary(since_) || !cursor.ReadSummary(until_)) return Error::kCorrupt;
      } else if (kind == 'R') {
        Dot dot;
        std::string text;
        if (!cursor.Device(dot.device) || !cursor.Number(dot.n) || !cursor.Text(text)) {
          return Error::kCorrupt;
        }
        rows_[dot] = text;
      } else {
        return Error::kCorrupt;
      }
    }
    return false;
  }
  Result<void> Finish() override { return replica_.Apply(since_, until_, rows_); }

 private:
  FakeReplica& replica_;
  Summary since_;
  Summary until_;
  std::map<Dot, std::string> rows_;
};

namespace {
std::uint64_t IncarnationFor(const index::NodeKey& node_key, std::uint8_t number) {
  std::uint64_t incarnation = 0;
  while (index::DeviceIdOf(node_key, incarnation).bytes[0] != number) ++incarnation;
  return incarnation;
}
}  // namespace

FakeReplica::FakeReplica(const index::NodeKey& node_key, std::uint8_t number)
    : incarnation_(IncarnationFor(node_key, number)),
      self_(index::DeviceIdOf(node_key, incarnation_)) {}

void FakeReplica::Write(const std::string& text) {
  const std::lock_guard lock(mutex_);
  rows_[{self_, ++known_[self_]}] = text;
  changed_.notify_all();
}

bool FakeReplica::Has(const std::string& text) const {
  const std::lock_guard lock(mutex_);
  return std::any_of(rows_.begin(), rows_.end(),
                     [&text](const auto& row) { return row.second == text; });
}

bool FakeReplica::WaitFor(const std::string& text) {
  std::unique_lock lock(mutex_);
  return changed_.wait_for(lock, kPatience, [&] {
    return std::any_of(rows_.begin(), rows_.end(),
                       [&text](const auto& row) { return row.second == text; });
  });
}

std::size_t FakeReplica::count() const {
  const std::lock_guard lock(mutex_);
  return rows_.size();
}

std::size_t FakeReplica::repeated() const {
  const std::lock_guard lock(mutex_);
  return repeated_;
}

std::size_t FakeReplica::cuts() const {
  const std::lock_guard lock(mutex_);
  return cuts_;
}

void FakeReplica::FailNext(std::error_code code, int times) {
  const std::lock_guard lock(mutex_);
  failure_ = code;
  failures_ = times;
}

Summary FakeReplica::Known() const {
  const std::lock_guard lock(mutex_);
  return known_;
}

Result<std::unique_ptr<index::DeltaReader>> FakeReplica::Cut(const Summary& since) {
  const std::lock_guard lock(mutex_);
  ++cuts_;
  Rows rows;
  for (const auto& [dot, text] : rows_) {
    const auto known = since.find(dot.device);
    if (known == since.end() || known->second < dot.n) rows.emplace(dot, text);
  }
  if (rows.empty()) return std::unique_ptr<index::DeltaReader>();
  return std::unique_ptr<index::DeltaReader>(new FakeReader(since, known_, rows));
}

std::unique_ptr<index::DeltaWriter> FakeReplica::Receive() {
  return std::make_unique<FakeWriter>(*this);
}

Result<void> FakeReplica::Apply(const Summary& since, const Summary& until, const Rows& rows) {
  const std::lock_guard lock(mutex_);
  if (failures_ > 0) {
    --failures_;
    return failure_;
  }
  for (const auto& [device, n] : since) {
    const auto known = known_.find(device);
    if (known == known_.end() || known->second < n) return Error::kNotCovered;
  }
  for (const auto& [dot, text] : rows) {
    if (!rows_.emplace(dot, text).second) ++repeated_;
  }
  for (const auto& [device, n] : until) known_[device] = std::max(known_[device], n);
  changed_.notify_all();
  return Ok();
}

void FakeReplica::Remove(const index::NodeKey& node_key) {
  const std::lock_guard lock(mutex_);
  removed_.insert(node_key);
}

bool FakeReplica::IsRemoved(const index::NodeKey& node_key) const {
  const std::lock_guard lock(mutex_);
  return removed_.contains(node_key);
}

}  // namespace btfc::torrent
