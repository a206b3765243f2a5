#include "net/own_address.h"

#include <algorithm>

#include "content/link.h"
#include "net/node.h"

namespace p2p::net {

std::vector<HostPort> own_addresses(const std::vector<HostPort>& advertised,
                                    const Endpoint& local) {
  std::vector<HostPort> addresses;
  for (const HostPort& address : advertised)
    addresses.push_back({address.host, address.port ? address.port : local.port});
  if (addresses.empty())
    for (const Endpoint& endpoint : reachable_endpoints(local))
      addresses.push_back({endpoint.address.to_string(), endpoint.port});
  return addresses;
}

std::vector<Endpoint> own_endpoints(const std::vector<HostPort>& advertised,
                                    const Endpoint& local) {
  std::vector<Endpoint> endpoints;
  for (const HostPort& address : own_addresses(advertised, local))
    if (auto ip = IpAddress::parse(address.host)) endpoints.push_back({*ip, address.port});
  return endpoints.empty() ? reachable_endpoints(local) : endpoints;
}

std::vector<HostPort> member_addresses(const GossipService& gossip,
                                       const std::vector<HostPort>& join) {
  const Endpoint own = gossip.membership().self().endpoint;
  std::vector<HostPort> addresses = {{own.address.to_string(), own.port}};
  add_addresses(addresses, join);
  return addresses;
}

void add_addresses(std::vector<HostPort>& addresses, const std::vector<HostPort>& more) {
  for (const HostPort& address : more)
    if (addresses.size() < kMaxLinkAddresses &&
        std::find(addresses.begin(), addresses.end(), address) == addresses.end())
      addresses.push_back(address);
}

}  // namespace p2p::net
