// Endpoint: an IP address and port. HostPort: what a person writes, a name or address and a port.
#pragma once

#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include "base/bytes.h"
#include "base/result.h"

namespace p2p {

// Of an IPv6 network, a limit for an address allows so many times as much: it may be one host's,
// and it may be a whole cluster's.
inline constexpr std::size_t kHostsOfNetwork = 10;

// An IPv4 or IPv6 address. IPv4 is held in its IPv6-mapped form, so that one address has one value.
class IpAddress {
 public:
  IpAddress() = default;  // :: (any)
  static Result<IpAddress> parse(std::string_view text);
  // 4 or 16 bytes in network order.
  static Result<IpAddress> from_bytes(ByteView bytes);

  bool is_v4() const;
  bool is_loopback() const;
  bool is_any() const;
  bool is_multicast() const;  // multicast or broadcast
  bool is_link_local() const;
  // 16 bytes, IPv4 mapped.
  ByteView bytes() const { return bytes_; }
  // 4 or 16 bytes: the shortest form, as messages carry it.
  ByteView wire_bytes() const;
  std::string to_string() const;
  // What limits count as one: an IPv4 address itself, the /64 of an IPv6 address, in which a single
  // host can have any address that it likes.
  IpAddress network() const;

  auto operator<=>(const IpAddress&) const = default;
  template <typename H>
  friend H AbslHashValue(H state, const IpAddress& address) {
    return H::combine(std::move(state), address.bytes_);
  }

 private:
  std::array<std::uint8_t, 16> bytes_{};
};

struct Endpoint {
  IpAddress address;
  std::uint16_t port = 0;

  // "1.2.3.4:80" or "[::1]:80".
  static Result<Endpoint> parse(std::string_view text);
  std::string to_string() const;
  // Can a peer be there? Not port 0, any, multicast or broadcast.
  bool is_dialable() const { return port != 0 && !address.is_any() && !address.is_multicast(); }

  auto operator<=>(const Endpoint&) const = default;
  template <typename H>
  friend H AbslHashValue(H state, const Endpoint& endpoint) {
    return H::combine(std::move(state), endpoint.address, endpoint.port);
  }
};

struct HostPort {
  std::string host;  // a DNS name or an address, without brackets
  std::uint16_t port = 0;

  // "name:80", "1.2.3.4:80", "[::1]:80", and "::1:80" (the last colon parts the port).
  static Result<HostPort> parse(std::string_view text);
  // The same with brackets around an IPv6 address.
  std::string to_string() const;
  auto operator<=>(const HostPort&) const = default;
};

}  // namespace p2p
