#include "mount-helper/control.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <spdlog/spdlog.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <nlohmann/json.hpp>

namespace btfc::mount_helper {
namespace {

using Clock = std::chrono::steady_clock;

constexpr auto kName = "control.sock";
constexpr auto kClientPatience = std::chrono::seconds(5);

// The socket's address, through the folder's descriptor: sun_path holds 108 bytes, a cache
// folder's path may be longer.
sockaddr_un Address(int folder) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const auto path = fmt::format("/proc/self/fd/{}/{}", folder, kName);
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  return address;
}

const sockaddr* Plain(const sockaddr_un& address) {
  return reinterpret_cast<const sockaddr*>(&address);
}

int Left(Clock::time_point deadline) {
  const auto left =
      std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Clock::now()).count();
  return static_cast<int>(std::max<std::int64_t>(left, 0));
}

// Until the other side shuts its direction down.
Result<std::string> ReceiveAll(int connection, Clock::time_point deadline) {
  std::string text;
  std::array<char, 64 * 1024> buffer;
  while (text.size() <= kControlMessageMax) {
    pollfd poll_for{connection, POLLIN, 0};
    const int ready = poll(&poll_for, 1, Left(deadline));
    if (ready < 0 && errno == EINTR) continue;
    if (ready <= 0) return Errno(ready == 0 ? ETIMEDOUT : errno);
    const auto got = read(connection, buffer.data(), buffer.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return Errno(errno);
    if (got == 0) return text;
    text.append(buffer.data(), static_cast<std::size_t>(got));
  }
  return Errno(EMSGSIZE);
}

Result<void> SendAll(int connection, std::string_view text, Clock::time_point deadline) {
  while (!text.empty()) {
    pollfd poll_for{connection, POLLOUT, 0};
    const int ready = poll(&poll_for, 1, Left(deadline));
    if (ready < 0 && errno == EINTR) continue;
    if (ready <= 0) return Errno(ready == 0 ? ETIMEDOUT : errno);
    const auto sent = send(connection, text.data(), text.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent < 0 && (errno == EINTR || errno == EAGAIN)) continue;
    if (sent < 0) return Errno(errno);
    text.remove_prefix(static_cast<std::size_t>(sent));
  }
  shutdown(connection, SHUT_WR);
  return Ok();
}

}  // namespace

std::string AnswerText(const ControlServer::Handler& handler, const std::string& request) {
  nlohmann::json answer;
  try {
    answer = handler(nlohmann::json::parse(request));
  } catch (const nlohmann::json::exception& error) {
    answer = {{"error", error.what()}};
  }
  // The reason may quote the request: neither need be UTF-8.
  return answer.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

Result<std::unique_ptr<ControlServer>> ControlServer::Start(const std::filesystem::path& cache,
                                                            Handler handler) {
  fs::Fd folder(open(cache.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!folder) return Errno(errno);
  fs::Fd listener(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!listener) return Errno(errno);
  unlinkat(folder.get(), kName, 0);  // left by a daemon that was killed; the cache's lock is ours
  const auto address = Address(folder.get());
  const auto old_mask = umask(0177);
  const int bound = bind(listener.get(), Plain(address), sizeof address);
  umask(old_mask);
  if (bound != 0 || listen(listener.get(), 16) != 0) return Errno(errno);
  std::array<int, 2> wake{};
  if (pipe2(wake.data(), O_CLOEXEC) != 0) return Errno(errno);
  return std::unique_ptr<ControlServer>(new ControlServer(std::move(folder), std::move(listener),
                                                          fs::Fd(wake[0]), fs::Fd(wake[1]),
                                                          std::move(handler)));
}

ControlServer::ControlServer(fs::Fd folder, fs::Fd socket, fs::Fd wake_read, fs::Fd wake_write,
                             Handler handler)
    : folder_(std::move(folder)),
      socket_(std::move(socket)),
      wake_read_(std::move(wake_read)),
      wake_write_(std::move(wake_write)),
      handler_(std::move(handler)),
      thread_([this] { Run(); }) {}

ControlServer::~ControlServer() {
  wake_write_.Reset();  // the reading end becomes ready
  thread_.join();
  unlinkat(folder_.get(), kName, 0);
}

void ControlServer::Run() {
  while (true) {
    std::array<pollfd, 2> poll_for = {pollfd{socket_.get(), POLLIN, 0},
                                      pollfd{wake_read_.get(), POLLIN, 0}};
    if (poll(poll_for.data(), poll_for.size(), -1) < 0 && errno != EINTR) return;
    if (poll_for[1].revents != 0) return;
    if (poll_for[0].revents == 0) continue;
    const fs::Fd connection(accept4(socket_.get(), nullptr, nullptr, SOCK_CLOEXEC));
    if (connection) Serve(connection.get());
  }
}

void ControlServer::Serve(int connection) {
  const auto deadline = Clock::now() + kClientPatience;
  const auto request = ReceiveAll(connection, deadline);
  if (!request) return;
  const auto sent =
      SendAll(connection, AnswerText(handler_, request.value()), Clock::now() + kClientPatience);
  if (!sent) spdlog::debug("control: the answer was not taken: {}", sent.error().message());
}

Result<nlohmann::json> AskDaemon(const std::filesystem::path& cache, const nlohmann::json& request,
                                 std::chrono::milliseconds patience) {
  const fs::Fd folder(open(cache.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!folder) return Errno(errno);
  const fs::Fd connection(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!connection) return Errno(errno);
  const auto address = Address(folder.get());
  if (connect(connection.get(), Plain(address), sizeof address) != 0) return Errno(errno);
  const auto deadline = Clock::now() + patience;
  BOOST_OUTCOME_TRYV(SendAll(connection.get(), request.dump(), deadline));
  BTFC_TRY(text, ReceiveAll(connection.get(), deadline));
  auto answer = nlohmann::json::parse(text, nullptr, false);
  if (answer.is_discarded()) return boost::outcome_v2::failure(make_error_code(Error::kCorrupt));
  return answer;
}

}  // namespace btfc::mount_helper
