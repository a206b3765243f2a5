// Whom a peer of a link's swarm announces to: of the trackers the best two, all of the seeders.
#pragma once

#include <vector>

#include "net/announce_client.h"
#include "net/hosted_swarm.h"

namespace p2p::net {

// At how many trackers of a list a peer is announced, and asks: with one that fails, newcomers
// still find it at the other.
inline constexpr std::size_t kTrackerSpread = 2;

struct LinkOwners {
  std::vector<HostPort> trackers;  // of the link
  // Named beside the link. They are a list of their own with a spread of its own: ranked together
  // with the link's they could push all of those aside that others of the link are announced at.
  std::vector<HostPort> more_trackers;
  std::vector<HostPort> seeders;
  Secret tracker_psk, seeder_psk;
};

// Of `named` those whose owner_name() is not among `known`, each once, in their order.
std::vector<HostPort> new_trackers(const std::vector<HostPort>& known,
                                   const std::vector<HostPort>& named);

// All of them, each once, the best owner of the swarm first.
std::vector<OwnerAddress> rank_trackers(const SwarmId& swarm, const std::vector<HostPort>& trackers,
                                        const Secret& psk);

// Announces the swarm at them.
void announce_to_link(HostedSwarm& swarm, const LinkOwners& owners);

}  // namespace p2p::net
