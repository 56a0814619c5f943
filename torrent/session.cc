#include "torrent/session.h"

#include <openssl/err.h>
#include <openssl/sslerr.h>
#include <spdlog/spdlog.h>
#include <sys/resource.h>

#include <algorithm>
#include <atomic>
#include <boost/asio/ssl/error.hpp>
#include <condition_variable>
#include <future>
#include <libtorrent/add_torrent_params.hpp>
#include <libtorrent/alert_types.hpp>
#include <libtorrent/load_torrent.hpp>
#include <libtorrent/session_params.hpp>
#include <libtorrent/settings_pack.hpp>
#include <libtorrent/torrent_flags.hpp>
#include <libtorrent/version.hpp>
#include <limits>
#include <mutex>
#include <utility>

#include "torrent/bencode.h"
#include "torrent/content_info.h"
#include "torrent/gossip_plugin.h"
#include "torrent/listen_addresses.h"
#include "torrent/private_file.h"
#include "torrent/session_handle.h"

#if LIBTORRENT_VERSION_NUM < 20008
#error "libtorrent 2.0.8 or newer is needed"
#endif

namespace btfc::torrent {
namespace {

constexpr std::chrono::seconds kListenMax{5};
constexpr std::chrono::milliseconds kStrangersLook{250};
constexpr std::chrono::seconds kCloseMax{10};
constexpr int kConnectionsMax = 8000;
constexpr rlim_t kDescriptorsMax = 65536;
constexpr int kPortTries = 5;  // other programs may take a port between our look and libtorrent's

std::string ListenInterfaces(const std::vector<std::string>& addresses, std::uint16_t port,
                             bool dht) {
  std::string list;
  for (const std::string& address : addresses) {
    const std::string text = address.find(':') != std::string::npos ? "[" + address + "]" : address;
    // 's': TLS only. The DHT does not run on such a socket, so it gets one beside it, on which no
    // peer of ours can be reached.
    list += (list.empty() ? "" : ",") + text + ":" + std::to_string(port) + "s";
    if (dht) list += "," + text + ":" + std::to_string(port + 1);
  }
  return list;
}

lt::settings_pack Settings(const SessionOptions& options,
                           const std::vector<std::string>& addresses) {
  using lt::settings_pack;
  settings_pack pack;
  pack.set_int(settings_pack::alert_mask,
               lt::alert_category::error | lt::alert_category::status | lt::alert_category::peer);
  pack.set_int(settings_pack::alert_queue_size, 100'000);
  pack.set_str(settings_pack::user_agent, "btfc");
  pack.set_str(settings_pack::listen_interfaces, "");  // see Open
  // Others dial us where our connections come from.
  if (options.listen.size() == 1 && addresses.size() == 1) {
    pack.set_str(settings_pack::outgoing_interfaces, addresses.front());
  }
  pack.set_int(settings_pack::max_retry_port_bind, 0);
  pack.set_bool(settings_pack::listen_system_port_fallback, false);
  pack.set_int(settings_pack::listen_queue_size, 500);
  pack.set_bool(settings_pack::enable_lsd, options.lpd);
  pack.set_int(settings_pack::local_service_announce_interval, 60);
  pack.set_bool(settings_pack::enable_dht, options.dht);
  pack.set_bool(settings_pack::enable_upnp, false);
  pack.set_bool(settings_pack::enable_natpmp, false);
  pack.set_int(settings_pack::stop_tracker_timeout, 1);
  // TCP is several times faster than uTP on the networks that clusters live on.
  pack.set_bool(settings_pack::enable_outgoing_utp, false);
  pack.set_bool(settings_pack::enable_incoming_utp, false);
  // TLS is below: a second encryption would only cost time.
  pack.set_int(settings_pack::out_enc_policy, settings_pack::pe_disabled);
  pack.set_int(settings_pack::in_enc_policy, settings_pack::pe_disabled);
  // Everybody who gets this far is a member: no choking, no limits, no parting of seeds.
  pack.set_int(settings_pack::unchoke_slots_limit, -1);
  pack.set_bool(settings_pack::close_redundant_connections, false);
  pack.set_bool(settings_pack::allow_multiple_connections_per_ip, true);
  pack.set_int(settings_pack::connections_limit, kConnectionsMax);
  pack.set_int(settings_pack::connection_speed, 2000);
  pack.set_bool(settings_pack::smooth_connects, false);
  pack.set_int(settings_pack::torrent_connect_boost, 200);
  pack.set_int(settings_pack::max_failcount, 100);
  pack.set_int(settings_pack::min_reconnect_time, 1);
  pack.set_int(settings_pack::peer_connect_timeout, 3);
  pack.set_int(settings_pack::peer_timeout, 30);
  pack.set_int(settings_pack::tick_interval, 100);
  // Short queues let what is urgent overtake.
  pack.set_int(settings_pack::request_queue_time, 1);
  pack.set_int(settings_pack::max_out_request_queue, 64);
  pack.set_int(settings_pack::max_allowed_in_request_queue, 2000);
  pack.set_bool(settings_pack::strict_end_game_mode, false);
  pack.set_int(settings_pack::send_buffer_watermark, 384 * 1024);
  pack.set_int(settings_pack::max_queued_disk_bytes, 16 * 1024 * 1024);
  pack.set_int(settings_pack::aio_threads, 2);
  pack.set_int(settings_pack::hashing_threads, 1);
  // pwrite(2) reports a full disk; a store into a mapping gets SIGBUS.
  pack.set_int(settings_pack::mmap_file_size_cutoff, std::numeric_limits<std::int16_t>::max());
  return pack;
}

// The usual limit of 1024 is soon reached by connections; libtorrent counts with what it finds.
void RaiseDescriptorLimit() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  const rlim_t wanted = std::min(limit.rlim_max, kDescriptorsMax);
  if (limit.rlim_cur >= wanted) return;
  limit.rlim_cur = wanted;
  if (::setrlimit(RLIMIT_NOFILE, &limit) != 0) spdlog::warn("few descriptors: {}", limit.rlim_cur);
}

// Answers when nobody is at the door. The network thread handles its sockets between two rounds.
void CloseDoor(const std::shared_ptr<NetworkQueue>& queue,
               const std::shared_ptr<Doorkeeper>& doorkeeper,
               const std::shared_ptr<std::promise<void>>& closed) {
  queue->Post([queue, doorkeeper, closed] {
    if (!doorkeeper->Close()) return CloseDoor(queue, doorkeeper, closed);
    closed->set_value();
  });
}

std::string ControlTorrentFile(const ClusterKey& cluster) {
  return "d" + Bencode("info") + ControlInfo(cluster) + "e";
}

}  // namespace

void SetCertificate(lt::torrent_handle torrent, const NodeIdentity& node) {
  torrent.set_ssl_certificate_buffer(node.cert_pem, node.key_pem, "");
}

class Session::Impl {
 public:
  Impl(const SessionOptions& options, Loop& loop, Refused refused)
      : options_(options), loop_(loop), refused_(std::move(refused)) {}
  ~Impl() { Stop(); }
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  Result<void> Open(LinkListener& listener, std::string* why) {
    addresses_ = ListenAddresses(options_.listen);
    if (addresses_.empty()) {
      *why = "no address to listen on:";
      for (const auto& text : options_.listen) *why += " " + text;
      *why += " is no address or interface of this host, or has no address yet";
      return Errno(EADDRNOTAVAIL);
    }
    for (const auto& text : AbsentFrom(options_.listen)) {
      spdlog::warn("listen={}: this host has no interface of that name now", text);
    }
    // Who connects before the control torrent can show our certificate is refused, and dials again
    // seconds later: the port opens last.
    BOOST_OUTCOME_TRY(AddControlTorrent(listener, why));
    std::uint16_t first = options_.port;
    for (int i = 0; i < kPortTries; ++i) {
      std::string failed;
      const auto port = FreePort(addresses_, first, &failed);
      if (!port) {
        *why = "cannot listen on " + failed + " port " + std::to_string(first) + ": " +
               port.error().message();
        if (port.error() == Errno(EADDRNOTAVAIL)) *why += " (this host does not have that address)";
        return port.error();
      }
      if (Listen(port.value())) {
        port_ = port.value();
        if (options_.port != 0 && port_ != options_.port) {
          spdlog::warn("port {} is taken; listening on {}", options_.port, port_);
        }
        session_->set_alert_notify([this] { loop_.Post([this] { DrainAlerts(); }); });
        handle_.queue->Post([doorkeeper = handle_.doorkeeper, guarded = port_.load()] {
          doorkeeper->Guard(guarded);
        });
        LookForStrangers();
        return Ok();
      }
      first = static_cast<std::uint16_t>(port.value() + 1);
    }
    *why = "cannot listen on " + addresses_.front() + ": " + listen_error_;
    return Errno(EADDRINUSE);
  }

