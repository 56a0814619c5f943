// Syncthing on the same machines and cables: a key and a configuration of its own making, changed
// through its REST interface on loopback. Nothing outside the laboratory is asked: no relays, no
// discovery, no reports; the hosts know each other's addresses.
#include <fmt/format.h>

#include <csignal>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <vector>

#include "bench_cluster.h"
#include "http.h"

namespace btfc::bench {
namespace {

using nlohmann::json;

constexpr std::uint16_t kApiPort = 8384;
constexpr int kPeerPort = 22000;
constexpr char kApiKey[] = "bench";
constexpr char kFolderId[] = "bench";
constexpr int kWatcherSeconds = 1;  // from a change to the look for it; the least it takes

class SyncthingHost {
 public:
  explicit SyncthingHost(const cluster::Host& machine) : machine_(machine) {
    std::filesystem::create_directories(folder());
    const auto made = cluster::RunProgram(
        {"syncthing", "generate", "--home", home(), "--no-default-folder", "--skip-port-probing"});
    const auto named = cluster::RunProgram({"syncthing", "--device-id", "--home", home()});
    if (!made.ok() || !named.ok()) {
      throw std::runtime_error("syncthing does not make its keys: " + made.output + named.output);
    }
    id_ = named.output.substr(0, named.output.find_last_not_of(" \n") + 1);
  }
  ~SyncthingHost() { End(); }
  SyncthingHost(const SyncthingHost&) = delete;
  SyncthingHost& operator=(const SyncthingHost&) = delete;

  const cluster::Host& machine() const { return machine_; }
  const std::string& id() const { return id_; }
  std::filesystem::path folder() const { return machine_.folder() / "synced"; }

  void Run() {
    daemon_ = cluster::Daemon(
        // Otherwise it would be two processes, of which we should know only the one that watches.
        {"env", "STMONITORED=yes", "syncthing", "serve", "--home", home(), "--no-browser",
         "--no-restart", "--no-upgrade", "--gui-apikey", kApiKey, "--gui-address",
         fmt::format("127.0.0.1:{}", kApiPort)},
        machine_.net(), (machine_.folder() / "syncthing.log").native());
    const auto answers = [this] { return !Ask("/rest/system/status").empty(); };
    if (!cluster::Eventually(answers, kPatience)) {
      throw std::runtime_error("syncthing does not start");
    }
  }

  void End() {
    daemon_.Signal(SIGTERM);
    daemon_.Wait(std::chrono::seconds(10));
    daemon_ = cluster::Daemon();
  }

  json Ask(const std::string& path) const {
    auto answer = json::parse(AskHttp(machine_.net(), kApiPort, {"GET", path, kApiKey, ""}),
                              nullptr, /*allow_exceptions=*/false);
    return answer.is_object() ? answer : json::object();
  }

  // Shares the folder with all of `hosts`, of which this is one.
  void Configure(const std::vector<std::unique_ptr<SyncthingHost>>& hosts) {
    json config = Ask("/rest/config");
    const json folder_defaults = Ask("/rest/config/defaults/folder");
    const json device_defaults = Ask("/rest/config/defaults/device");
    json folder = folder_defaults;
    folder["id"] = folder["label"] = kFolderId;
    folder["path"] = this->folder().native();
    folder["fsWatcherDelayS"] = kWatcherSeconds;
    folder["devices"] = json::array();
    config["devices"] = json::array();
    for (const auto& host : hosts) {
      json device = device_defaults;
      device["deviceID"] = host->id();
      device["addresses"] =
          json::array({fmt::format("tcp://{}:{}", host->machine().address(), kPeerPort)});
      config["devices"].push_back(device);
      folder["devices"].push_back({{"deviceID", host->id()}});
    }
    config["folders"] = json::array({folder});
    json& options = config["options"];
    options["listenAddresses"] = json::array({fmt::format("tcp://:{}", kPeerPort)});
    for (const char* const off :
         {"globalAnnounceEnabled", "localAnnounceEnabled", "relaysEnabled", "natEnabled",
          "startBrowser", "crashReportingEnabled", "setLowPriority"}) {
      options[off] = false;
    }
    options["urAccepted"] = -1;
    options["autoUpgradeIntervalH"] = 0;
    options["reconnectionIntervalS"] = 1;
    AskHttp(machine_.net(), kApiPort, {"PUT", "/rest/config", kApiKey, config.dump()});
    if (Ask("/rest/config")["folders"].size() != 1) {
      throw std::runtime_error("syncthing does not take its configuration");
    }
  }

