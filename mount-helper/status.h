// What `btfc status` shows: gathered by the daemon, laid out by the CLI.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "fs/files.h"
#include "fs/scrub.h"
#include "index/catalogue.h"
#include "torrent/swarm.h"

namespace btfc::mount_helper {

// The keys are stable: scripts use them (docs/PROTOCOL.md lists them).
nlohmann::json GatherStatus(index::Catalogue& catalogue, const fs::Files& files,
                            const torrent::Swarm& swarm, bool lazy);

// What the last pass over the objects found, and what is damaged and has not come back.
void AddScrub(nlohmann::json& status, fs::Scrub& scrub);

// For a person. `status` as GatherStatus and the daemon filled it in.
std::string DescribeStatus(const nlohmann::json& status);
std::string DescribePeers(const nlohmann::json& status);
std::string PeerState(const nlohmann::json& peer);  // what one of the peers lacks

std::string HumanBytes(std::uint64_t bytes);  // 12.3 MiB
std::string HumanTime(std::int64_t time_ns);  // local time, to the second

}  // namespace btfc::mount_helper
