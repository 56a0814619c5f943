// For what nobody tells a test when it has come about.
#pragma once

#include <chrono>
#include <condition_variable>
#include <functional>
#include <mutex>

namespace btfc::test {

// Asks every few milliseconds until the answer is yes: true. False if it is not after `patience`.
inline bool Eventually(const std::function<bool()>& so,
                       std::chrono::milliseconds patience = std::chrono::seconds(30)) {
  const auto deadline = std::chrono::steady_clock::now() + patience;
  std::mutex mutex;
  std::condition_variable never;
  std::unique_lock lock(mutex);
  while (!so()) {
    if (std::chrono::steady_clock::now() >= deadline) return so();
    never.wait_for(lock, std::chrono::milliseconds(2));
  }
  return true;
}

}  // namespace btfc::test