  void Stop() {
    if (!session_) return;
    session_->set_alert_notify([] {});
    EndHandshakes();
    handle_.queue->Close();
    handle_.session = nullptr;
    session_.reset();  // waits for libtorrent's threads
  }

  void Dial(const std::string& ip, std::uint16_t port) { Tell(ip, port, {}, 1); }

  // What a tracker says of an address takes one from its count of failures (libtorrent's
  // src/peer_list.cpp, update_peer): there is no other way to it once the connection is gone.
  void Redial(const std::string& ip, std::uint16_t port) {
    Tell(ip, port, lt::peer_info::tracker, kDuplicateFailures);
  }

  void RefreshAddresses() {
    auto addresses = ListenAddresses(options_.listen);
    if (addresses.empty() || addresses == addresses_ || !session_) return;
    addresses_ = std::move(addresses);
    lt::settings_pack pack;
    pack.set_str(lt::settings_pack::listen_interfaces,
                 ListenInterfaces(addresses_, port_, options_.dht));
    session_->apply_settings(pack);
    spdlog::info("addresses of this host changed; listening on {} of them", addresses_.size());
  }

  std::uint16_t port() const { return port_; }
  SessionHandle& handle() { return handle_; }

 private:
  // Names an address to libtorrent, so many times.
  void Tell(const std::string& ip, std::uint16_t port, lt::peer_source_flags_t source,
            unsigned times) {
    lt::error_code error;
    const auto address = boost::asio::ip::make_address(ip, error);
    if (error || port == 0) return;
    for (unsigned i = 0; i < times; ++i) {
      control_.connect_peer({address, port}, source, lt::pex_lt_v2);
    }
  }

