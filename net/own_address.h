// Where others find this host, as links and owners are told.
#pragma once

#include <vector>

#include "base/endpoint.h"
#include "net/gossip_service.h"

namespace p2p::net {

// `advertised` with the port of `local` where it has none; where nothing is advertised, the
// addresses that the host knows itself by.
std::vector<HostPort> own_addresses(const std::vector<HostPort>& advertised, const Endpoint& local);
// Those of them that are addresses, not names. Of names alone: what the host knows itself by.
std::vector<Endpoint> own_endpoints(const std::vector<HostPort>& advertised, const Endpoint& local);

// Where who has the link finds the cluster: at this member, or where it found the others.
std::vector<HostPort> member_addresses(const GossipService& gossip,
                                       const std::vector<HostPort>& join);

// Adds those of `more` that are not there yet, up to kMaxLinkAddresses in all.
void add_addresses(std::vector<HostPort>& addresses, const std::vector<HostPort>& more);

}  // namespace p2p::net
