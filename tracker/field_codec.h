// Fields that announce messages and store records have in common. For the codec files alone.
#pragma once

#include <algorithm>
#include <string_view>

#include "base/bytes.h"
#include "base/canonical_msgpack.h"
#include "base/endpoint.h"
#include "base/id.h"
#include "base/zone.h"

namespace p2p::tracker {

inline constexpr std::size_t kPortBytes = 2;
inline constexpr std::size_t kMinEndpointBytes = 4 + kPortBytes;
inline constexpr std::size_t kMaxEndpointBytes = 16 + kPortBytes;

inline void write_endpoint(CanonicalWriter& writer, const Endpoint& endpoint) {
  const ByteView address = endpoint.address.wire_bytes();
  std::uint8_t* out = writer.short_bin(static_cast<std::uint8_t>(address.size() + kPortBytes));
  put_u16(std::copy(address.begin(), address.end(), out), endpoint.port);
}

// With any port and address, but in its one spelling.
inline Endpoint read_endpoint(CanonicalReader& reader, std::string_view field) {
  const ByteView bytes = reader.bin(kMaxEndpointBytes, field);
  if (bytes.size() != kMaxEndpointBytes && bytes.size() != kMinEndpointBytes) {
    reader.fail(field, "not as long as an endpoint");
    return {};
  }
  const std::size_t address_bytes = bytes.size() - kPortBytes;
  const Endpoint endpoint{*IpAddress::from_bytes(bytes.first(address_bytes)),
                          get_u16(bytes.data() + address_bytes)};
  if (endpoint.address.wire_bytes().size() != address_bytes)
    reader.fail(field, "an IPv4 address in IPv6 form");
  return endpoint;
}

inline Endpoint read_dialable(CanonicalReader& reader, std::string_view field) {
  const Endpoint endpoint = read_endpoint(reader, field);
  if (!reader.failed() && !endpoint.is_dialable())
    reader.fail(field, "nobody can be at " + endpoint.to_string());
  return endpoint;
}

template <typename IdType>
IdType read_id(CanonicalReader& reader, std::string_view field) {
  const auto id = IdType::from_bytes(reader.bin(IdType::kSize, field));
  if (!id) reader.fail(field, "not 32 bytes");
  return id.value_or(IdType{});
}

inline SwarmId read_swarm(CanonicalReader& reader) { return read_id<SwarmId>(reader, "swarm"); }

inline std::string_view read_zone(CanonicalReader& reader) {
  const std::string_view zone = reader.str(kMaxZoneBytes, "zone");
  if (!is_zone(zone)) reader.fail("zone", "not printable ASCII without spaces");
  return zone;
}

}  // namespace p2p::tracker
