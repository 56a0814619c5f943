// How `btfc` talks to a daemon: one JSON object each way on a Unix socket in the cache folder.
#pragma once

#include <atomic>
#include <chrono>
#include <filesystem>
#include <functional>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <thread>

#include "fs/fd.h"
#include "index/result.h"

namespace btfc::mount_helper {

inline constexpr std::size_t kControlMessageMax = 16 * 1024 * 1024;  // bytes

// Answers requests one after another on a thread of its own. The folder's mode (0700) says who may
// ask.
class ControlServer {
 public:
  // Called on the server's thread; what it answers is sent. It may throw nlohmann's exceptions
  // for a request that lacks something; the client gets their text.
  using Handler = std::function<nlohmann::json(const nlohmann::json& request)>;

  static Result<std::unique_ptr<ControlServer>> Start(const std::filesystem::path& cache,
                                                      Handler handler);
  ~ControlServer();  // ends the thread, removes the socket

 private:
  ControlServer(fs::Fd folder, fs::Fd socket, fs::Fd wake_read, fs::Fd wake_write, Handler handler);
  void Run();
  void Serve(int connection);

  fs::Fd folder_, socket_, wake_read_, wake_write_;
  Handler handler_;
  std::thread thread_;
};

// The answer's text to a request's text, whatever that is. On the handler's thread.
std::string AnswerText(const ControlServer::Handler& handler, const std::string& request);

// Asks the daemon of this cache. ENOENT or ECONNREFUSED: none runs; EACCES: another user's.
Result<nlohmann::json> AskDaemon(const std::filesystem::path& cache, const nlohmann::json& request,
                                 std::chrono::milliseconds patience);

}  // namespace btfc::mount_helper
