#include "fs/pending_calls.h"

#include <utility>
#include <vector>

#include "index/result.h"

namespace btfc::fs {

PendingCalls::Ticket PendingCalls::Add(std::optional<std::chrono::milliseconds> timeout, End end) {
  const std::lock_guard lock(mutex_);
  const auto ticket = next_++;
  auto& call = calls_[ticket];
  call.end = std::move(end);
  // The alarm's callback comes back for mutex_, so it cannot run before `alarm` is noted.
  if (timeout) {
    call.alarm = alarm_.After(*timeout, [this, ticket] { Cancel(ticket, Errno(EIO)); });
  }
  return ticket;
}

std::optional<PendingCalls::Call> PendingCalls::Remove(Ticket ticket) {
  const std::lock_guard lock(mutex_);
  const auto found = calls_.find(ticket);
  if (found == calls_.end()) return std::nullopt;
  auto call = std::move(found->second);
  calls_.erase(found);
  return call;
}

bool PendingCalls::Take(Ticket ticket) {
  const auto call = Remove(ticket);
  if (!call) return false;
  if (call->alarm != 0) alarm_.Cancel(call->alarm);
  return true;
}

bool PendingCalls::Cancel(Ticket ticket, std::error_code why) {
  const auto call = Remove(ticket);
  if (!call) return false;
  if (call->alarm != 0) alarm_.Cancel(call->alarm);
  call->end(why);
  return true;
}

void PendingCalls::EndAll(std::error_code why) {
  std::vector<Ticket> tickets;
  {
    const std::lock_guard lock(mutex_);
    for (const auto& call : calls_) tickets.push_back(call.first);
  }
  for (const auto ticket : tickets) Cancel(ticket, why);
}

std::uint64_t PendingCalls::size() const {
  const std::lock_guard lock(mutex_);
  return calls_.size();
}

}  // namespace btfc::fs
