// Endpoints to and from the system's socket addresses, and the addresses of this host.
#pragma once

#include <uv.h>

#include <vector>

#include "base/endpoint.h"

namespace p2p::net {

Endpoint endpoint_of(const sockaddr* address);
sockaddr_storage sockaddr_of(const Endpoint& endpoint);

// The addresses of this host's interfaces that are up, sorted, without loopback and link-local
// ones; loopback alone where there is no other.
std::vector<IpAddress> host_addresses();

// Of these the one that others most likely know this host by: the one from which its default route
// leaves, where it has such a route. Sends nothing.
IpAddress main_address();

}  // namespace p2p::net
