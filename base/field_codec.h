// Fields that messages of several rooms have in common. For the codec files alone.
#pragma once

#include <algorithm>
#include <string_view>

#include "base/bytes.h"
#include "base/canonical_msgpack.h"
#include "base/endpoint.h"
#include "base/id.h"

namespace p2p {

inline constexpr std::size_t kPortBytes = 2;
inline constexpr std::size_t kMinEndpointBytes = 4 + kPortBytes;
inline constexpr std::size_t kMaxEndpointBytes = 16 + kPortBytes;

inline void write_endpoint(CanonicalWriter& writer, const Endpoint& endpoint) {
  const ByteView address = endpoint.address.wire_bytes();
  std::uint8_t* out = writer.short_bin(static_cast<std::uint8_t>(address.size() + kPortBytes));
  put_u16(std::copy(address.begin(), address.end(), out), endpoint.port);
}

// What an endpoint's binary holds: any port and address, but in its one spelling.
inline Endpoint endpoint_in(ByteView bytes, CanonicalReader& reader, std::string_view field) {
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

inline Endpoint read_endpoint(CanonicalReader& reader, std::string_view field) {
  return endpoint_in(reader.bin(kMaxEndpointBytes, field), reader, field);
}

inline Endpoint checked_dialable(const Endpoint& endpoint, CanonicalReader& reader,
                                 std::string_view field) {
  if (!reader.failed() && !endpoint.is_dialable())
    reader.fail(field, "nobody can be at " + endpoint.to_string());
  return endpoint;
}

inline Endpoint read_dialable(CanonicalReader& reader, std::string_view field) {
  return checked_dialable(read_endpoint(reader, field), reader, field);
}

// An empty binary is Endpoint{}: none.
inline Endpoint read_dialable_or_none(CanonicalReader& reader, std::string_view field) {
  const ByteView bytes = reader.bin(kMaxEndpointBytes, field);
  return bytes.empty() ? Endpoint{}
                       : checked_dialable(endpoint_in(bytes, reader, field), reader, field);
}

template <typename IdType>
IdType read_id(CanonicalReader& reader, std::string_view field) {
  const auto id = IdType::from_bytes(reader.bin(IdType::kSize, field));
  if (!id) reader.fail(field, "not 32 bytes");
  return id.value_or(IdType{});
}

}  // namespace p2p
