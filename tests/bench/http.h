// The least of HTTP that a daemon's own interface needs.
#pragma once

#include <cstdint>
#include <string>

namespace btfc::bench {

struct HttpRequest {
  std::string method = "GET";
  std::string path;
  std::string api_key;
  std::string body;
};

// Asks 127.0.0.1:`port` inside the network namespace `net`. The answer's body; empty if there is
// none or its status is not 200.
std::string AskHttp(int net, std::uint16_t port, const HttpRequest& request);

}  // namespace btfc::bench