  std::size_t Connections() const {
    const json answer = Ask("/rest/system/connections");
    std::size_t count = 0;
    if (!answer.contains("connections")) return count;
    for (const auto& connection : answer["connections"]) {
      if (connection.value("connected", false)) ++count;
    }
    return count;
  }

  bool Complete() const {
    const json status = Ask(fmt::format("/rest/db/status?folder={}", kFolderId));
    return status.value("state", "") == "idle" && status.value("needTotalItems", -1) == 0;
  }

  // The database has the file as it is on the disk.
  bool Scanned(const std::string& name) const {
    const json file = Ask(fmt::format("/rest/db/file?folder={}&file={}", kFolderId, name));
    std::error_code ignored;
    const auto size = std::filesystem::file_size(folder() / name, ignored);
    return file.contains("local") && file["local"].value("size", std::uintmax_t{0}) == size;
  }

 private:
  std::string home() const { return (machine_.folder() / "syncthing").native(); }

  const cluster::Host& machine_;
  std::string id_;
  cluster::Daemon daemon_;
};

class SyncthingCluster final : public BenchCluster {
 public:
  explicit SyncthingCluster(int hosts) : lab_(hosts) {
    for (int i = 0; i < hosts; ++i) Add(lab_[static_cast<std::size_t>(i)]);
  }

  std::size_t size() const override { return hosts_.size(); }
  std::filesystem::path folder(std::size_t host) const override {
    return hosts_.at(host)->folder();
  }
  const cluster::Host& machine(std::size_t host) const override {
    return hosts_.at(host)->machine();
  }

  void Start() override {
    for (const auto& host : hosts_) host->Run();
    for (const auto& host : hosts_) host->Configure(hosts_);
    const auto ready = [this] {
      for (const auto& host : hosts_) {
        if (host->Connections() + 1 != hosts_.size() || !host->Complete()) return false;
      }
      return true;
    };
    if (!cluster::Eventually(ready, kPatience)) {
      throw std::runtime_error("syncthing does not connect");
    }
  }
  void Invite() override {
    Add(lab_.Add());
    // Its configuration is written by a first run, of which nobody hears.
    SyncthingHost& late = *hosts_.back();
    late.machine().SetLink(false);
    late.Run();
    late.Configure(hosts_);
    late.End();
    late.machine().SetLink(true);
    for (std::size_t i = 0; i + 1 < hosts_.size(); ++i) {
      hosts_[i]->Configure(hosts_);
    }
  }
  void StartLate() override { hosts_.back()->Run(); }
  bool Complete(std::size_t host) override { return hosts_.at(host)->Complete(); }
  bool Noticed(std::size_t host, const std::string& file) override {
    return hosts_.at(host)->Scanned(file);
  }
  int rounds() const override { return 20; }

 private:
  void Add(const cluster::Host& machine) {
    hosts_.push_back(std::make_unique<SyncthingHost>(machine));
  }

  cluster::Lab lab_;
  std::vector<std::unique_ptr<SyncthingHost>> hosts_;
};

}  // namespace

std::unique_ptr<BenchCluster> MakeSyncthing(int hosts) {
  return std::make_unique<SyncthingCluster>(hosts);
}

bool SyncthingInstalled() { return cluster::RunProgram({"syncthing", "--version"}).ok(); }

}  // namespace btfc::bench