  // When a session ends, libtorrent frees the connections whose TLS handshake is still going on
  // (2.0.14 and 2.1.0 still do). The operation that each of them waits with comes back a moment
  // later, and uses what was freed. So none may be left by then.
  void EndHandshakes() {
    const auto closed = std::make_shared<std::promise<void>>();
    CloseDoor(handle_.queue, handle_.doorkeeper, closed);
    if (closed->get_future().wait_for(kCloseMax) != std::future_status::ready) {
      spdlog::warn("some connections did not end within {} seconds", kCloseMax.count());
    }
  }

  // Opens this port; false if another program has it.
  bool Listen(std::uint16_t port) {
    lt::settings_pack pack;
    pack.set_str(lt::settings_pack::listen_interfaces,
                 ListenInterfaces(addresses_, port, options_.dht));
    // The network thread does both in a row: no handshake ends while the torrent is paused, which
    // it is until now so that its first announcement finds the port open.
    handle_.queue->Post([session = lt::session_handle(*session_), control = control_,
                         pack = std::move(pack)]() mutable {
      session.apply_settings(std::move(pack));
      control.resume();
    });
    const auto deadline = std::chrono::steady_clock::now() + kListenMax;
    std::size_t open = 0;
    while (open < addresses_.size() && std::chrono::steady_clock::now() < deadline) {
      session_->wait_for_alert(std::chrono::milliseconds(100));
      std::vector<lt::alert*> alerts;
      session_->pop_alerts(&alerts);
      for (const lt::alert* alert : alerts) {
        if (const auto* failed = lt::alert_cast<lt::listen_failed_alert>(alert)) {
          listen_error_ = failed->error.message();
          return false;
        }
        const auto* succeeded = lt::alert_cast<lt::listen_succeeded_alert>(alert);
        if (succeeded != nullptr && succeeded->socket_type == lt::socket_type_t::tcp_ssl) ++open;
      }
    }
    if (open == 0) {
      listen_error_ = "no answer";
      return false;
    }
    return true;
  }

  Result<void> AddControlTorrent(LinkListener& listener, std::string* why) {
    RaiseDescriptorLimit();
    lt::session_params session_params(Settings(options_, addresses_));
    session_params.extensions.clear();  // no exchange of metadata or peers with anybody
    session_ = std::make_unique<lt::session>(std::move(session_params));
    handle_.session = session_.get();
    handle_.queue = std::make_shared<NetworkQueue>(&session_->get_context());
    handle_.doorkeeper = std::make_shared<Doorkeeper>(options_.removed);
    handle_.cluster = options_.cluster;
    handle_.node = options_.node;
    const auto folder = options_.state_dir / "control";
    std::error_code ignored;
    std::filesystem::create_directories(folder, ignored);
    const auto written = WritePrivateFile(folder / ControlFileName(options_.cluster),
                                          ControlFileBytes(options_.cluster), IfExists::kReplace);
    if (!written) {
      *why = "cannot write in " + folder.string() + ": " + written.error().message();
      return written.error();
    }
    try {
      lt::add_torrent_params params = lt::load_torrent_buffer(ControlTorrentFile(options_.cluster));
      params.save_path = folder.string();
      params.flags = lt::torrent_flags::seed_mode | lt::torrent_flags::no_verify_files |
                     lt::torrent_flags::disable_pex | lt::torrent_flags::paused;
      if (!options_.lpd) params.flags |= lt::torrent_flags::disable_lsd;
      if (!options_.dht) params.flags |= lt::torrent_flags::disable_dht;
      params.trackers = options_.trackers;
      params.extensions.push_back(
          [this, &listener](const lt::torrent_handle& torrent, lt::client_data_t) {
            SetCertificate(torrent, options_.node);
            return std::make_shared<ControlPlugin>(handle_.queue, handle_.doorkeeper, listener);
          });
      control_ = session_->add_torrent(std::move(params));
    } catch (const std::exception& error) {
      *why = std::string("libtorrent refused the control torrent: ") + error.what();
      return Errno(EIO);
    }
    return Ok();
  }

