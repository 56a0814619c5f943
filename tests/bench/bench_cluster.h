// Hosts in the laboratory that keep a folder the same: by btfc, or by what people would use
// instead. The scenarios know nothing else of them.
#pragma once

#include <chrono>
#include <filesystem>
#include <memory>
#include <string>

#include "lab.h"

namespace btfc::bench {

inline constexpr auto kPatience = std::chrono::seconds(120);

class BenchCluster {
 public:
  virtual ~BenchCluster() = default;

  virtual std::size_t size() const = 0;
  // What its user works in.
  virtual std::filesystem::path folder(std::size_t host) const = 0;
  // The machine and its cable.
  virtual const cluster::Host& machine(std::size_t host) const = 0;

  // All run and see each other, or an exception.
  virtual void Start() = 0;
  // Makes one more host known to the others; what is left is done by StartLate.
  virtual void Invite() = 0;
  virtual void StartLate() = 0;
  // What this host knows of is here in full.
  virtual bool Complete(std::size_t host) = 0;
  // A change that the user of this host made needs nothing more to be found by the others.
  virtual bool Noticed(std::size_t host, const std::string& file) = 0;
  // A system that takes about a second for each gets fewer rounds.
  virtual int rounds() const = 0;
};

std::unique_ptr<BenchCluster> MakeBtfc(int hosts);
std::unique_ptr<BenchCluster> MakeSyncthing(int hosts);
bool SyncthingInstalled();

}  // namespace btfc::bench
