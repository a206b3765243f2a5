#include "net/link_owners.h"

#include <set>
#include <string>
#include <utility>

#include "crypto/rendezvous.h"

namespace p2p::net {

std::vector<HostPort> new_trackers(const std::vector<HostPort>& known,
                                   const std::vector<HostPort>& named) {
  std::set<std::string> names;
  for (const HostPort& tracker : known) names.insert(owner_name(tracker));
  std::vector<HostPort> added;
  for (const HostPort& tracker : named)
    if (names.insert(owner_name(tracker)).second) added.push_back(tracker);
  return added;
}

std::vector<OwnerAddress> rank_trackers(const SwarmId& swarm, const std::vector<HostPort>& trackers,
                                        const Secret& psk) {
  const std::vector<HostPort> each = new_trackers({}, trackers);
  std::vector<std::string> names;
  for (const HostPort& tracker : each) names.push_back(owner_name(tracker));
  std::vector<ByteView> views;
  for (const std::string& name : names) views.push_back(bytes_of(name));
  std::vector<OwnerAddress> ranked;
  for (const std::size_t place : best_owners(swarm, views, views.size()))
    ranked.push_back({each[place], psk});
  return ranked;
}

void announce_to_link(HostedSwarm& swarm, const LinkOwners& owners) {
  tracker::AnnouncerConfig config = swarm.announcer_config();
  config.spread = kTrackerSpread;
  for (const std::vector<HostPort>& trackers :
       {owners.trackers, new_trackers(owners.trackers, owners.more_trackers)})
    if (!trackers.empty())
      swarm.announce_to(rank_trackers(config.swarm, trackers, owners.tracker_psk), config);
  config.spread = 0;
  std::vector<OwnerAddress> seeders;
  for (const HostPort& seeder : owners.seeders) seeders.push_back({seeder, owners.seeder_psk});
  if (!seeders.empty()) swarm.announce_to(std::move(seeders), std::move(config));
}

}  // namespace p2p::net
