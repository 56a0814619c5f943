// A member's session that says whatever a test wants, and remembers what it was told.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <list>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "test_host.h"
#include "torrent/codec.h"
#include "torrent/identity.h"
#include "torrent/link.h"
#include "torrent/loop.h"
#include "torrent/session.h"

namespace btfc::torrent {

class RudeMember final : public LinkListener {
 public:
  // `number` gives the address 127.0.0.number.
  RudeMember(const ClusterKey& cluster, std::uint8_t number);
  ~RudeMember() override;

  // Without a word yet; null after a minute.
  LinkPtr Connect(const TestHost& host);
  // As a member does.
  LinkPtr Greet(const TestHost& host);
  wire::Hello Hello() const;
  // The first message of this kind that was not taken yet, and that parses; nothing after a minute.
  template <class Message>
  std::optional<Message> Take(Kind kind) {
    const auto payload = TakePayload(kind);
    return payload ? Parse<Message>(*payload) : std::nullopt;
  }
  std::size_t Count(Kind kind) const;  // that were not taken yet

  void OnLinkUp(const LinkPtr& link) override;
  void OnMessage(const LinkPtr& link, Kind kind, std::string payload) override;
  void OnLinkDown(const LinkPtr& /*link*/) override {}
  void OnNonsense(const LinkPtr& /*link*/, std::string_view /*what*/) override {}

 private:
  std::optional<std::string> TakePayload(Kind kind);

  TempDir dir_;
  Loop loop_;
  NodeIdentity node_;
  std::unique_ptr<Session> session_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  LinkPtr link_;
  std::list<std::pair<Kind, std::string>> heard_;
};

}  // namespace btfc::torrent