  // From time to time, for ever.
  void LookForStrangers() {
    loop_.PostAfter(kStrangersLook, [this] {
      // It may still be queued on the network thread while Stop takes session_ away.
      handle_.queue->Post(
          [session = lt::session_handle(*session_), doorkeeper = handle_.doorkeeper]() mutable {
            if (doorkeeper->Look(Doorkeeper::Clock::now()) > 0) RestoreLimit(session);
          });
      LookForStrangers();
    });
  }

  // Without descriptors libtorrent lowers it, and never raises it again.
  static void RestoreLimit(lt::session_handle& session) {
    lt::settings_pack pack;
    pack.set_int(lt::settings_pack::connections_limit, kConnectionsMax);
    session.apply_settings(pack);
  }

  void DrainAlerts() {
    if (!session_) return;
    std::vector<lt::alert*> alerts;
    session_->pop_alerts(&alerts);
    for (lt::alert* alert : alerts) Take(alert);
  }

  static Refusal RefusalOf(const lt::error_code& error) {
    if (error.category() != boost::asio::error::get_ssl_category()) return Refusal::kOther;
    switch (ERR_GET_REASON(static_cast<unsigned>(error.value()))) {
      case SSL_R_CALLBACK_FAILED:  // what the look-up of the name ends with here, if there is none
        return Refusal::kNoSuchTorrent;
      case SSL_R_CERTIFICATE_VERIFY_FAILED:  // also without a torrent that could verify it
        return Refusal::kNotVerified;
      default:
        return Refusal::kOther;
    }
  }

  void Take(lt::alert* alert) {
    if (const auto* peer = lt::alert_cast<lt::peer_error_alert>(alert)) {
      const bool tls = peer->op == lt::operation_t::ssl_handshake ||
                       peer->error == lt::errors::requires_ssl_connection ||
                       peer->error == lt::errors::invalid_ssl_cert;
      // A connection that simply ended in the handshake is a host that stopped.
      if (tls && peer->error.category() != boost::system::system_category()) {
        refused_(peer->endpoint.address().to_string(), RefusalOf(peer->error),
                 peer->error.message());
      }
      return;
    }
    if (const auto* failed = lt::alert_cast<lt::listen_failed_alert>(alert)) {
      spdlog::warn("cannot listen on {}: {}", failed->address.to_string(), failed->error.message());
      return;
    }
    if (handle_.on_alert) handle_.on_alert(alert);
  }

  const SessionOptions options_;
  Loop& loop_;
  const Refused refused_;
  std::vector<std::string> addresses_;  // on the loop
  std::atomic<std::uint16_t> port_ = 0;
  std::string listen_error_;
  std::unique_ptr<lt::session> session_;
  lt::torrent_handle control_;
  SessionHandle handle_;
};

Session::Session(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Session::~Session() { Stop(); }

Result<std::unique_ptr<Session>> Session::Start(const SessionOptions& options, Loop& loop,
                                                LinkListener& listener, Refused refused,
                                                std::string* why) {
  try {
    auto impl = std::make_unique<Impl>(options, loop, std::move(refused));
    BOOST_OUTCOME_TRY(impl->Open(listener, why));
    return std::unique_ptr<Session>(new Session(std::move(impl)));
  } catch (const std::exception& error) {
    *why = std::string("libtorrent cannot start: ") + error.what();
    return Errno(EIO);
  }
}

void Session::Stop() { impl_->Stop(); }
std::uint16_t Session::port() const { return impl_->port(); }
void Session::Dial(const std::string& ip, std::uint16_t port) { impl_->Dial(ip, port); }
void Session::Redial(const std::string& ip, std::uint16_t port) { impl_->Redial(ip, port); }
void Session::RefreshAddresses() { impl_->RefreshAddresses(); }
SessionHandle& Session::handle() { return impl_->handle(); }

}  // namespace btfc::torrent
