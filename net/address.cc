#include "net/address.h"

#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "base/check.h"

namespace p2p::net {

Endpoint endpoint_of(const sockaddr* address) {
  Endpoint endpoint;
  if (address->sa_family == AF_INET) {
    const auto* v4 = reinterpret_cast<const sockaddr_in*>(address);
    endpoint.address =
        *IpAddress::from_bytes(ByteView(reinterpret_cast<const std::uint8_t*>(&v4->sin_addr), 4));
    endpoint.port = ntohs(v4->sin_port);
  } else if (address->sa_family == AF_INET6) {
    const auto* v6 = reinterpret_cast<const sockaddr_in6*>(address);
    endpoint.address =
        *IpAddress::from_bytes(ByteView(reinterpret_cast<const std::uint8_t*>(&v6->sin6_addr), 16));
    endpoint.port = ntohs(v6->sin6_port);
  }
  return endpoint;
}

sockaddr_storage sockaddr_of(const Endpoint& endpoint) {
  sockaddr_storage storage{};
  const ByteView bytes = endpoint.address.wire_bytes();
  if (endpoint.address.is_v4()) {
    auto* v4 = reinterpret_cast<sockaddr_in*>(&storage);
    v4->sin_family = AF_INET;
    v4->sin_port = htons(endpoint.port);
    std::memcpy(&v4->sin_addr, bytes.data(), 4);
  } else {
    auto* v6 = reinterpret_cast<sockaddr_in6*>(&storage);
    v6->sin6_family = AF_INET6;
    v6->sin6_port = htons(endpoint.port);
    std::memcpy(&v6->sin6_addr, bytes.data(), 16);
  }
  return storage;
}

std::vector<IpAddress> host_addresses() {
  std::vector<IpAddress> addresses;
  uv_interface_address_t* interfaces = nullptr;
  int count = 0;
  if (uv_interface_addresses(&interfaces, &count) == 0) {
    for (int i = 0; i < count; ++i) {
      const IpAddress address =
          endpoint_of(reinterpret_cast<const sockaddr*>(&interfaces[i].address)).address;
      if (!interfaces[i].is_internal && !address.is_loopback() && !address.is_link_local())
        addresses.push_back(address);
    }
    uv_free_interface_addresses(interfaces, count);
  }
  std::sort(addresses.begin(), addresses.end());
  addresses.erase(std::unique(addresses.begin(), addresses.end()), addresses.end());
  if (addresses.empty()) addresses.push_back(*IpAddress::parse("127.0.0.1"));
  return addresses;
}

IpAddress main_address() {
  const std::vector<IpAddress> addresses = host_addresses();
  // Connecting a datagram socket looks up the route, and no more. The addresses are of RFC 5737 and
  // RFC 3849: nobody's.
  for (const char* anywhere : {"203.0.113.1", "2001:db8::1"}) {
    const sockaddr_storage target = sockaddr_of({*IpAddress::parse(anywhere), 9});
    const int probe = socket(target.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (probe < 0) continue;
    sockaddr_storage local{};
    socklen_t size = sizeof local;
    const bool routed =
        connect(probe, reinterpret_cast<const sockaddr*>(&target),
                target.ss_family == AF_INET ? sizeof(sockaddr_in) : sizeof(sockaddr_in6)) == 0 &&
        getsockname(probe, reinterpret_cast<sockaddr*>(&local), &size) == 0;
    close(probe);
    if (!routed) continue;
    const IpAddress found = endpoint_of(reinterpret_cast<const sockaddr*>(&local)).address;
    if (std::find(addresses.begin(), addresses.end(), found) != addresses.end()) return found;
  }
  return addresses.front();
}

}  // namespace p2p::net
